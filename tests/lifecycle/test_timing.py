from __future__ import annotations

import copy
from pathlib import Path

import pytest

from distill_gov.records.errors import BadModelError
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.timing import ToTime, time_side_by_side
from tests.tiny import SCHEMA, save

CHATS = [[{"role": "user", "content": text}] for text in ("where", "when", "why")]


def to_time(directory: Path, chats: list[list[dict[str, str]]] = CHATS) -> ToTime:
    return ToTime(student_spec(directory, copy.deepcopy(SCHEMA), {}, 40), "student", chats)


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_is_timed_on_its_own_requests(tmp_path: Path, processes: bool) -> None:
    subjects = {"student": to_time(save(tmp_path / "one")), "other": to_time(save(tmp_path / "two", 1), CHATS[:1])}
    done: list[int] = []
    found = time_side_by_side(subjects, done.append, processes=processes)
    assert {name: len(timed.requests) for name, timed in found.items()} == {"student": 3, "other": 1}
    assert sum(done) == 4
    for timed in found.values():
        assert all(0 < t["first_token_s"] <= t["last_token_s"] for t in timed.requests)
        assert all(t["prompt_tokens"] > 1 for t in timed.requests)
        assert timed.anew == []
        assert timed.footprint.parameters
        assert timed.footprint.bytes
        if processes:
            # More than the weights: the libraries of a process that loads a model.
            assert (timed.footprint.peak_rss_bytes or 0) > 50e6
        else:
            assert timed.footprint.peak_rss_bytes is None


def test_what_a_model_cannot_do_is_said_from_its_process_too(tmp_path: Path) -> None:
    broken = save(tmp_path / "broken")
    spec = student_spec(broken, None, {}, 40)
    (broken / "config.json").unlink()
    with pytest.raises(BadModelError, match="broken"):
        time_side_by_side({"student": ToTime(spec, "student", CHATS)}, lambda _: None, processes=True)
