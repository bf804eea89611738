"""The first screen: the decision, why, what comes next, and who approved what."""

import streamlit as st

from reports.app_pages.opening import frame, open_page, say_why_absent
from reports.markup import printable
from reports.wording import STATEMENT, short_digest

record = open_page("Verdict", whole=True)
st.text(record.headline.advice)
# Wrapped: on a narrow screen the end of the command would lie outside it.
st.code(record.headline.command, language=None, wrap_lines=True)

if record.verdict is not None:
    columns = st.columns(3)
    columns[0].metric("Gates that hold", record.gates_that_hold)
    columns[1].metric("Attempt on this holdout", f"{record.verdict.attempt} of {record.verdict.max_attempts}")
    columns[2].metric("Gates that block", sum(row.blocks for row in record.gates))
    if record.students_measured is not None:
        st.text(f"Students measured on this holdout by now: {record.students_measured}")
    st.text(f"Subject {printable(record.verdict.subject_name)} {short_digest(record.verdict.subject)}")
    st.text(f"Policy {printable(record.verdict.policy)} {short_digest(record.verdict.policy_digest)}")
    st.text(f"Evaluations that opened the holdout: {record.opened}")
    st.text(f"Decided {printable(record.verdict.at)}")
    st.subheader("Use and approval")
    st.dataframe(frame(("Header", "As the policy has it"), record.headers), hide_index=True)

st.subheader("Do the gates bite?")
say_why_absent(record.controls, "Controls")
if record.controls.content:
    rows = [(r.name, r.decision, ", ".join(r.caught_by), ", ".join(r.open_on), r.note) for r in record.controls.content]
    st.dataframe(frame(("Control", "Verdict", "Caught by", "Also blocked by", "Note"), rows), hide_index=True)

st.subheader("Worth distilling?")
say_why_absent(record.baselines, "Baselines")
if record.baselines.content:
    found = record.baselines.content
    st.dataframe(frame(("Way", *found.metrics, "Note"), [(name, *v, note) for name, v, note in found.rows]), hide_index=True)
say_why_absent(record.speed, "Speed")
if record.speed.content:
    head = (
        "Subject",
        "Requests",
        "First token p50",
        "First token p95",
        "Last token p50",
        "Last token p95",
        "Tokens/s",
        "Memory",
        "Cost",
        "Parameters",
        "Size",
    )
    speeds = [
        (
            *(r.subject, r.n, r.first_token_p50, r.first_token_p95, r.last_token_p50, r.last_token_p95),
            *(r.tokens_per_s, r.memory, r.cost, r.parameters, r.bytes),
        )
        for r in record.speed.content
    ]
    st.dataframe(frame(head, speeds), hide_index=True)
say_why_absent(record.fidelity, "Comparison with the teacher")
if record.fidelity.content:
    named = ("Field", "n", "As the teacher", "Both right", "Teacher only", "Student only", "Neither")
    alike = [(r.field, r.n, r.agreed, r.both, r.teacher_only, r.student_only, r.neither) for r in record.fidelity.content]
    st.dataframe(frame(named, alike), hide_index=True)

st.subheader("Subjects")
say_why_absent(record.subjects, "Evaluation")
if record.subjects.content:
    subjects = [(s.name, s.role, short_digest(s.digest), s.decoding, s.engine, s.note) for s in record.subjects.content]
    st.dataframe(frame(("Subject", "Role", "Digest", "Decoding", "Engine", "Note"), subjects), hide_index=True)

st.caption(STATEMENT)
