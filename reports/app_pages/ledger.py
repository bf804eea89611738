"""What happened in the project, in order, and whether the chain holds."""

import streamlit as st

from reports.app_pages.opening import frame, open_page, say_why_absent
from reports.wording import short_digest

record = open_page("Ledger")
say_why_absent(record.ledger, "Ledger")
if record.ledger.content:
    st.caption("Head of the ledger. Keep a copy of it elsewhere: a chain without one proves only that it is consistent.")
    st.code(record.ledger.content.head, language=None)
    head = ("No.", "Time", "Event", "Actor", "Facts", "Digest")
    rows = [
        (
            entry.seq,
            entry.at,
            entry.event,
            entry.actor,
            ", ".join(
                f"{name} {short_digest(str(value))}"
                for name, value in entry.facts.items()
                if not isinstance(value, dict | list)
            ),
            short_digest(entry.digest),
        )
        for entry in record.ledger.content.entries
    ]
    st.dataframe(frame(head, rows[::-1]), hide_index=True)
