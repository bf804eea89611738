"""A rater's page: one HTML file that needs no network and no server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_gov.records.files import format_name
from evals.ratings.packets import Packet
from evals.ratings.responses import HUMAN_FORMAT

__all__ = ["filled", "render_page"]

_TEMPLATE = Path(__file__).with_name("page.html")


def render_page(packet: Packet) -> str:
    """The page of one packet."""
    return filled(_TEMPLATE, {"packet": packet.digest, "responses_format": format_name(HUMAN_FORMAT), **packet.as_json()})


def filled(template: Path, packet: Mapping[str, Any]) -> str:
    """A template with a packet in it. Its policy lets exactly its own style and script run, and nothing be fetched or sent.

    Args:
        template: HTML with one ``<style>``, one ``<script>``, and the places ``@policy@`` and ``@packet@``.
    """
    page = template.read_text("utf-8")
    style, script = (_only(rf"<{tag}>(.*?)</{tag}>", page) for tag in ("style", "script"))
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    data = json.dumps(dict(packet), ensure_ascii=False)
    # Inside a script element only "<" can end it; as JSON escapes these are the same text.
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    # One pass: text of a message that looks like a placeholder stays text.
    values = {"@policy@": policy, "@packet@": data}
    return re.sub("@policy@|@packet@", lambda found: values[found.group()], page)


def _only(pattern: str, page: str) -> str:
    (found,) = re.findall(pattern, page, flags=re.DOTALL)
    return str(found)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
