"""Soft targets on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import HashMismatchError, IntegrityError, UnknownFormatError
from distill_gov.records.files import write_parquet
from distill_gov.teachers import soft_targets
from distill_gov.teachers.soft_targets import SoftTargets, identity, one_support, read_soft_targets, write_soft_targets

FLOAT = st.floats(-50, 0).map(lambda x: float(np.float32(x)))
TOKEN = st.integers(0, 2**31 - 1)


@st.composite
def targets(draw: st.DrawFn) -> list[SoftTargets]:
    found = []
    for name in draw(st.lists(st.text("abc123", min_size=1, max_size=6), unique=True, max_size=6)):
        n = draw(st.integers(1, 4))
        ids = [tuple(draw(st.lists(TOKEN, max_size=3))) for _ in range(n)]
        found.append(
            SoftTargets.ragged(
                name,
                f"id of {name}",
                draw(st.sampled_from(["grammar", "full"])),
                draw(st.floats(0.1, 8)),
                token_ids=tuple(draw(TOKEN) for _ in range(n)),
                field=tuple(draw(st.sampled_from(["", "intent"])) for _ in range(n)),
                forced=tuple(draw(st.booleans()) for _ in range(n)),
                ids=tuple(ids),
                logp=tuple(tuple(draw(FLOAT) for _ in row) for row in ids),
                log_tail=tuple(draw(st.none() | FLOAT) for _ in range(n)),
                log_allowed=tuple(draw(FLOAT) for _ in range(n)),
            )
        )
    return found


@settings(max_examples=40)
@given(targets(), st.integers(1, 3))
def test_what_is_written_is_read_back_by_example(found: list[SoftTargets], shard: int) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(soft_targets, "SHARD", shard)
        write_soft_targets(Path(directory), found)
        assert len(list(Path(directory).iterdir())) == -(-len(found) // shard)
        again = read_soft_targets(Path(directory), {t.example: t.identity for t in found})
    assert again == {t.example: t for t in found}
    for target in again.values():
        hash(target)


def one(name: str = "a") -> SoftTargets:
    return SoftTargets.ragged(
        name, "sha256:1", "grammar", 2.0, token_ids=(5, 2), field=("", ""), forced=(False, True), ids=((5, 6), ()),
        logp=((-0.5, -1.0), ()), log_tail=(-3.0, None), log_allowed=(0.0, 0.0),
    )  # fmt: skip


def test_the_order_given_does_not_matter(tmp_path: Path) -> None:
    write_soft_targets(tmp_path / "x", [one("a"), one("b")])
    write_soft_targets(tmp_path / "y", [one("b"), one("a")])
    (x,), (y,) = (list((tmp_path / n).iterdir()) for n in "xy")
    assert x.read_bytes() == y.read_bytes()


def test_another_identity_is_refused(tmp_path: Path) -> None:
    write_soft_targets(tmp_path, [one()])
    with pytest.raises(HashMismatchError, match="`a`") as caught:
        read_soft_targets(tmp_path, {"a": "sha256:2"})
    assert caught.value.exit_code == 4


def test_a_missing_example_is_refused(tmp_path: Path) -> None:
    write_soft_targets(tmp_path, [one()])
    with pytest.raises(HashMismatchError, match="`b`"):
        read_soft_targets(tmp_path, {"a": "sha256:1", "b": "sha256:1"})
    with pytest.raises(HashMismatchError):
        read_soft_targets(tmp_path / "nowhere", {"a": "sha256:1"})


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "shard-00000.parquet", [], soft_targets._SCHEMA, format="something_else")
    with pytest.raises(UnknownFormatError):
        read_soft_targets(tmp_path, {})


def test_the_identity_covers_everything_that_shapes_a_target() -> None:
    whole = ("teacher", "tokenizer", "template", "prompt", "text", 2.0, 32, "grammar")
    others = [
        (*whole[:i], f"{value}x" if isinstance(value, str) else value + 1, *whole[i + 1 :]) for i, value in enumerate(whole)
    ]
    assert len({identity(*w) for w in [whole, *others]}) == 9  # type: ignore[arg-type]


def test_targets_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        one().temperature = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        one().ids[0] = 1
    assert replace(one(), temperature=1.0).temperature == 1.0


def test_targets_of_two_supports_teach_nobody_together() -> None:
    one_support([])
    one_support([one("a"), one("b")])
    with pytest.raises(IntegrityError, match="full, grammar") as caught:
        one_support([one(), replace(one(), support="full")])
    assert caught.value.exit_code == 4
