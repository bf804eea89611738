from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distill_gov.records.errors import BadModelError, MalformedFileError, MissingFileError, UnknownKeyError
from distill_gov.records.keys import KeyRing
from redaction import RedactionPolicy, Redactor
from redaction.entities import DEFAULT_ENTITIES
from redaction.policy import load_policy

GOOD = """\
entities: {EMAIL: {}}
admission: {consent: [training], licence: [own]}
"""


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text(text, "utf-8")
    load_policy(path)


def test_the_smallest_policy(tmp_path: Path) -> None:
    _load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("EMAIL: {}", "SHOE_SIZE: {}"), MalformedFileError, "no recogniser finds 'SHOE_SIZE'"),
        (("EMAIL: {}", "EMIAL: {}"), MalformedFileError, "did you mean EMAIL"),
        (("EMAIL: {}", "ORDER_NUMBER: {}"), MalformedFileError, "without a pattern"),
        (("{EMAIL: {}}", "{}"), MalformedFileError, "entities"),
        (("EMAIL: {}", "EMAIL: {operator: shuffle}"), MalformedFileError, "operator"),
        (("EMAIL: {}", "EMAIL: {mask: {keep_last: 4}}"), MalformedFileError, "beside `operator: mask`"),
        (("EMAIL: {}", "EMAIL: {operator: mask, mask: {character: a}}"), MalformedFileError, "no letter"),
        (("EMAIL: {}", "EMAIL: {operator: mask, mask: {keep_last: -1}}"), MalformedFileError, "keep_last"),
        (("EMAIL: {}", "EMAIL: {scope: dataset}"), MalformedFileError, "use `operator: hash` or `operator: surrogate`"),
        (("admission:", "scope: dataset\nadmission:"), MalformedFileError, "numbered within a conversation"),
        (("EMAIL: {}", "EMAIL: {threshold: 1.5}"), MalformedFileError, "threshold"),
        (("admission:", "threshhold: 0.3\nadmission:"), UnknownKeyError, "Did you mean `threshold`"),
        (("admission:", "order_numbers: ['(']\nadmission:"), MalformedFileError, "pattern 1 is no regular expression"),
        (("admission:", "order_numbers: ['x*']\nadmission:"), MalformedFileError, "matches the empty text"),
        (("admission:", "deny: {PHONE: ['1']}\nadmission:"), MalformedFileError, "`deny` names 'PHONE'"),
        (("consent: [training]", "consent: []"), MalformedFileError, "consent"),
        (
            ("admission:", "filters: {prompts: {near_holdout: {threshold: 0.0}}}\nadmission:"),
            MalformedFileError,
            "threshold",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_load(
    tmp_path: Path, change: tuple[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(")) as caught:
        _load(tmp_path, GOOD.replace(*change))
    assert "\n" not in str(caught.value)


def test_the_key_is_the_projects_where_there_is_one(tmp_path: Path, keyring: KeyRing) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text(GOOD, "utf-8")
    assert Redactor.from_policy(path).key_id != Redactor.from_policy(path).key_id
    ring = KeyRing.create(tmp_path / ".distill-gov" / "keys")
    assert Redactor.from_policy(path).key_id == Redactor.from_policy(path, ring).key_id


def test_no_file(tmp_path: Path, keyring: KeyRing) -> None:
    with pytest.raises(MissingFileError):
        Redactor.from_policy(tmp_path / "redaction.yaml", keyring)


def test_a_missing_model_is_refused_not_downloaded(tmp_path: Path, keyring: KeyRing) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text("model: en_core_web_nowhere\n" + GOOD, "utf-8")
    with pytest.raises(BadModelError, match="nothing is downloaded"):
        Redactor.from_policy(path, keyring)
    (tmp_path / "model").mkdir()
    path.write_text(f"model: {tmp_path / 'model'}\n" + GOOD, "utf-8")
    with pytest.raises(BadModelError, match="does not load"):
        Redactor.from_policy(path, keyring)


def test_importing_the_package_is_light() -> None:
    heavy = ("spacy", "presidio_analyzer", "torch", "datasketch")
    code = f"import redaction, redaction.filters, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_exports_resolve() -> None:
    import redaction
    import redaction.filters

    for package in (redaction, redaction.filters):
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError):
            package.__getattr__("nothing")


def test_presidios_name_of_an_entity_is_answered_with_ours() -> None:
    with pytest.raises(ValueError, match="did you mean EMAIL"):
        RedactionPolicy.model_validate({"entities": {"EMAIL_ADDRESS": {}}})


def test_the_default_policy_is_a_policy() -> None:
    assert set(RedactionPolicy().entities) == set(DEFAULT_ENTITIES)
