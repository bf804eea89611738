"""Every gate with its numbers, its interval, and what it leaves open."""

import streamlit as st

from reports.app_pages.opening import frame, open_page
from reports.charts import on_paper
from reports.markup import printable
from reports.static import interval_charts

record = open_page("Gates")
if not record.gates:
    st.info("Gates: not done")
    st.stop()

head = ("Outcome", "Gate", "Teacher", "Student", "Must be", "Bound", "n", "Reason", "Required")
rows = [
    (
        f"{r.mark.icon} {r.mark.word}",
        r.gate,
        r.reference,
        r.subject,
        r.must_be,
        r.bound,
        r.n,
        r.reason,
        "yes" if r.required else "shown only",
    )
    for r in record.gates
]
# The student's column holds a value and a difference; left alone it is cut to the width of its name.
wide = {"Student": st.column_config.TextColumn(width=140)}
st.dataframe(frame(head, rows), hide_index=True, column_config=wide)

for caption, chart in interval_charts(record.gates):
    st.caption(caption)
    st.image(on_paper(chart), width=544)

st.subheader("One gate")
place = st.selectbox("Gate", range(len(record.gates)), format_func=lambda i: printable(record.gates[i].gate), key="gate")
row = record.gates[place or 0]
details = [
    ("Outcome", f"{row.mark.icon} {row.mark.word}: {row.reason}"),
    ("Measured", row.what),
    ("Estimand", row.estimand),
    ("Provenance", row.provenance),
    ("Leaves open", row.not_shown),
]
if row.rule is not None:
    details += [("Owner", row.rule.owner), ("Risk", row.rule.risk), ("Rationale", row.rule.rationale)]
for name, value in details:
    st.caption(name)
    st.text(printable(value))
