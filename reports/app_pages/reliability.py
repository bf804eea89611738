"""How far confidences can be believed, for each subject and decision field."""

import sys

import streamlit as st

from reports.app_pages.opening import frame, open_page, say_why_absent
from reports.charts import on_paper, reliability_diagram
from reports.launch import chosen
from reports.markup import printable
from reports.queries import read_reliability, reliability_choices
from reports.suppression import K
from reports.wording import amount

record = open_page("Reliability of confidences")
run = chosen(sys.argv[1:]).run
choices = reliability_choices(run)
if not choices:
    st.info("Reliability: not done")
    st.stop()

judged = [(part.content.suite, part.content.subject, part.content.field) for part in record.reliability if part.content]
first = choices.index(judged[0]) if judged and judged[0] in choices else 0
place = st.selectbox(
    "Suite, subject and field",
    range(len(choices)),
    index=first,
    format_func=lambda i: printable(" · ".join(choices[i])),
    key="reliability",
)
part = read_reliability(run, record.policy, *choices[place or 0])
say_why_absent(part, "Reliability")
if part.content:
    found = part.content
    columns = st.columns(3)
    columns[0].metric("Cases", f"{found.n:,}")
    columns[1].metric("Mean confidence", amount(found.confidence, "share"))
    columns[2].metric("Right", amount(found.accuracy, "share"))
    st.image(on_paper(reliability_diagram(found, ident="reliability")), width=480)
    head = ("Confidence", "n", "Mean confidence", "Right")
    bins = [
        (f"{b.low:.2f} to {b.high:.2f}", b.n, amount(b.confidence, "share"), amount(b.accuracy, "share")) for b in found.bins
    ]
    st.dataframe(frame(head, bins), hide_index=True)
    if found.slices:
        st.subheader("By slice")
        rows = [(s.slice, s.n, s.accuracy, s.confidence) for s in found.slices]
        st.dataframe(frame(("Slice", "n", "Right", "Mean confidence"), rows), hide_index=True)
        st.caption(f"Slices of fewer than {K} cases are not shown.")
