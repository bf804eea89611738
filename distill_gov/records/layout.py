"""Where everything lies. The only place that spells a path of a project or a run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill_gov.records.errors import BadInputError

__all__ = ["HUMAN_RATINGS", "SIMULATED_RATINGS", "STAGES", "SWEPT", "ProjectLayout", "RatingsKind", "RunLayout"]

STAGES = ("build", "train", "evaluate", "ratings")
"""The stages that write a manifest, in order."""

RatingsKind = Literal["ratings", "simulated-ratings"]
HUMAN_RATINGS: RatingsKind = "ratings"
SIMULATED_RATINGS: RatingsKind = "simulated-ratings"
"""People's ratings and a script's. Stages, folders, case files and keys carry the name, so that neither can stand for the other
and a script's never open what people are still to rate blind."""

SWEPT = "sweep-"
"""What the stages of sweeps begin with: a run may have several, each of other settings tried."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and ".." not in name


def _checked(name: str, kind: str) -> str:
    # Names become path components: anything else could step out of the project.
    if not _is_name(name):
        raise BadInputError(f"{kind} name must be 1-64 of a-z, 0-9, dot, dash, underscore, starting with a letter or digit")
    return name


@dataclass(frozen=True, slots=True)
class ProjectLayout:
    """Paths of a project."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "distill.yaml"

    @property
    def redaction(self) -> Path:
        return self.root / "redaction.yaml"

    @property
    def gates(self) -> Path:
        return self.root / "gates.yaml"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.jsonl"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def cache(self) -> Path:
        return self.root / ".distill-gov" / "cache"

    @property
    def keys(self) -> Path:
        named = os.environ.get("DISTILL_GOV_KEYS")
        return Path(named) if named else self.root / ".distill-gov" / "keys"

    @property
    def vault(self) -> Path:
        return self.root / ".distill-gov" / "vault"

    @property
    def data(self) -> Path:
        """Raw files."""
        return self.root / "data"

    @property
    def purges(self) -> Path:
        return self.root / "purges"

    def purge(self, name: str, part: int) -> Path:
        """The record of one part of a purge."""
        return self.purges / f"{_checked(name, 'purge')}.{part}.json"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, name: str) -> RunLayout:
        return RunLayout(self.runs / _checked(name, "run"))

    def sweep_manifests(self) -> list[Path]:
        """Manifests of the finished sweeps of every run."""
        return sorted(self.runs.glob(f"*/manifests/{SWEPT}*.json"))

    def trial(self, key: str) -> Path:
        """What one trial of a sweep leaves, by the content of all that shapes it: never in a run, whose files are listed."""
        return self.cache / "sweeps" / _checked(key, "trial")


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Paths of one run."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    def manifest(self, stage: str) -> Path:
        return self.root / "manifests" / f"{stage}.json"

    @property
    def teaching(self) -> Path:
        return self.root / "teaching"

    @property
    def decisions(self) -> Path:
        return self.teaching / "decisions.parquet"

    @property
    def findings(self) -> Path:
        return self.teaching / "findings.parquet"

    @property
    def examples(self) -> Path:
        return self.teaching / "examples.parquet"

    @property
    def rationales(self) -> Path:
        """Rows of reasoning, in the format of examples."""
        return self.teaching / "rationales.parquet"

    @property
    def text_hashes(self) -> Path:
        """Keyed hashes of the taught texts before redaction."""
        return self.teaching / "text_hashes.parquet"

    @property
    def soft_targets(self) -> Path:
        return self.teaching / "soft_targets"

    @property
    def datasheet(self) -> Path:
        return self.teaching / "datasheet.md"

    @property
    def review(self) -> Path:
        """What a reviewer of the teaching set gets and sends back."""
        return self.root / "review"

    @property
    def student(self) -> Path:
        return self.root / "student"

    def sweep(self, name: str) -> Path:
        """What one sweep found, all of its trials."""
        return self.root / "sweeps" / f"{_checked(name, 'sweep')}.json"

    def cases(self, suite: str, subject: str) -> Path:
        return self.root / "evidence" / "cases" / f"{_checked(suite, 'suite')}.{_checked(subject, 'subject')}.parquet"

    @property
    def subjects(self) -> Path:
        """Who was measured: one record a subject."""
        return self.root / "evidence" / "subjects.json"

    @property
    def summaries(self) -> Path:
        """Tables of what was measured beside the gates."""
        return self.root / "evidence" / "summaries.json"

    def measurements(self, policy: str) -> Path:
        return self.root / "evidence" / "measurements" / f"{_checked(policy, 'policy')}.parquet"

    def packets(self, kind: RatingsKind = HUMAN_RATINGS) -> Path:
        return self.root / kind / "packets"

    def responses(self, kind: RatingsKind = HUMAN_RATINGS) -> Path:
        return self.root / kind / "responses"

    def verdict(self, policy: str, subject: str = "student") -> Path:
        suffix = "" if subject == "student" else f".{_checked(subject, 'subject')}"
        return self.root / "verdicts" / f"{_checked(policy, 'policy')}{suffix}.json"

    @property
    def pages(self) -> Path:
        """Derived pages; never evidence."""
        return self.root / "pages"

    def is_page(self, path: Path) -> bool:
        """Whether a page of that name may lie there; its content is derived and proves nothing."""
        named = path.name.removeprefix("report.").removesuffix(".html")
        known = [self.report(), self.audit, self.model_card, self.family, *([self.report(named)] if _is_name(named) else [])]
        return path in known

    def report(self, policy: str | None = None) -> Path:
        """The page under the project's own policy, or under another one that is named."""
        return self.pages / ("report.html" if policy is None else f"report.{_checked(policy, 'policy')}.html")

    @property
    def audit(self) -> Path:
        """The audit of the teaching set."""
        return self.pages / "audit.html"

    @property
    def family(self) -> Path:
        """What came of the students that share this run's teaching set."""
        return self.pages / "family.html"

    @property
    def model_card(self) -> Path:
        return self.pages / "model_card.md"
