"""Sampling by slice: quotas, and who stays."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from distill_gov.records.keys import KeyRing
from distill_gov.settings import SamplingSettings
from distill_gov.teaching_set.sampling import NO_SLICE, quotas, sampled_out, slice_of
from distill_gov.traces import Trace

KEY = KeyRing(bytes(range(32))).subkey("sampling")


def trace(name: str, slice_: str | None = "a", **more: Any) -> Trace:
    return Trace(
        id=name,
        group=name,
        messages=({"role": "user", "content": "hi"},),
        consent="granted",
        licence="own",
        retention_until=date(2030, 1, 1),
        tags={} if slice_ is None else {"slice": slice_},
        **more,
    )


SIZES = {"a": 100, "b": 10, "c": 3}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"cap": 20}, {"a": 20, "b": 10, "c": 3}),
        ({"total": 30}, {"a": 26, "b": 3, "c": 1}),  # 26.5, 2.7, 0.8: two left by rounding, to the largest remainders
        ({"total": 30, "weights": "uniform"}, {"a": 17, "b": 10, "c": 3}),
        ({"total": 8, "weights": "uniform"}, {"a": 3, "b": 3, "c": 2}),
        ({"total": 30, "weights": "uniform", "cap": 15}, {"a": 15, "b": 10, "c": 3}),
        ({"total": 24, "weights": "uniform", "cap": 12}, {"a": 11, "b": 10, "c": 3}),
        ({"total": 20, "cap": 15}, {"a": 15, "b": 4, "c": 1}),
        ({"total": 500}, SIZES),
    ],
)
def test_quotas_worked_by_hand(settings: dict[str, Any], expected: dict[str, int]) -> None:
    assert quotas(SIZES, SamplingSettings(**settings)) == expected


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 300), min_size=1, max_size=8),
    st.sampled_from(["traffic", "uniform"]),
    st.none() | st.integers(1, 100),
    st.integers(1, 900),
)
def test_quotas_use_the_total_and_never_more(sizes: dict[str, int], weights: Any, cap: int | None, total: int) -> None:
    got = quotas(sizes, SamplingSettings(weights=weights, cap=cap, total=total))
    limits = {name: min(n, cap or n) for name, n in sizes.items()}
    assert got.keys() == sizes.keys()
    assert sum(got.values()) == min(total, sum(limits.values()))
    assert all(0 <= got[name] <= limits[name] for name in sizes)
    if weights == "uniform":
        open_ = [got[name] for name in sizes if got[name] < limits[name]]
        assert not open_ or max(got.values()) - min(open_) <= 1
    assert got == quotas(dict(reversed(sizes.items())), SamplingSettings(weights=weights, cap=cap, total=total))


def test_who_stays_depends_on_ids_and_key_and_not_on_the_order_of_the_file() -> None:
    traces = [trace(f"t{n}", "abc"[n % 3]) for n in range(60)]
    settings = SamplingSettings(cap=15, total=30)
    out = sampled_out(traces, settings, KEY)
    random.Random(0).shuffle(traces)
    assert sampled_out(traces, settings, KEY) == out
    assert Counter(out.values()) == {"cap": 15, "traffic": 15}
    assert sampled_out(traces, settings, KeyRing(bytes(32)).subkey("sampling")).keys() != out.keys()
    # Who is out for the total came behind those who stay, and those over the cap behind both.
    order = sorted((t.id for t in traces if t.tags["slice"] == "a"), key=KEY.mac)
    assert [out.get(name) for name in order] == [None] * 10 + ["traffic"] * 5 + ["cap"] * 5


def test_a_larger_quota_keeps_who_stayed() -> None:
    traces = [trace(f"t{n}") for n in range(40)]
    kept = [{t.id for t in traces} - sampled_out(traces, SamplingSettings(cap=n), KEY).keys() for n in (5, 6, 30)]
    assert [len(k) for k in kept] == [5, 6, 30]
    assert kept[0] < kept[1] < kept[2]


def test_the_slice_is_a_tag_or_the_language() -> None:
    assert slice_of(trace("t", "typos"), "slice") == "typos"
    assert slice_of(trace("t", None), "slice") == slice_of(trace("t", ""), "slice") == NO_SLICE
    assert slice_of(trace("t", language="de"), "language") == "de"
    assert slice_of(trace("t"), "language") == NO_SLICE


@pytest.mark.parametrize("settings", [{}, {"weights": "uniform"}, {"weights": "uniform", "cap": 3}, {"cap": 0}, {"total": 0}])
def test_sampling_that_decides_nothing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamplingSettings(**settings)
