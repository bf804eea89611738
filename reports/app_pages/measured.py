"""What was measured beside the gates: every table that the evaluation summed up."""

import streamlit as st

from reports.app_pages.opening import frame, open_page, say_why_absent
from reports.markup import printable

record = open_page("What else was measured")
say_why_absent(record.summaries, "Summaries")
for table in record.summaries.content or ():
    st.subheader(printable(table.title))
    st.text(printable(table.caption))
    st.dataframe(frame(table.head, table.rows), hide_index=True, key=f"summary-{table.name}")
if record.summaries.content:
    st.caption("Shown, and not decided on: what no gate names blocks nothing.")
