"""What went into the teaching set, what was dropped and why, and what was redacted."""

import streamlit as st

from reports.app_pages.opening import frame, open_page, say_why_absent
from reports.suppression import K
from reports.wording import SEEN_BY_RATERS

record = open_page("Teaching set")

st.subheader("The books")
say_why_absent(record.funnel, "Build")
if record.funnel.content:
    funnel = record.funnel.content
    head = ("Stage", "Unit", "In", "Made", "Kept", "Dropped", "Reserved")
    lines = [(s.stage, s.unit, s.came_in, s.made, s.kept, s.dropped, s.reserved) for s in funnel.stages]
    st.dataframe(frame(head, lines), hide_index=True)
    st.caption("In + made = kept + dropped + reserved; a stage takes in what the one before kept.")
    say_why_absent(funnel.drops, "Decisions")
    if funnel.drops.content:
        drops = [(d.stage, d.outcome, d.rule, d.reason, d.n) for d in funnel.drops.content]
        st.dataframe(frame(("Stage", "Outcome", "Rule", "Reason", "n"), drops), hide_index=True)
    if funnel.origin:
        st.dataframe(frame(("Origin", "Traces"), funnel.origin), hide_index=True)
    if funnel.slices:
        slices = [(row.name, row.traces, row.teaching, row.holdout) for row in funnel.slices]
        st.dataframe(frame(("Slice", "Traces", "Teaching", "Holdout"), slices), hide_index=True)

st.subheader("Redaction")
say_why_absent(record.redaction, "Redaction")
if record.redaction.content:
    summary = record.redaction.content
    columns = st.columns(3)
    columns[0].metric("Found and replaced", summary.total)
    columns[1].metric("Found by the scan after it", "not scanned" if summary.residual is None else summary.residual)
    columns[2].metric(SEEN_BY_RATERS, "nobody rated" if summary.seen_by_raters is None else summary.seen_by_raters)
    st.dataframe(frame(("Kind", "Found"), summary.by_entity), hide_index=True)
    st.caption(f"Counts under {K} are shown as <{K}; where the total would give one away, the next is withheld.")

st.subheader("Was the teacher admitted?")
say_why_absent(record.admission, "Admission")
if record.admission.content:
    rows = [(r.metric, r.value, r.floor, r.n, "✓ yes" if r.admitted else "✗ no") for r in record.admission.content]
    st.dataframe(frame(("Metric", "Value", "Floor", "n", "Admitted"), rows), hide_index=True)

st.subheader("Training")
say_why_absent(record.training, "Training")
if record.training.content:
    made = record.training.content
    facts = [
        ("Student", f"{made.parameters} parameters, {made.layers} layers"),
        ("Teacher", f"{made.teacher_parameters} parameters"),
    ]
    facts += [(f"Temperature, {field}", value) for field, value in made.temperatures]
    facts += [("Sweep", made.swept)] if made.swept else []
    facts += [
        (f"Loss term {term}, first to last", f"{first} to {last}" + (f" ({share} of the loss)" if share else ""))
        for term, first, last, share in made.losses
    ]
    st.dataframe(frame(("Training", "Value"), facts), hide_index=True)
