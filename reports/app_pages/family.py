"""The students that share this run's teaching set: quality against size and speed."""

import sys

import streamlit as st

from reports.app_pages.opening import frame, open_page
from reports.charts import on_paper
from reports.family import FAMILY_HEAD, family_charts, family_gate_head, family_gate_rows, family_rows, read_family
from reports.launch import chosen
from reports.markup import printable
from reports.wording import NOT_DONE

record = open_page("Students of one teaching set")
family = read_family(chosen(sys.argv[1:]).run, record.policy)
if family is None:
    st.info(f"Family: {NOT_DONE}")
    st.stop()

for problem in (*family.problems, *(f"{s.student}: {problem}" for s in family.students for problem in s.problems)):
    st.text(f"! {printable(problem)}")
if family.of_many:
    st.text(f"▲ {printable(family.of_many)}")
st.dataframe(frame(FAMILY_HEAD, family_rows(family)), hide_index=True)
st.dataframe(frame(family_gate_head(family), family_gate_rows(family)), hide_index=True)
charts = family_charts(family)
if not charts:
    st.info(f"Quality against size and speed: {NOT_DONE}")
for caption, chart in charts:
    st.caption(printable(caption))
    st.image(on_paper(chart), width=480)
