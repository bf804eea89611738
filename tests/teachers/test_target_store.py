"""Soft targets on disk."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.digest import digest_bytes
from distill_gov.records.errors import (
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    UnknownFormatError,
)
from distill_gov.records.tensors import tensor_bytes
from distill_gov.teachers import target_store
from distill_gov.teachers.quantisation import BITS, FARTHEST
from distill_gov.teachers.soft_targets import Capture, SoftTargets
from distill_gov.teachers.target_store import (
    SoftTargetStore,
    read_soft_targets,
    without_examples,
    write_soft_targets,
)

Stored = tuple[list[SoftTargets], dict[str, Capture]]
TOKEN = st.integers(0, 2**31 - 1)


def capture(name: str, **parts: Any) -> Capture:
    given: dict[str, Any] = {
        "teacher": "t",
        "tokenizer": "v",
        "template": "lines",
        "temperature": 2.0,
        "k": 8,
        "support": "grammar",
    }
    return Capture.of(prompt=f"asked {name}", text=f"said {name}", **(given | parts))


@st.composite
def top_k(draw: st.DrawFn) -> Stored:
    """Answers with forced positions, decisions, tails, and positions of which nothing is known."""
    found: Stored = ([], {})
    for name in draw(st.lists(st.text("abc123é/", min_size=1, max_size=6), unique=True, max_size=6)):
        n = draw(st.integers(1, 4))
        ids, logp, tail, forced = [], [], [], []
        for _ in range(n):
            forced.append(draw(st.booleans()))
            size = 0 if forced[-1] else draw(st.integers(0, 5))
            rest = bool(size and draw(st.booleans()))
            scores = np.array(draw(st.lists(st.floats(-50, 0), min_size=size + rest, max_size=size + rest)))
            scores = scores - np.logaddexp.reduce(scores) if size else scores
            ids.append(draw(st.lists(TOKEN, min_size=size, max_size=size, unique=True)))
            logp.append(scores[:size].tolist())
            tail.append(float(scores[-1]) if rest else None)
        made = capture(name, temperature=draw(st.floats(0.1, 8)), support=draw(st.sampled_from(["grammar", "full"])))
        found[1][name] = made
        found[0].append(
            SoftTargets.ragged(
                name, made.identity, made.support, made.temperature, token_ids=[draw(TOKEN) for _ in range(n)],
                field=[draw(st.sampled_from(["", "intent", "action"])) for _ in range(n)], forced=forced, ids=ids, logp=logp,
                log_tail=tail, log_allowed=[draw(st.just(0.0) | st.floats(-50, -0.001)) for _ in range(n)],
            )
        )  # fmt: skip
    return found


def one(name: str = "a", **parts: Any) -> SoftTargets:
    made = capture(name, **parts)
    return SoftTargets.ragged(
        name, made.identity, made.support, made.temperature, token_ids=(5, 2, 7), field=("intent", "", ""),
        forced=(False, True, False), ids=((5, 6), (), (7, 9, 8)), logp=(np.log([0.7, 0.3]), (), np.log([0.5, 0.2, 0.1])),
        log_tail=(None, None, math.log(0.2)), log_allowed=(0.0, -0.5, -0.25),
    )  # fmt: skip


def captures(names: Sequence[str]) -> dict[str, Capture]:
    return {name: capture(name) for name in names}


def written(directory: Path, names: Sequence[str]) -> Path:
    write_soft_targets(directory, [one(name) for name in names], captures(names))
    return directory


EXACT = [f.name for f in fields(SoftTargets) if f.name not in ("logp", "log_tail", "log_allowed")]


def assert_alike(found: SoftTargets, wanted: SoftTargets) -> None:
    """Everything is the same but for what the quantisation is said to take."""
    blank = {name: getattr(wanted, name) for name in ("logp", "log_tail", "log_allowed")}
    assert replace(found, **blank) == wanted
    np.testing.assert_allclose(found.log_allowed, wanted.log_allowed, rtol=2**-10)
    for j in range(wanted.n):
        old, new = (t.support_at(j)[1].astype(np.float64) for t in (wanted, found))
        assert math.isinf(found.log_tail[j]) == math.isinf(wanted.log_tail[j])
        if len(old):
            assert np.exp([*new, found.log_tail[j]]).sum() == pytest.approx(1, abs=1e-5)
            below = np.minimum(old.max() - old, FARTHEST)
            assert np.abs(new.max() - new - below).max() <= below.max() * (0.5 / (2**BITS - 1) + 2**-11) + 2e-5


# -- round trip -------------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(top_k(), st.integers(1, 3))
def test_what_is_written_is_read_back_by_example(found: Stored, shard: int) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_store, "SHARD", shard)
        write_soft_targets(Path(directory), *found)
        assert len(list(Path(directory).iterdir())) == -(-len(found[0]) // shard)
        again = read_soft_targets(Path(directory), found[1])
        assert set(again) == {t.example for t in found[0]}
        assert again.tokens == sum(t.n for t in found[0])
        # Any order gives each record its own.
        for t in reversed(found[0]):
            assert_alike(again[t.example], t)
            assert again.capture(t.example) == found[1][t.example]
        # What was read can be written: nothing more is lost than a rounding.
        write_soft_targets(Path(directory) / "again", list(again.values()), found[1])
        for name, t in SoftTargetStore(Path(directory) / "again").items():
            assert_alike(t, again[name])


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=4))
def test_samples_come_back_as_the_counts_they_are(draws: list[list[int]]) -> None:
    made = capture("a", support="full")
    targets = SoftTargets.ragged(
        "a", made.identity, "full", 2.0, token_ids=[1] * len(draws), field=[""] * len(draws), forced=[not d for d in draws],
        ids=[range(len(d)) for d in draws], logp=[np.log(np.array(d) / sum(d)) for d in draws],
        log_tail=[None] * len(draws), log_allowed=[0.0] * len(draws), kind="sampled",
    )  # fmt: skip
    with TemporaryDirectory() as directory:
        write_soft_targets(Path(directory), [targets], {"a": made})
        found = SoftTargetStore(Path(directory))["a"]
    np.testing.assert_allclose(found.logp, targets.logp, atol=1e-6)
    assert replace(found, logp=targets.logp) == targets


def test_weights_that_are_no_counts_are_refused(tmp_path: Path) -> None:
    odd = replace(one(), kind="sampled", log_tail=np.full(3, -np.inf, np.float32), logp=_TOO_FINE)
    with pytest.raises(MalformedFileError, match="no counts"):
        write_soft_targets(tmp_path, [odd], captures("a"))


_TOO_FINE = np.log([1 - 1e-5, 1e-5, 0.5, 0.25, 0.25]).astype(np.float32)


def test_the_order_given_does_not_matter(tmp_path: Path) -> None:
    (x,), (y,) = (list(written(tmp_path / n, names).iterdir()) for n, names in (("x", "ab"), ("y", "ba")))
    assert x.read_bytes() == y.read_bytes()


def test_the_library_reads_a_shard(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(written(tmp_path, "ab") / "shard-00000.safetensors", framework="np") as file:
        assert file.metadata()["format"] == "distill-gov/soft_targets/2"
        assert bytes(file.get_tensor("examples")) == b'["a", "b"]'


@pytest.mark.parametrize(("vocabulary", "budget"), [(49_152, 122), (151_936, 130)])
def test_a_token_takes_no_more_than_its_budget(tmp_path: Path, vocabulary: int, budget: int) -> None:
    """Everything counted, at k = 32, in answers of 24 free tokens; forced tokens cost next to nothing."""
    rng = np.random.default_rng(1)
    made, found = {}, []
    for name in map(str, range(100, 164)):
        made[name] = capture(name, k=32)
        scores = np.sort(rng.normal(0, 4, (24, 32)))[:, ::-1]
        scores = np.log(0.9) + scores - np.logaddexp.reduce(scores, axis=1)[:, None]
        found.append(
            SoftTargets.ragged(
                name, made[name].identity, "grammar", 2.0, token_ids=rng.integers(0, vocabulary, 24), field=[""] * 24,
                forced=[False] * 24, ids=rng.integers(0, vocabulary, (24, 32)), logp=scores, log_tail=[math.log(0.1)] * 24,
                log_allowed=rng.uniform(-3, 0, 24),
            )
        )  # fmt: skip
    write_soft_targets(tmp_path / "free", found, made)
    free = sum(p.stat().st_size for p in (tmp_path / "free").iterdir())
    assert free / (64 * 24) <= budget
    longer = [
        SoftTargets.ragged(
            t.example, t.identity, t.support, t.temperature, token_ids=[*t.token_ids, *[5] * 100], field=[""] * 124,
            forced=[*t.forced, *[True] * 100], ids=[*t.ids.reshape(24, 32), *[()] * 100],
            logp=[*t.logp.reshape(24, 32), *[()] * 100], log_tail=[*t.log_tail, *[None] * 100],
            log_allowed=[*t.log_allowed, *[0.0] * 100],
        )
        for t in found
    ]  # fmt: skip
    write_soft_targets(tmp_path / "forced", longer, made)
    forced = sum(p.stat().st_size for p in (tmp_path / "forced").iterdir())
    assert (forced - free) / (64 * 100) <= 3.5


# -- what must not be written -----------------------------------------------------------------------------------------------


def _with(name: str, place: int, value: float) -> SoftTargets:
    changed = getattr(one(), name).copy()
    changed[place] = value
    return replace(one(), **{name: changed})


@pytest.mark.parametrize(
    "wrong",
    [
        _with("logp", 0, math.nan), _with("logp", 2, math.inf), _with("logp", 0, -0.1), _with("log_tail", 2, math.nan),
        _with("log_tail", 2, 0.0), _with("log_tail", 1, -1.0), _with("log_allowed", 0, math.nan), _with("ids", 0, -1),
        _with("forced", 0, True),
    ],
)  # fmt: skip
def test_what_is_no_distribution_is_refused(tmp_path: Path, wrong: SoftTargets) -> None:
    with pytest.raises(MalformedFileError, match="example `a`: soft targets that are no distribution"):
        write_soft_targets(tmp_path, [wrong], captures("a"))
    assert not list(tmp_path.iterdir())


def test_an_example_twice_and_kinds_mixed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFileError, match="`a` come twice"):
        write_soft_targets(tmp_path, [one(), one()], captures("a"))
    halves = np.log([0.5, 0.5, 0.5, 0.25, 0.25]).astype(np.float32)
    sampled = replace(one("b"), kind="sampled", log_tail=np.full(3, -np.inf, np.float32), logp=halves)
    with pytest.raises(MalformedFileError, match="several kinds"):
        write_soft_targets(tmp_path, [one(), sampled], captures("ab"))


def test_targets_stored_under_another_capture_are_refused(tmp_path: Path) -> None:
    for others in ({"a": capture("b")}, {"a": capture("a", temperature=1.0)}, {"b": capture("a")}):
        with pytest.raises(IntegrityError, match="not of the capture"):
            write_soft_targets(tmp_path, [one()], others)


# -- what must not be read --------------------------------------------------------------------------------------------------


def test_what_differs_is_named(tmp_path: Path) -> None:
    written(tmp_path, "ab")
    for part in ("teacher", "tokenizer", "template", "k", "prompt", "text", "support"):
        old = getattr(capture("b"), part)
        other = replace(capture("b"), **{part: 4 if part == "k" else f"{old}x"})  # type: ignore[arg-type]
        with pytest.raises(HashMismatchError, match=f"`b` are of another {part}: |`b` are of another {part}[.]") as caught:
            read_soft_targets(tmp_path, {"a": capture("a"), "b": other})
        assert caught.value.exit_code == 4
    with pytest.raises(HashMismatchError, match="another teacher and another text"):
        read_soft_targets(tmp_path, {"b": replace(capture("b"), teacher="other", text="other")})


def test_a_missing_example_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "a")
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HashMismatchError, match="`b` are missing"):
            read_soft_targets(directory, {"b": capture("b")})


def test_another_temperature_is_refused_where_there_is_a_tail(tmp_path: Path) -> None:
    written(tmp_path, "a")
    with pytest.raises(HashMismatchError, match="another temperature"):
        read_soft_targets(tmp_path, {"a": capture("a", temperature=1.0)})


def test_another_temperature_is_reckoned_where_every_token_is_known(tmp_path: Path) -> None:
    z = np.array([2.0, 1.0, 0.0, -1.0])
    logp = {t: z / t - np.logaddexp.reduce(z / t) for t in (2.0, 1.0)}
    made, wanted = capture("a"), capture("a", temperature=1.0)
    targets = SoftTargets.ragged(
        "a", made.identity, "grammar", 2.0, token_ids=(0,), field=("",), forced=(False,), ids=(range(4),), logp=(logp[2.0],),
        log_tail=(None,), log_allowed=(0.0,),
    )  # fmt: skip
    write_soft_targets(tmp_path, [targets], {"a": made})
    found = read_soft_targets(tmp_path, {"a": wanted})["a"]
    np.testing.assert_allclose(found.logp, logp[1.0], atol=5e-3)
    assert (found.temperature, found.identity) == (1.0, wanted.identity)
    with pytest.raises(HashMismatchError, match="another temperature and another k"):
        read_soft_targets(tmp_path, {"a": replace(wanted, k=3)})


def test_the_parquet_form_says_to_build_again(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnknownFormatError, match=r"earlier release.*Build again"):
        read_soft_targets(tmp_path, {})


def test_a_missing_shard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_store, "SHARD", 1)
    for gone in range(3):
        folder = written(tmp_path / str(gone), "abc")
        (folder / f"shard-0000{gone}.safetensors").unlink()
        with pytest.raises(IntegrityError, match="a shard of the soft targets is missing"):
            SoftTargetStore(folder)


def test_an_example_in_two_shards_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_store, "SHARD", 1)
    written(tmp_path / "x", "ab")
    written(tmp_path / "y", "aa1"[1:])
    shutil.copy(tmp_path / "y" / "shard-00001.safetensors", tmp_path / "x" / "shard-00001.safetensors")
    with pytest.raises(IntegrityError, match="`a` are there twice"):
        SoftTargetStore(tmp_path / "x")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3))
def test_changed_bytes_never_give_other_targets(flips: list[tuple[float, int]]) -> None:
    with TemporaryDirectory() as directory:
        path = written(Path(directory), "abc") / "shard-00000.safetensors"
        data = bytearray(path.read_bytes())
        for place, by in flips:
            data[int(place * len(data))] ^= by
        same = bytes(data) == path.read_bytes()
        path.write_bytes(data)
        if not same:
            with pytest.raises((IntegrityError, UnknownFormatError)):
                SoftTargetStore(Path(directory))


def forged(shard: target_store._Shard, arrays: Mapping[str, Any] = MappingProxyType({}), **facts: Any) -> bytes:
    """A shard with a digest that fits, and content that does not."""
    return tensor_bytes({**shard.arrays, **arrays}, {**shard.facts, **facts}, format=target_store.FORMAT)


def test_a_shard_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "ab") / "shard-00000.safetensors"
    shard = target_store._Shard(path)
    assert forged(shard) == path.read_bytes()
    span = np.array(shard.arrays["span"])
    span[1] = np.nan
    wrong = [
        forged(shard, {"span": span}),
        forged(shard, {"span": span[:-1]}),
        forged(shard, {"examples": np.frombuffer(b'["a", "a"]', np.uint8)}),
        forged(shard, {"examples": np.frombuffer(b'["b", "a"]', np.uint8)}),
        forged(shard, {"examples": np.frombuffer(b'["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]', np.uint8)}),
        forged(shard, {"prompt": shard.arrays["prompt"][:1]}),
        forged(shard, groups=[{**shard.groups[0], "kind": "other"}]),
        forged(shard, bits={}),
        forged(shard, fields=5),
    ]
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match="contradict"):
            SoftTargetStore(tmp_path)


# -- going on, and taking away ----------------------------------------------------------------------------------------------


def test_a_shard_that_stands_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_store, "SHARD", 1)
    paths = sorted(written(tmp_path, "abc").iterdir())
    before = {p: p.read_bytes() for p in paths}
    for p in paths:
        os.utime(p, ns=(1, 1))
    paths[1].unlink()
    paths[2].write_bytes(before[paths[2]][:-3])
    written(tmp_path, "abc")
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert [p.stat().st_mtime_ns == 1 for p in paths] == [True, False, False]


def test_a_shard_of_other_content_is_written_again_and_stale_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_store, "SHARD", 1)
    written(tmp_path, "abc")
    changed = replace(one(), log_allowed=np.full(3, -1.0, np.float32))
    write_soft_targets(tmp_path, [changed], captures("a"))
    assert [p.name for p in tmp_path.iterdir()] == ["shard-00000.safetensors"]
    assert SoftTargetStore(tmp_path)["a"].log_allowed.tolist() == [-1.0] * 3


@settings(max_examples=20)
@given(top_k(), st.data())
def test_what_is_taken_out_is_gone_and_the_rest_stays_to_the_bit(found: Stored, data: st.DataObject) -> None:
    gone = {t.example for t in found[0] if data.draw(st.booleans())}
    with TemporaryDirectory() as directory:
        write_soft_targets(Path(directory), *found)
        before = dict(SoftTargetStore(Path(directory)))
        for path in Path(directory).iterdir():
            taken = without_examples(path, gone.__contains__)
            assert (taken is None) == (not gone)
            if taken is not None:
                assert taken[0] == len(gone)
                assert digest_bytes(taken[1]) == digest_bytes((without_examples(path, gone.__contains__) or (0, b""))[1])
                path.write_bytes(taken[1])
        after = SoftTargetStore(Path(directory))
        assert dict(after) == {name: t for name, t in before.items() if name not in gone}
        assert all(after.capture(name) == found[1][name] for name in after)


def test_samples_can_be_taken_out_too(tmp_path: Path) -> None:
    halves = np.log([0.5, 0.5, 0.5, 0.25, 0.25]).astype(np.float32)
    sampled = [replace(one(n), kind="sampled", log_tail=np.full(3, -np.inf, np.float32), logp=halves) for n in "ab"]
    write_soft_targets(tmp_path, sampled, captures("ab"))
    path = tmp_path / "shard-00000.safetensors"
    before = SoftTargetStore(tmp_path)["b"]
    taken = without_examples(path, "a".__eq__)
    assert taken is not None
    path.write_bytes(taken[1])
    assert dict(SoftTargetStore(tmp_path)) == {"b": before}
