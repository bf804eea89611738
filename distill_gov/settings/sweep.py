"""``sweep``: which settings of the training are tried on ``dev``, and by what they are chosen."""

from __future__ import annotations

import difflib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast, get_args

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import UnknownKeyError
from distill_gov.records.settings import Settings
from distill_gov.settings.student import StudentSettings
from distill_gov.settings.train import StageSettings, TrainSettings
from evals.catalogue import lookup

if TYPE_CHECKING:
    from distill_gov.settings.distill import DistillSettings

__all__ = ["TEMPERATURE", "Range", "SweepSettings", "candidates", "check_sweep", "settings_digest", "with_values"]


class Range(Settings):
    """Values between two bounds, both among them; whole numbers where both bounds are."""

    low: int | float
    high: int | float
    scale: Literal["linear", "log"] = "linear"
    """``log``: each power of ten is as likely as the next."""

    @model_validator(mode="after")
    def _spans(self) -> Self:
        if not self.low < self.high:
            raise ValueError("`low` must be less than `high`")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        return self

    def draw(self, rng: random.Random) -> int | float:
        """One value. Of fractions three digits are kept, so that the line for ``distill.yaml`` says all of it."""
        if isinstance(self.low, int) and isinstance(self.high, int) and self.scale == "linear":
            return rng.randint(self.low, self.high)
        if self.scale == "log":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        found = round(value) if isinstance(self.low, int) and isinstance(self.high, int) else float(f"{value:.3g}")
        return min(max(found, self.low), self.high)


def _shape(value: Any) -> str:
    return "range" if isinstance(value, Mapping | Range) else "list"


Values = Annotated[
    Annotated[list[Any], Tag("list"), Field(min_length=1)] | Annotated[Range, Tag("range")], Discriminator(_shape)
]
"""A list of values, or a range to draw from."""

_SECTIONS: Mapping[str, type[BaseModel]] = {"train": TrainSettings, "student": StudentSettings}
"""Sections that ``train`` alone reads: the teaching set of a built run serves all of their settings."""

_KEPT = frozenset({"train.accepted_risk", "student.max_tokens"})
"""Of these, what is measured with the student and no property of it."""

TEMPERATURE = "teacher.temperature"
"""Of the teacher's settings the one that can be swept: where the captured distributions are whole, another temperature follows
from them. Beside a tail it does not, and the sweep says so before anything is trained."""

_BUILT = "cannot be swept: `build` reads it, and a sweep takes the teaching set of one built run; compare runs instead"


class SweepSettings(Settings):
    """Which settings are tried on ``dev``. Those of the file as it stands are always tried too."""

    search: Literal["grid", "random"] = "grid"
    """``grid``: every combination of the listed values. ``random``: ``trials`` draws, the same for the same ``seed``."""
    over: Annotated[dict[str, Values], Field(min_length=1)]
    """Dotted key of this file (``train.losses.calibration``; a stage by its name: ``train.stages.NAME.learning_rate``) to the
    values to try: a list, or for ``random`` also a range of ``low``, ``high`` and ``scale``."""
    trials: int = Field(default=12, ge=1, le=1000)
    """Draws of a random search; the most combinations that a grid may have."""
    metric: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["exact_match"])
    """Metrics of the catalogue, in order of priority: a later one decides between trials that are equal by those before it."""
    max_minutes: float | None = Field(default=None, gt=0)
    """After so much time in trials no further one is begun."""

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        ranges = [key for key, values in self.over.items() if isinstance(values, Range)]
        if self.search == "grid" and ranges:
            raise _wrong(("over", ranges[0]), "a range takes `search: random`; list the values of a grid")
        size = math.prod(len(values) for values in self.over.values() if isinstance(values, list))
        if self.search == "grid" and size > self.trials:
            problem = f"the grid has {size} combinations, more than `trials` ({self.trials}); raise it, or search at random"
            raise _wrong(("trials",), problem)
        for place, name in enumerate(self.metric):
            if problem := _not_chosen_by(name):
                raise _wrong(("metric", place), problem)
        return self


def _not_chosen_by(name: str) -> str:
    try:
        metric = lookup(name)
    except UnknownKeyError as error:
        return str(error)
    if metric.kind in ("agreement", "quantile") or not all(metric.methods.values()):
        return f"`{name}` is not measured of a trial on dev; take one of decisions, texts or validity"
    return ""


def _wrong(place: tuple[str | int, ...], problem: str) -> ValidationError:
    """An error at a key of one's own: raised by a validator, it is told with the file's line."""
    error = PydanticCustomError("sweep", "{problem}", {"problem": problem})
    return ValidationError.from_exception_data("sweep", [InitErrorDetails(type=error, loc=place, input=None)])


# --- checked against the whole file


def check_sweep(settings: DistillSettings) -> None:
    """Hold every key and value of the sweep against the file that it is about.

    Raises:
        ValidationError: no ``dev``, a key that cannot be swept, a value that the key does not take.
    """
    wanted = settings.sweep
    if wanted is None:
        return
    if not settings.dev:
        raise _wrong(("sweep",), "needs `dev`: trials are measured there, and nowhere else")
    for key, values in wanted.over.items():
        place = ("sweep", "over", key)
        if problem := _not_swept(settings, key):
            raise _wrong(place, problem)
        tried = [values.low, values.high] if isinstance(values, Range) else values
        for value in tried:
            try:
                with_values(settings, {key: value})
            except ValidationError as error:
                raise _wrong(place, _told(error, value)) from None


def _told(error: ValidationError, value: Any) -> str:
    message = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
    if isinstance(value, str) and _is_number(value):
        return f"{message}; YAML takes `1e-4` for text, write `1.0e-4`"
    return f"{message} (value `{str(value)[:40]}`)" if isinstance(value, int | float) else message


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _not_swept(settings: DistillSettings, key: str) -> str:
    section, *rest = key.split(".")
    if key == TEMPERATURE and settings.teacher.kind == "prompted":
        return ""
    if key == TEMPERATURE:
        return "cannot be swept: a recorded answer has no distribution"
    if section in type(settings).model_fields and section not in _SECTIONS:
        return _BUILT
    names = sorted(_keys(settings))
    if rest and section in _SECTIONS and key in names:
        return ""
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return "is no key that can be swept" + (f"; did you mean `{near[0]}`?" if near else f"; one of {', '.join(names)}")


def _keys(settings: DistillSettings) -> Iterator[str]:
    """Every key that can be swept in a file like this."""
    for section, model in _SECTIONS.items():
        yield from (key for key in _below(section, model) if key not in _KEPT)
    for stage in settings.train.stages:
        name = f"train.stages.{stage.name}"
        yield from (key for key in _below(name, StageSettings) if key != f"{name}.name")


def _below(name: str, model: type[BaseModel]) -> Iterator[str]:
    for field, about in model.model_fields.items():
        key, kinds = f"{name}.{field}", _kinds(about.annotation)
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if any(kind in (str, int, float, bool) or isinstance(kind, str) for kind in kinds):
            yield key
        for one in models:
            yield from _below(key, one)


def _kinds(annotation: Any) -> list[Any]:
    """The types that a union is of, and the words of a literal; of a list or a mapping nothing."""
    if isinstance(annotation, type | str):
        return [annotation]
    if getattr(annotation, "__origin__", None) in (list, dict, tuple):
        return []
    return [kind for part in get_args(annotation) for kind in _kinds(part)]


# --- candidates


def with_values(settings: DistillSettings, values: Mapping[str, Any]) -> DistillSettings:
    """The settings with some keys changed, checked as if they had been written so. They hold no sweep.

    Raises:
        ValidationError: they cannot be written so.
    """
    changed = settings.model_dump(exclude_unset=True)
    changed.pop("sweep", None)
    for key, value in values.items():
        _put(changed, key.split("."), value)
    return type(settings).model_validate(changed)


def _put(within: dict[str, Any], path: Sequence[str], value: Any) -> None:
    first, *rest = path
    if not rest:
        within[first] = value
    elif isinstance(within.get(first), list):
        # A stage of the training, by its name.
        stage = next(one for one in within[first] if one["name"] == rest[0])
        _put(stage, rest[1:], value)
    else:
        below = within.get(first)
        within[first] = below = cast(dict[str, Any], below) if isinstance(below, dict) else {}
        _put(below, rest, value)


def candidates(settings: DistillSettings) -> list[dict[str, Any]]:
    """What is tried, each as key to value: nothing changed first, then the search's candidates; none twice.

    A random search with more trials begins as one with fewer does, so that raising ``trials`` repeats nothing.

    Raises:
        ValidationError: values that are right one by one cannot stand together.
    """
    wanted = settings.sweep
    assert wanted is not None
    found: dict[str, dict[str, Any]] = {settings_digest(settings): {}}
    if wanted.search == "grid":
        columns = [cast(list[Any], values) for values in wanted.over.values()]
        for row in itertools.product(*columns):
            values = dict(zip(wanted.over, row, strict=True))
            found.setdefault(settings_digest(with_values(settings, values)), values)
        return list(found.values())
    drawn: set[str] = set()
    # Where there are few combinations, most draws are repeated; some number of them has to be enough.
    for number in range(50 * wanted.trials):
        if len(found) > wanted.trials:
            break
        values = {key: _drawn(options, f"sweep/{settings.seed}/{number}/{key}") for key, options in wanted.over.items()}
        if (written := digest_json(values)) not in drawn:
            drawn.add(written)
            found.setdefault(settings_digest(with_values(settings, values)), values)
    return list(found.values())


def _drawn(options: list[Any] | Range, seed: str) -> Any:
    rng = random.Random(seed)
    return options.draw(rng) if isinstance(options, Range) else rng.choice(options)


def settings_digest(settings: DistillSettings) -> str:
    """What of the file shapes a student that is trained on given answers."""
    whole = {"student": settings.student.model_dump(mode="json"), "train": settings.train.model_dump(mode="json")}
    return digest_json({**whole, "seed": settings.seed, TEMPERATURE: settings.teacher.temperature})
