"""Errors: one line, the right exit code, the same after a worker sent them back."""

from __future__ import annotations

import copy
import pickle

import pytest

from distill_gov.records import errors
from distill_gov.records.errors import DistillGovError

CLASSES = [getattr(errors, name) for name in errors.__all__]
CODES = {"DistillGovError": 5, "TeacherNotAdmittedError": 1, "IntegrityError": 4, "HashMismatchError": 4, "ChainBrokenError": 4}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(cls: type[DistillGovError], protocol: int) -> None:
    error = cls("no such file", where="distill.yaml:3", fix="Add it.")
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(again) is cls
        assert (again.what, again.where, again.fix) == ("no such file", "distill.yaml:3", "Add it.")
        assert str(again) == str(error) == "distill.yaml:3: no such file. Add it."


@pytest.mark.parametrize("cls", CLASSES)
def test_the_exit_code_is_of_the_class(cls: type[DistillGovError]) -> None:
    assert cls.exit_code == CODES.get(cls.__name__, 2)
    assert cls.exit_code != 0


def test_what_is_not_known_leaves_no_punctuation() -> None:
    assert str(DistillGovError("it broke")) == "it broke"
    assert str(DistillGovError("it broke", fix="Mend it.")) == "it broke. Mend it."
    assert str(DistillGovError("it broke", where="f")) == "f: it broke"
