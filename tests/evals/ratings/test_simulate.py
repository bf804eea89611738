from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distill_gov.records.errors import BadInputError
from evals.ratings import RatingsImport, simulate_responses
from evals.ratings.agreement import agreement

from .conftest import SUBJECTS, Desk, make_items


def _simulate(desk: Desk, shift: float, seed: int, **changes: object) -> tuple[Path, ...]:
    return simulate_responses(
        desk.packets_directory, desk.key_path, directory=desk.root / f"sim{shift}.{seed}", shift=shift, seed=seed, **changes
    )  # type: ignore[arg-type]


def _differences(found: RatingsImport) -> np.ndarray:
    by = {(r.subject, r.case): r.scores["helpfulness"] for r in found.results}
    cases = sorted({case for _, case in by})
    return np.array([by[SUBJECTS["student"], c] - by[SUBJECTS["teacher"], c] for c in cases])


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("hundred"))
    desk.export(make_items(100))
    return desk


@pytest.mark.parametrize("seed", range(5))
def test_equal_set_is_not_inferior_and_worse_set_is(hundred: Desk, seed: int) -> None:
    # One-sided 95 % bounds of the paired difference (normal, n = 100) against a margin of 0.25.
    for shift, inferior in ((0.0, False), (-0.5, True)):
        found = hundred.take(_simulate(hundred, shift, seed), simulated=True)
        d = _differences(found)
        half = 1.645 * d.std(ddof=1) / np.sqrt(len(d))
        assert len(d) == 100
        if inferior:
            assert d.mean() + half < -0.25
        else:
            assert d.mean() - half > -0.25
        assert {r.provenance for r in found.results} == {"simulated"}
        assert found.problems == ()


def test_raters_agree_clearly(hundred: Desk) -> None:
    for shift in (0.0, -0.5):
        found = agreement(hundred.take(_simulate(hundred, shift, 1), simulated=True).results, confidence=0.9)
        assert found.low is not None
        assert found.low > 0.55
        assert (found.raters, found.units) == (2, 200)


def test_same_seed_same_files(hundred: Desk) -> None:
    one = [path.read_bytes() for path in _simulate(hundred, 0.0, 7)]
    assert [path.read_bytes() for path in _simulate(hundred, 0.0, 7)] == one
    assert [path.read_bytes() for path in _simulate(hundred, 0.0, 8)] != one


def test_simulated_never_becomes_human(desk: Desk) -> None:
    desk.export()
    simulated = _simulate(desk, 0.0, 1)
    human = desk.all_answers()
    assert all(path.name.startswith("simulated.") for path in simulated)
    with pytest.raises(BadInputError, match="never count as human"):
        desk.take(simulated)
    with pytest.raises(BadInputError, match="not marked as simulated"):
        desk.take(human, simulated=True)
    for flag in (True, False):
        with pytest.raises(BadInputError, match="simulated"):
            desk.take([simulated[0], human[1]], simulated=flag)
    table = desk.fill_table(next(iter(desk.packets)), lambda item: "4")
    with pytest.raises(BadInputError, match="not marked as simulated"):
        desk.take([table], simulated=True)
    # Clearing the one flag or the other is not enough.
    for change in ({"simulated": False}, {"format": "distill-gov/rating-responses/1"}):
        body = {**json.loads(simulated[0].read_text()), **change}
        with pytest.raises(BadInputError, match="contradicts itself"):
            desk.take([desk.save("edited.json", json.dumps(body))])
    assert [entry.event for entry in desk.ledger.entries()] == ["ratings.sealed"]


def test_two_simulated_sets_one_after_the_other(desk: Desk) -> None:
    desk.export()
    desk.take(_simulate(desk, 0.0, 1), simulated=True)
    earlier = desk.ledger.find("ratings.unsealed")
    assert desk.take(_simulate(desk, -0.5, 1), simulated=True, earlier=earlier).results
    assert [entry.facts["simulated"] for entry in desk.ledger.find("ratings.unsealed")] == [True, True]


@pytest.mark.parametrize(("changes", "shift"), [({"subject": "nobody"}, 0.0), ({"noise": -1.0}, 0.0), ({}, float("nan"))])
def test_bad_arguments(desk: Desk, changes: dict[str, object], shift: float) -> None:
    desk.export()
    with pytest.raises(BadInputError):
        _simulate(desk, shift, 1, **changes)
