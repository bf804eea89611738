"""Mapped arrays: what is written is read, also by the safetensors library; what is damaged is not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import DistillGovError, HashMismatchError, IntegrityError, MissingFileError, UnknownFormatError
from distill_gov.records.tensors import read_tensors, tensor_bytes

ARRAYS = {
    "b": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "a": np.array([1.5, -np.inf], "<f2"),
    "none": np.zeros(0, np.uint8),
    "c": np.array([7], np.uint8),
}
FACTS = {"n": 3, "named": ["x", '"sha256":"' + "0" * 64]}
WHOLE = tensor_bytes(ARRAYS, FACTS, format="made_up")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.safetensors").write_bytes(WHOLE)
    return tmp_path / "a.safetensors"


def test_what_is_written_is_read(path: Path) -> None:
    found = read_tensors(path, format="made_up")
    assert found.facts == FACTS
    assert set(found.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_the_same_content_is_the_same_bytes() -> None:
    assert tensor_bytes(dict(reversed(ARRAYS.items())), dict(reversed(FACTS.items())), format="made_up") == WHOLE


def test_the_library_reads_it(path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata()["format"] == "distill-gov/made_up/1"
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)


def test_other_formats_and_missing_files_are_refused(path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="made_up/1, expected distill-gov/other/1"):
        read_tensors(path, format="other")
    with pytest.raises(MissingFileError):
        read_tensors(path.parent / "b.safetensors", format="made_up")


def test_a_file_of_the_library_is_of_no_format_of_ours(path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    for metadata in ({"format": "pt"}, {"x": "y"}):
        numpy.save_file(ARRAYS, path, metadata)
        with pytest.raises(UnknownFormatError, match="none of ours"):
            read_tensors(path, format="made_up")
    numpy.save_file(ARRAYS, path)
    with pytest.raises(IntegrityError):
        read_tensors(path, format="made_up")


@settings(max_examples=80)
@given(st.integers(0, len(WHOLE) * 8 - 1))
def test_a_flipped_bit_is_never_read(bit: int) -> None:
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    with TemporaryDirectory() as directory:
        path = Path(directory) / "a"
        path.write_bytes(data)
        with pytest.raises(DistillGovError) as caught:
            read_tensors(path, format="made_up")
    assert isinstance(caught.value, IntegrityError | UnknownFormatError)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(st.integers(0, len(WHOLE) - 1) | st.integers(len(WHOLE) + 1, len(WHOLE) + 20))
def test_a_file_of_another_length_is_never_read(length: int) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "a"
        path.write_bytes((WHOLE + bytes(20))[:length])
        with pytest.raises(IntegrityError):
            read_tensors(path, format="made_up")


def test_the_errors_say_what_is_wrong(path: Path) -> None:
    path.write_bytes(WHOLE[:-1] + b"x")
    with pytest.raises(
        HashMismatchError, match=r"a\.safetensors: damaged: its content is not that of its own SHA-256"
    ) as caught:
        read_tensors(path, format="made_up")
    assert caught.value.exit_code == 4
    path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="damaged or cut short"):
        read_tensors(path, format="made_up")
