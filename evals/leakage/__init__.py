"""What a subject gives away: personal data in replies, redacted values, planted canaries, texts that it was taught."""

from __future__ import annotations

from evals.leakage.replies import Detect, PiiInReply, pii_in_reply, placeholders_in, without_placeholders

__all__ = ["Detect", "PiiInReply", "pii_in_reply", "placeholders_in", "without_placeholders"]
