import numpy as np
import pytest
from scipy.stats import binom

from distill_gov.records.errors import BadInputError
from evals import power as planning
from evals.intervals import clopper_pearson, tango
from evals.power import BinomialLevel, CalibrationLevel, PairedProportions, needed_n, pass_probability, passes_with


@pytest.mark.parametrize(("limit", "n"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598), (0.001, 2995)])
def test_cases_needed_without_a_violation(limit, n):
    # 1 - 0.05 ** (1 / n) <= limit.
    assert needed_n(BinomialLevel(limit, "upper", rate=0.0)) == n
    assert needed_n(BinomialLevel(1 - limit, "lower", rate=1.0)) == n


def test_binomial_power_is_exact():
    # 8 of 150 pass and 9 do not (see test_intervals).
    assert pass_probability(BinomialLevel(0.10, "upper", rate=0.05), 150) == pytest.approx(binom.cdf(8, 150, 0.05))
    assert pass_probability(BinomialLevel(0.97, "lower", rate=0.99), 600) == pytest.approx(binom.cdf(10, 600, 0.01))


@pytest.mark.parametrize("n", [1, 10, 58])
def test_too_few_cases_never_pass(n):
    assert pass_probability(BinomialLevel(0.05, "upper", rate=0.0), n) == 0.0


def test_needed_n_is_the_fewest():
    plan = BinomialLevel(0.10, "upper", rate=0.05)
    n = needed_n(plan, 0.8)
    assert pass_probability(plan, n) >= 0.8
    assert all(pass_probability(plan, m) < 0.8 for m in range(20, n))


def test_a_rate_beyond_the_limit_needs_infinitely_many():
    assert needed_n(BinomialLevel(0.05, "upper", rate=0.05)) is None
    assert needed_n(BinomialLevel(0.01, "upper", rate=0.0099), most=10_000) is None


@pytest.mark.parametrize(("discordant", "expected"), [(0.10, 0.86), (0.15, 0.72)])
def test_equal_student_and_five_points(discordant, expected):
    # The plan's figures at n = 300; they come from the normal approximation, these are exact (0.844 and 0.714).
    assert pass_probability(PairedProportions(0.05, discordant), 300) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("margin", "discordant", "approximate"),
    [(0.02, 0.1, 1546), (0.03, 0.1, 687), (0.05, 0.1, 248), (0.02, 0.2, 3092), (0.03, 0.2, 1374), (0.05, 0.2, 495)],
)
def test_cases_needed_for_a_margin(margin, discordant, approximate):
    # (z_0.95 + z_0.80)^2 * discordant / margin^2, the normal approximation; the exact figure is a little higher.
    found = needed_n(PairedProportions(margin, discordant))
    assert approximate <= found <= 1.07 * approximate


def test_a_slightly_worse_student_needs_more():
    assert needed_n(PairedProportions(0.03, 0.1, worse_by=0.01)) == pytest.approx(1545, rel=0.03)


def test_paired_power_against_simulation():
    rng = np.random.default_rng(0)
    draws = rng.multinomial(120, [0.06, 0.04, 0.9], size=3000)
    passed = {}
    for b, c, _ in draws:
        if (b, c) not in passed:
            passed[b, c] = tango(int(b), int(c), 120, side="lower").low >= -0.06
    simulated = np.mean([passed[b, c] for b, c, _ in draws])
    assert pass_probability(PairedProportions(0.06, 0.10, worse_by=-0.02), 120) == pytest.approx(simulated, abs=0.03)


def test_size_of_the_non_inferiority_test():
    # A student worse by exactly the margin passes about 5 %.
    assert pass_probability(PairedProportions(0.05, 0.10, worse_by=0.05), 300) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("plan", [PairedProportions(0.05, 0.02, worse_by=0.05), PairedProportions(0.0, 0.1)])
def test_contradictory_plans_are_refused(plan):
    with pytest.raises(BadInputError):
        pass_probability(plan, 100)


@pytest.mark.parametrize("n", [0, None, True, 10.5])
def test_n_must_be_a_count(n):
    with pytest.raises(BadInputError):
        pass_probability(BinomialLevel(0.05, "upper", 0.0), n)


def test_quick_calibration_plan():
    plan = CalibrationLevel(0.10, trials=60, resamples=200)
    assert pass_probability(plan, 300) > 0.9
    assert pass_probability(plan, 300) == pass_probability(plan, 300)
    assert pass_probability(CalibrationLevel(0.10, error=0.10, trials=60, resamples=200), 300) < 0.15


@pytest.mark.slow
def test_calibration_gate_of_the_demo():
    # The plan's figures: a perfect student passes 98 %, one whose error is 0.10 passes 6 % (here 3-6 %, on the safe side).
    assert pass_probability(CalibrationLevel(0.10, trials=1000), 300) == pytest.approx(0.98, abs=0.015)
    assert pass_probability(CalibrationLevel(0.10, error=0.10, trials=1000), 300) == pytest.approx(0.05, abs=0.025)


@pytest.mark.slow
def test_coverage_of_the_calibration_bound():
    # One-sided 95 % upper bound at a true error of 0.10: it must lie under the truth at most 5 % of the time, within noise.
    for n in (300, 600):
        assert pass_probability(CalibrationLevel(0.10, error=0.10, trials=600), n) <= 0.07


def test_clopper_pearson_and_power_agree():
    # The same rule decides in both: the greatest number of violations that passes.
    n, limit = 200, 0.08
    most = max(k for k in range(n) if clopper_pearson(k, n, side="upper").high <= limit)
    assert pass_probability(BinomialLevel(limit, "upper", 0.04), n) == pytest.approx(binom.cdf(most, n, 0.04))


@pytest.mark.parametrize("error", [0.0, 0.04, 0.1])
def test_a_simulation_stops_once_it_is_decided_and_decides_the_same(monkeypatch, error):
    plan = CalibrationLevel(0.10, error=error, trials=20, resamples=50)
    chance = pass_probability(plan, 120)
    drawn = []
    whole = planning.calibration_error_interval
    monkeypatch.setattr(planning, "calibration_error_interval", lambda *a, **k: drawn.append(1) or whole(*a, **k))
    for power in (0.0, 0.05, 0.5, chance, 0.8, 1.0):
        assert passes_with(plan, 120, power) is (chance >= power)
    # Six whole simulations would be 120 trials.
    assert len(drawn) < 80


def test_exact_plans_are_not_simulated():
    plan = BinomialLevel(0.10, "upper", rate=0.05)
    assert passes_with(plan, 150, pass_probability(plan, 150))
    assert not passes_with(plan, 150, 0.999)
