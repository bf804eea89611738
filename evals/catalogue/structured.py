"""Whether an answer can be read by the software that waits for it, and whether that calls the right function."""

from __future__ import annotations

from evals.catalogue.metric import Metric, mean_of, proportion

__all__ = [
    "GRAMMAR_MASS",
    "GRAMMAR_MASS_PER_TOKEN",
    "METRICS",
    "NO_CALL",
    "SCHEMA_VALID",
    "TOOL_ARGUMENTS_VALID",
    "TOOL_CALL",
    "TOOL_NAME",
]

SCHEMA_VALID = "schema_valid"
TOOL_NAME = "tool_name"
TOOL_ARGUMENTS_VALID = "tool_arguments_valid"
TOOL_CALL = "tool_call"
NO_CALL = "no_call"
GRAMMAR_MASS = "grammar_mass"
GRAMMAR_MASS_PER_TOKEN = "grammar_mass_per_token"

METRICS: tuple[Metric, ...] = (
    proportion(
        "schema_validity",
        "higher",
        "probability that the answer is strict JSON and valid under the schema, formats asserted",
        "What does not parse cannot be used, and often fails silently downstream.",
        score=SCHEMA_VALID,
        min_n=59,
    ),
    mean_of(
        "grammar_mass",
        "higher",
        "mean, over cases, of the probability that sampling freely at temperature 1 never leaves the schema's grammar along "
        "the given answer: the product over its tokens, the end among them, of the probability that the grammar allows",
        "Decoding under a grammar hides that a model would not keep to the form by itself; this shows it without sampling.",
        score=GRAMMAR_MASS,
    ),
    mean_of(
        "grammar_mass_per_token",
        "higher",
        "mean, over cases, of the geometric mean, over the answer's tokens, of the probability that the grammar allows",
        "The same whatever the answer's length, so that long and short answers can be compared.",
        score=GRAMMAR_MASS_PER_TOKEN,
    ),
    proportion(
        "tool_name_accuracy",
        "higher",
        "probability, where a call is right, that exactly the right functions are called, whatever the arguments",
        "The wrong function does the wrong thing, however well it is called.",
        score=TOOL_NAME,
    ),
    proportion(
        "tool_arguments_valid",
        "higher",
        "probability, where a call is right, that there are calls, each of an offered function with arguments valid under its "
        "parameters",
        "What is not valid fails at run time, or does something that nobody meant.",
        score=TOOL_ARGUMENTS_VALID,
        min_n=59,
    ),
    proportion(
        "tool_call_accuracy",
        "higher",
        "probability, where a call is right, that exactly the right functions are called and every argument is valid and among "
        "the accepted values",
        "It is what the user asked for.",
        score=TOOL_CALL,
    ),
    proportion(
        "no_call_when_none_fits",
        "higher",
        "probability, where no offered function fits, that the model answers and calls none",
        "A call that nobody asked for has side effects.",
        score=NO_CALL,
    ),
)
