"""What every page of the app begins with: which run, the decision, and what does not hold.

Strings of a run go only into ``st.text``, ``st.code`` and data frames: those render no Markdown, so no text of a run can become
a link, an image or a style.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from distill_gov.records.errors import DistillGovError
from distill_gov.records.layout import RunLayout
from reports.headline import Headline
from reports.launch import chosen
from reports.loading import Part
from reports.markup import printable
from reports.queries import policies_judged, read_run
from reports.record import RunRecord
from reports.wording import NOT_DONE, SIMULATED

__all__ = ["frame", "open_page", "say_why_absent"]


def _chosen_run() -> tuple[RunLayout, str]:
    """The run that the app was started on, and the policy chosen in the sidebar."""
    try:
        asked = chosen(sys.argv[1:])
    except (DistillGovError, SystemExit):
        st.error("Start the app with `distill-gov report`, or with `-- --project DIR --run NAME`.")
        st.stop()
    names = list(dict.fromkeys((asked.policy, *policies_judged(asked.run))))
    with st.sidebar:
        st.text(f"Run {printable(asked.run.name)}")
        policy = st.selectbox("Policy", names, key="policy") if len(names) > 1 else asked.policy
    return asked.run, str(policy)


def open_page(title: str, *, whole: bool = False) -> RunRecord:
    """Read the run and show the decision above everything else.

    Args:
        title: the page's heading.
        whole: whether to show why and what comes next too.
    """
    run, policy = _chosen_run()
    try:
        record = read_run(run, policy)
    except DistillGovError as error:
        st.error("This run cannot be read.")
        st.text(error.what)
        st.stop()
    if record.simulated:
        st.warning(f"**Simulated ratings.** {SIMULATED}", icon=":material/science:")
    _decision(record.headline, simulated=record.simulated)
    if whole:
        st.text(record.headline.why)
    for problem in record.problems:
        st.text(f"! {printable(problem)}")
    for warning in record.warnings:
        st.text(f"▲ {printable(warning)}")
    if not whole:
        st.header(title)
    return record


def _decision(head: Headline, *, simulated: bool) -> None:
    ends = "no exit code" if head.exit_code is None else f"exit code {head.exit_code}"
    word = f"{head.state} (simulated)" if simulated and head.state == "PASSED" else head.state
    show = {"good": st.success, "bad": st.error, "open": st.warning}[head.tone]
    show(f"## {head.icon} {word}\n{ends}")


def say_why_absent(part: Part[Any], what: str) -> None:
    """Why there is nothing to show, where there is nothing."""
    if part.problem:
        st.error("! Cannot be shown.")
        st.text(printable(part.problem))
    elif part.content is None:
        st.info(f"{what}: {NOT_DONE}")


def frame(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Rows of plain text, as a data frame."""
    return pd.DataFrame([[printable(cell) for cell in row] for row in rows], columns=list(columns))
