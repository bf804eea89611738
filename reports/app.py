"""The app: one run, the verdict first. Started by :func:`reports.launch.run_command`."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="distill-gov", page_icon=":material/balance:", layout="wide")
# Set here too, so that a start without the flags shows no traceback either.
st.set_option("client.showErrorDetails", "none")

st.navigation(
    [
        st.Page("app_pages/verdict.py", title="Verdict", icon=":material/balance:", default=True),
        st.Page("app_pages/gates.py", title="Gates", icon=":material/rule:"),
        st.Page("app_pages/teaching_set.py", title="Teaching set", icon=":material/filter_alt:"),
        st.Page("app_pages/reliability.py", title="Reliability", icon=":material/show_chart:"),
        st.Page("app_pages/family.py", title="Family", icon=":material/account_tree:"),
        st.Page("app_pages/measured.py", title="What else", icon=":material/table_chart:"),
        st.Page("app_pages/ledger.py", title="Ledger", icon=":material/link:"),
    ]
).run()
