"""What may stand under `filters` in redaction.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.records.errors import BadInputError, UnknownKeyError
from distill_gov.records.settings import parse_settings
from redaction.filters.policy import HAZARDS, FilterPolicy
from redaction.policy import load_policy


def parsed(text: str) -> FilterPolicy:
    return parse_settings(text, FilterPolicy, where="redaction.yaml")


@pytest.mark.parametrize(
    ("written", "action"),
    [
        ("true", "drop"),
        ("false", "off"),
        ("off", "off"),
        ("on", "drop"),
        ("flag", "flag"),
        ("drop", "drop"),
        ("null", "off"),
        ("{action: flag}", "flag"),
        ("{}", "drop"),
        ("{action: off}", "off"),
    ],
)
def test_a_filter_is_off_flag_or_drop(written: str, action: str) -> None:
    assert parsed(f"answers: {{repetition: {written}}}").answers.repetition.action == action


def test_what_is_left_out_is_off() -> None:
    policy = parsed("prompts: {}")
    for part in (policy.prompts, policy.answers):
        rules = [getattr(part, name) for name in type(part).model_fields]
        assert not any(rule.on for rule in rules if hasattr(rule, "on"))
        assert not any(rule for rule in rules if not hasattr(rule, "on"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("answers: {repetition: maybe}", "answers.repetition"),
        ("answers: {repetition: {actoin: drop}}", "Did you mean `action`?"),
        ("answers: {secrets: flag}", "answers.secrets"),
        ("answers: {residual: {action: flag}}", "answers.residual"),
        ("prompts: {near_duplicates: {threshold: 0.8}}", "stands in distill.yaml now"),
        ("prompts: {hazards: drop}", "name a `scorer`"),
        ("prompts: {hazards: {action: flag, codes: [vrc]}}", "did you mean vcr?"),
        ("prompts: {hazards: {action: flag, scorer: nobodys}}", "no scorer 'nobodys' is installed"),
        ("answers: {protected_index: drop}", "`path` is missing"),
        ("answers: {language: {allowed: []}}", "allowed"),
        ("prompts: {metadata: [{name: region, field: regoin}]}", "metadata"),
        ("prompts: {metadata: [{name: Not a code, field: licence}]}", "metadata"),
        ("plugins: {nobodys: drop}", "no filter 'nobodys' is installed"),
        ("plugin_seconds: 0.0", "plugin_seconds"),
    ],
)
def test_what_cannot_work_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parsed(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_short_forms_say_what_the_long_ones_say() -> None:
    assert parsed("answers: {protected_index: own/index.parquet}") == parsed(
        "answers: {protected_index: {path: own/index.parquet, action: drop}}"
    )
    assert parsed("prompts: {hazards: flag}").prompts.hazards.codes == list(HAZARDS)


def test_a_filter_cannot_read_a_tag_that_stays_in_the_data(tmp_path: Path) -> None:
    policy: dict[str, Any] = {
        "entities": {"EMAIL": {}},
        "admission": {"consent": ["granted"], "licence": ["own"]},
        "filters": {"prompts": {"metadata": [{"name": "region", "field": "tags.region", "one_of": ["EU"]}]}},
    }
    path = tmp_path / "redaction.yaml"
    path.write_text(yaml.safe_dump(policy), "utf-8")
    with pytest.raises(BadInputError, match="the tag 'region'"):
        load_policy(path)
    path.write_text(yaml.safe_dump({**policy, "tags": ["region"]}), "utf-8")
    load_policy(path)


def test_a_misspelt_filter_is_told_its_name() -> None:
    with pytest.raises(UnknownKeyError, match="Did you mean `refusal`"):
        parsed("answers: {refusals: flag}")
