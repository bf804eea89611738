"""Purging: the content of traces goes, and what is left says what went, why, when and by whom."""
