"""The written pages: the decision on top, nothing unescaped, nothing loaded, the same bytes again."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

from distill_gov.records.layout import ProjectLayout
from evals.evidence import Subject
from reports.charts import interval_chart, reliability_diagram
from reports.loading import Part
from reports.markup import printable, text
from reports.model_card import render_card, write_model_card
from reports.queries import read_run
from reports.record import Interval
from reports.static import render, write_report
from reports.wording import SIMULATED, STATEMENT

HOSTILE = "<script>alert(1)</script>\"'><img src=http://example.org/x>\u202eDESSAP ![x](http://example.org) | `a`"


class Page(HTMLParser):
    """Which tags and attributes a page has, and its visible text in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(made: ModuleType | SimpleNamespace, policy: str = "gates") -> Page:
    return Page(write_report(made.run, policy).read_text("utf-8"))


def test_what_was_measured_beside_the_gates_is_shown(passed: ModuleType) -> None:
    words = page_of(passed).text
    assert "Does who asks change the answer?" in words
    assert "student 1,240 1.2% 0.50" in words


def test_the_decision_comes_first(blocked: ModuleType) -> None:
    words = page_of(blocked).text
    order = [
        "✗ BLOCKED",
        "exit code 3",
        "helpfulness (INCONCLUSIVE)",
        "distill-gov ratings export --run r1 --rater A --rater B",
        "1 of 5",
        "intent_not_inferior",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places)
    assert places[0] < 120


def test_the_page_holds_every_section(passed: ModuleType) -> None:
    words = page_of(passed).text
    for part in (
        "✓ PASSED",
        "not approved",
        "What these numbers cannot show",
        "Do the gates bite?",
        "Worth distilling?",
        "4-bit weights (Q4_1) widened to float32",
        "TF-IDF and logistic regression",
        "calibration_intent",
        "<5",
        "216 (75%)",
        "withheld",
        "With 150 cases, the true value may still be as high as 5.1% (one-sided 95% confidence).",
        passed.verdict.subject,
        passed.verdict.policy_digest,
        passed.verdict.ledger_head,
        STATEMENT,
    ):
        assert part in words, part
    assert SIMULATED not in words
    assert "canary of an answer" not in words


def test_nothing_is_loaded_and_no_script_is_there(passed: ModuleType) -> None:
    path = write_report(passed.run)
    page, source = Page(path.read_text("utf-8")), path.read_text("utf-8")
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(value and value.startswith("#") for value in links)
    assert {value.removeprefix("#") for value in links if value} <= {value for name, value in page.attributes if name == "id"}
    assert "url(" not in source
    assert "@import" not in source
    assert set(re.findall(r"https?://[^\s\"'<]+", source)) == {"http://www.w3.org/2000/svg"}
    assert "default-src" in source
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_same_inputs_give_the_same_bytes(make: ModuleType, tmp_path: Path) -> None:
    made = make.make_run(tmp_path / "one")
    first = write_report(made.run).read_bytes()
    assert write_report(made.run, path=tmp_path / "elsewhere.html").read_bytes() == first
    (tmp_path / "one").rename(tmp_path / "two")
    assert write_report(ProjectLayout(tmp_path / "two").run("r1")).read_bytes() == first
    assert str(tmp_path) not in first.decode("utf-8")


def test_simulated_ratings_are_named_in_every_section(make: ModuleType, tmp_path: Path) -> None:
    made = make.make_run(tmp_path, policy="gates.simulated", provenance="simulated", rated=make.SIMULATED)
    page = page_of(made, "gates.simulated")
    assert page.text.index(SIMULATED) < page.text.index("PASSED (simulated)")
    assert page.text.count("simulated ratings") >= page.tags.count("section")
    assert "**Simulated ratings.**" in write_model_card(made.run, "gates.simulated").read_text("utf-8")


def test_missing_stages_are_said_to_be_missing(tmp_path: Path) -> None:
    words = page_of(SimpleNamespace(run=ProjectLayout(tmp_path).run("r1"))).text
    assert "○ NO VERDICT" in words
    assert "distill-gov gate --run r1" in words
    assert words.count("Not done:") >= 9
    assert "PASSED" not in words


def test_a_corrupted_verdict_never_looks_passed(passed: ModuleType) -> None:
    passed.run.verdict("gates").write_text('{"decision": "PASSED"', encoding="utf-8")
    page = page_of(passed)
    assert "! NOT RELIABLE" in page.text
    assert "exit code 4" in page.text
    assert "verdicts/gates.json: not valid JSON" in page.text
    assert "✓ PASSED" not in page.text
    assert ("class", "verdict bad") in page.attributes


def test_hostile_strings_stay_text(passed: ModuleType, make: ModuleType) -> None:
    record = read_run(passed.run)
    hostile = Subject(HOSTILE, "control", HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    assert record.verdict is not None
    record = replace(
        record,
        run=HOSTILE,
        policy=HOSTILE,
        problems=(HOSTILE,),
        warnings=(HOSTILE,),
        headline=replace(record.headline, why=HOSTILE, command=HOSTILE),
        headers=((HOSTILE, HOSTILE),),
        gates=tuple(replace(row, gate=HOSTILE, reason=HOSTILE, what=HOSTILE, must_be=HOSTILE) for row in record.gates),
        subjects=Part((hostile,)),
        reliability=tuple(Part(replace(p.content, subject=HOSTILE, field=HOSTILE)) for p in record.reliability if p.content),
        verdict=replace(record.verdict, evidence={HOSTILE: HOSTILE}, subject_name=HOSTILE),
        funnel=Part(problem=HOSTILE),
    )
    source = render(record)
    page = Page(source)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "\u202e" not in source
    assert "<script>alert(1)</script>" in page.text
    card = render_card(record)
    assert "<script>" not in card
    assert "![x](" not in card
    assert "\u202e" not in card


def test_control_and_format_characters_become_visible() -> None:
    assert printable("a\x00b\u202ec\u200bd\ne") == "a\ufffdb\ufffdc\ufffdd e"
    assert text('<a b="c">&\'') == "&lt;a b=&quot;c&quot;&gt;&amp;&#x27;"


def test_the_model_card_has_no_empty_promises(passed: ModuleType) -> None:
    card = write_model_card(passed.run).read_text("utf-8")
    assert "**✓ PASSED** under policy gates (exit code 0)" in card
    assert "[More Information Needed]" not in card
    assert "approved by: not approved" in card
    assert "| violations | 1.3% | 2.0% | ≤ 10% | ≤ 5.1% | 150 | ✓ pass |" in card
    assert STATEMENT in card


# --- charts


def test_the_reliability_diagram_is_drawn_and_described(passed: ModuleType) -> None:
    table = read_run(passed.run).reliability[0].content
    assert table is not None
    root = ElementTree.fromstring(reliability_diagram(table, ident="r"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "r-title r-words"
    assert root.find(f"{space}title") is not None
    described = root.find(f"{space}desc")
    assert described is not None
    assert "48 cases" in (described.text or "")
    assert len(root.findall(f"{space}circle")) == len(table.bins)
    assert [t.text for t in root.findall(f"{space}text")].count("n=48") == len(table.bins)
    for circle, one in zip(root.findall(f"{space}circle"), table.bins, strict=True):
        assert float(circle.attrib["cx"]) == pytest.approx(44 + 280 * one.confidence, abs=0.1)
        assert float(circle.attrib["cy"]) == pytest.approx(48 + 280 * (1 - one.accuracy), abs=0.1)


def test_a_gate_that_holds_lies_right_of_the_limit(blocked: ModuleType, make: ModuleType) -> None:
    rows = [row for row in read_run(blocked.run).gates if row.unit == "share"]
    for row in rows:
        root = ElementTree.fromstring(interval_chart([row], ident="i"))
        ticks = [
            float(line.attrib["x1"])
            for line in root.iter("{http://www.w3.org/2000/svg}line")
            if line.attrib["x1"] == line.attrib["x2"] and line.attrib["stroke-width"] == "2.5"
        ]
        assert len(ticks) == 1
        assert (ticks[0] >= 190) == (row.outcome == "PASS")


def test_intervals_at_the_limit_or_without_bounds_are_drawn(passed: ModuleType) -> None:
    row = read_run(passed.run).gates[1]
    for interval in (
        Interval(0.75, 0.75, 0.75, 0.75, "lower", "share", False),
        Interval(0.8, None, None, 0.75, "lower", "share", False),
    ):
        ElementTree.fromstring(interval_chart([replace(row, interval=interval)], ident="i"))
    words = interval_chart([replace(row, interval=None)], ident="i")
    assert "no value" in words
