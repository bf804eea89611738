import datetime
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError, UnknownKeyError
from evals.catalogue import TIMINGS
from evals.evidence import CaseResult
from evals.measuring import measure
from evals.speed import Footprint, Price, TokenPrice, load_prices, priced, request_cost, speed, with_rates
from tests.evals.test_measuring import request

HOURLY = Price(per_hour=3.6)


def result(i, *, status="ok", timings=None):
    return CaseResult("s", "d", f"c{i:03d}", "holdout", f"k{i}", (), status, {}, timings=timings or {})


def timed(n):
    return [
        result(i, timings=with_rates({"first_token_s": 0.1, "last_token_s": i / 10, "tokens": 10.0}, HOURLY))
        for i in range(1, n + 1)
    ]


def test_quantiles_come_with_order_statistics():
    found = speed(timed(100))
    assert (found.n, found.first_token_p50.value, found.last_token_p50.value, found.last_token_p95.value) == (
        100,
        0.1,
        5.0,
        9.5,
    )
    # Hahn & Meeker (1991), table A.15a: of 100 the 40th and 61st bound the median at 95 %.
    assert (found.last_token_p50.low, found.last_token_p50.high) == (4.0, 6.1)
    assert found.tokens_per_s is not None
    assert found.tokens_per_s.value == pytest.approx(1000 / 505)
    assert found.cost_per_request == pytest.approx(5.05 * 1e-3)


def test_errored_cases_are_slower_than_all_others():
    rows = [result(i, timings={"last_token_s": 1.0}) for i in range(10)] + [result(i, status="errored") for i in range(10, 20)]
    found = speed(rows)
    assert found.last_token_p50.value == 1.0
    assert (found.last_token_p95, found.first_token_p50, found.tokens_per_s, found.cost_per_request) == (None,) * 4
    assert speed([]).last_token_p50 is None


def test_one_request_without_a_cost_and_there_is_no_mean():
    rows = timed(3)
    assert speed([*rows[:2], replace(rows[2], timings={"last_token_s": 1.0})]).cost_per_request is None


@pytest.mark.parametrize("time", [math.nan, math.inf, -1.0, True])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(BadInputError):
        speed([result(0, timings={"last_token_s": time})])


def test_times_of_two_subjects_are_refused():
    with pytest.raises(BadInputError):
        speed([result(0), replace(result(1), subject="t")])


def test_facts_are_flat_json_and_leave_out_what_is_not_known():
    found = speed(timed(60), Footprint(parameters=5, bytes=20, peak_rss_bytes=7)).facts()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["last_token_p50_low"] < found["last_token_p50"] < found["last_token_p50_high"]
    assert (found["parameters"], found["bytes"], found["peak_rss_bytes"]) == (5, 20, 7)
    assert "peak_accelerator_bytes" not in found
    assert speed([]).facts() == {"n": 0}


# --- cost


def test_a_machine_is_charged_by_the_time_of_the_request():
    assert request_cost(HOURLY, {"last_token_s": 2.0}) == pytest.approx(2e-3)
    assert request_cost(HOURLY, {"first_token_s": 2.0}) is None


def test_tokens_are_charged_by_the_million():
    price = Price(per_million_tokens=TokenPrice(input=0.5, output=1.5))
    assert request_cost(price, {"prompt_tokens": 1000.0, "tokens": 100.0}) == pytest.approx(0.5e-3 + 0.15e-3)
    assert request_cost(price, {"tokens": 100.0, "last_token_s": 1.0}) is None


@given(st.floats(0, 100), st.integers(0, 1000), st.floats(0.01, 100))
def test_rates_follow_from_the_times(seconds, tokens, price):
    found = with_rates({"last_token_s": seconds, "tokens": float(tokens)}, Price(per_hour=price))
    assert found.keys() <= TIMINGS
    assert found["cost"] == pytest.approx(seconds * price / 3600)
    assert ("token_s" in found) == (tokens > 0)
    if tokens:
        assert found["token_s"] * tokens == pytest.approx(seconds)


def test_cost_and_token_time_can_be_gated():
    student, teacher = timed(60), [replace(r, timings={**r.timings, "cost": r.timings["cost"] * 3}) for r in timed(60)]
    results = {"student": student, "teacher": teacher}
    for metric in ("cost_per_request", "token_time_p50"):
        [found] = measure(results, [request(metric)], {"holdout": 60})
        assert found.note == ""
        assert found.low < found.value < found.high
    [cheaper] = measure(results, [request("cost_per_request", reference="teacher")], {"holdout": 60})
    assert cheaper.value == pytest.approx(-2 * speed(student).cost_per_request)
    assert cheaper.high < 0
    [errored] = measure(
        {"student": [*student[:59], result(60, status="errored")]}, [request("cost_per_request")], {"holdout": 60}
    )
    assert (errored.value, errored.note) == (None, "undefined")


def test_priced_results_keep_everything_else():
    rows = [result(0, timings={"last_token_s": 1.0}), result(1)]
    found = priced(rows, HOURLY)
    assert found[0].timings == {"last_token_s": 1.0, "cost": pytest.approx(1e-3)}
    assert found[1] == rows[1]


# --- the price file

GOOD = "currency: EUR\nsource: a list\ndate: 2026-11-26\nsubjects:\n  student:\n    per_hour: 1\n"


def test_the_example_is_marked_invented(repository: Path):
    prices = load_prices(repository / "examples" / "support_desk" / "prices.yaml")
    assert prices.invented
    assert set(prices.subjects) == {"student", "teacher"}


def test_yaml_and_json_are_read_alike(tmp_path):
    (tmp_path / "p.yaml").write_text(GOOD, "utf-8")
    value = {"currency": "EUR", "source": "a list", "date": "2026-11-26", "subjects": {"student": {"per_hour": 1}}}
    (tmp_path / "p.json").write_text(json.dumps(value), "utf-8")
    assert load_prices(tmp_path / "p.yaml") == load_prices(tmp_path / "p.json")
    assert load_prices(tmp_path / "p.yaml").date == datetime.date(2026, 11, 26)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("per_hour: 1", "per_hour: 1\n    per_hours: 2", UnknownKeyError),
        ("currency", "curency", UnknownKeyError),
        ("EUR", "euro", MalformedFileError),
        ("source: a list", "source: ''", MalformedFileError),
        ("date: 2026-11-26", "date: yesterday", MalformedFileError),
        ("date: 2026-11-26\n", "", MalformedFileError),
        ("per_hour: 1", "per_hour: 0", MalformedFileError),
        ("per_hour: 1", "per_hour: -1", MalformedFileError),
        ("per_hour: 1", "per_hour: .nan", MalformedFileError),
        ("per_hour: 1", "per_hour: .inf", MalformedFileError),
        ("per_hour: 1", "per_hour: '1'", MalformedFileError),
        ("per_hour: 1", "per_hour: true", MalformedFileError),
        ("per_hour: 1", "per_hour: 1\n    per_million_tokens: {input: 1, output: 1}", MalformedFileError),
        ("\n    per_hour: 1", " {}", MalformedFileError),
        ("subjects:\n  student:\n    per_hour: 1", "subjects: {}", MalformedFileError),
        (GOOD, "", MalformedFileError),
    ],
)
def test_a_bad_price_file_is_refused(tmp_path, old, new, error):
    path = tmp_path / "prices.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), "utf-8")
    with pytest.raises(error, match=r"prices\.yaml"):
        load_prices(path)


def test_no_price_file(tmp_path):
    with pytest.raises(MissingFileError):
        load_prices(tmp_path / "none.yaml")


def test_tokens_a_second_have_an_interval_of_their_own():
    def rate(*pairs):
        found = speed([result(i, timings={"tokens": t, "last_token_s": s}) for i, (t, s) in enumerate(pairs)]).tokens_per_s
        return found.low, found.value, found.high

    assert rate((20.0, 2.0)) == (None, 10.0, None)
    assert rate((20.0, 2.0), (40.0, 4.0), (10.0, 1.0)) == pytest.approx((10.0, 10.0, 10.0))
    # By hand: 60 tokens in 6 s, residuals -5, 0 and 5, so the standard error is sqrt(3 / 2 * 50) / 6; t(0.975, 2) = 4.302653.
    half = 4.302652729911275 * 75**0.5 / 6
    assert rate((15.0, 2.0), (20.0, 2.0), (25.0, 2.0)) == pytest.approx((10 - half, 10.0, 10 + half))
