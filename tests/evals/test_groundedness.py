import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.cases import Case
from evals.evidence import CaseResult, MeasurementRequest
from evals.groundedness import GroundednessSuite, facts, unsupported_claims, unsupported_facts
from evals.measuring import measure
from evals.suites import ReadAnswer


def kinds(reply, source, **kwargs):
    return sorted({fact.kind for fact in unsupported_facts(reply, source, **kwargs)})


@pytest.mark.parametrize(
    ("reply", "source"),
    [
        ("We refund 1,000 euros.", "I paid €1000"),
        ("We refund 1000.", "I paid 1.000"),
        ("We refund 1.234,50 EUR", "1,234.50 euros"),
        ("It is 12 345.", "12345"),
        ("Two kettles.", "2 kettles"),
        ("2 kettles.", "two kettles"),
        ("1 kettle.", "one kettle"),
        ("One of us will call.", "hello"),
        ("It holds 5kg.", "It holds 5 kg"),
        ("It costs 20% more.", "20 percent"),
        ("Order LH-12345-A is late.", "where is lh-12345-a"),
        ("Order 12345 is late.", "where is LH-12345-A"),
        ("It comes on 22 November.", "due 2026-11-22"),
        ("It comes on Nov 22, 2026.", "due 22/11/2026"),
        ("It comes on the 22nd.", "due 22.11.2026"),
        ("It comes on 2026-04-03.", "due 03/04/2026"),
        ("It comes on 2026-03-04.", "due 03/04/2026"),
        ("We call at 10:30.", "at 10.30 am"),
        ("We call by 3pm.", "call me at 15:00"),
        ("Call +49 30 1234-567.", "+49 (30) 1234567"),
        ("We write to Ann@Example.com.", "my mail is ann@example.com"),
        ("See https://www.example.org/help.", "example.org/help"),
        ("1. Unplug it.\n2. Wait.", "it hangs"),
        ("First unplug it, in step 2 wait. Then a 3rd time.", "it hangs"),
        ("We are here 24/7.", "hello"),
        ("We write to <PERSON_1>.", "I am <PERSON_1>"),
        ("Dear Customer, thank you.", "hello"),
        ("We called Maria's office.", "maria called"),
        ("Sorry. Maybe the fuse blew.", "it is dead"),
        ("PLEASE CALL US NOW", "hello"),
    ],
)
def test_what_the_input_holds_is_grounded(reply, source):
    assert kinds(reply, source) == []


@pytest.mark.parametrize(
    ("reply", "source", "kind"),
    [
        ("We refund 1,500 euros.", "I paid €1000", "number"),
        ("We refund $1000.", "I paid €1000", "number"),
        ("We refund 1000 dollars.", "I paid 1000", "number"),
        ("Three kettles.", "2 kettles", "number"),
        ("1 kettle.", "a kettle", "number"),
        ("One hour, within 24 hours.", "hello", "number"),
        ("It takes 2-3 days.", "hello", "number"),
        ("Order LH-12345-B is late.", "LH-12345-A", "code"),
        ("Order #99999.", "#11111", "code"),
        ("Call 0000-0002.", "0000-0001", "code"),
        ("Account 1234567890123456789.", "hello", "code"),
        ("It comes on 23 November.", "due 2026-11-22", "date"),
        ("It comes on 22 November 2027.", "due 22 November", "date"),
        ("It comes on 2026-05-04.", "due 03/04/2026", "date"),
        ("It comes on the 23rd.", "due 2026-11-22", "number"),
        ("We call at 11:30.", "at 10:30", "time"),
        ("We call at 3pm.", "at 3 am", "time"),
        ("We write to bob@example.com.", "ann@example.com", "link"),
        ("See www.example.org.", "example.com", "link"),
        ("We write to <PERSON_2>.", "I am <PERSON_1>", "placeholder"),
        ("We write to <SOMETHING_2>.", "hello", "placeholder"),
        ("We asked Maria about it.", "who knows", "name"),
        ("We asked Mr. Maria about it.", "who knows", "name"),
        ("It comes on Monday.", "when", "name"),
        ("Your Brightvale is fine.", "my kettle", "name"),
    ],
)
def test_what_it_does_not_hold_is_not(reply, source, kind):
    assert kinds(reply, source) == [kind]


def test_names_that_need_no_support():
    assert kinds("Ask Larkfield Home.", "hello") == ["name"]
    assert kinds("Ask Larkfield Home.", "hello", allowed=("Larkfield Home",)) == []
    assert kinds("Wir prüfen die Rechnung.", "Hallo", capitals=False) == []


def test_a_detector_finds_what_no_pattern_does():
    reply = "maria will call you."
    assert kinds(reply, "hello") == []
    assert kinds(reply, "hello", detect=lambda text: ["maria"]) == ["detected"]
    assert kinds(reply, "I spoke to Maria", detect=lambda text: ["maria"]) == []
    assert kinds(reply, "although", detect=lambda text: ["☎"]) == ["detected"]


def test_the_detector_does_not_see_placeholders():
    seen = []
    unsupported_facts("Hello <PERSON_1>.", "<PERSON_1>", detect=lambda text: seen.append(text) or [])
    assert "PERSON" not in seen[0]


# --- statements


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("The kettle leaks at the lid.", 0.0),
        ("Your kettles leaked and the lid was leaking.", 0.0),
        ("The warehouse burned yesterday night.", 1.0),
        ("The kettle leaks badly. The warehouse burned yesterday night.", 0.5),
        ("Did the warehouse burn yesterday night?", 0.0),
        ("Thank you very much. Sorry!", 0.0),
        ("Noted.", 0.0),
    ],
)
def test_statements_are_supported_by_their_words(reply, share):
    assert unsupported_claims(reply, "My kettle is leaking badly at the lid") == share


def test_the_threshold_is_of_the_words():
    reply, source = "Kettle toaster warehouse.", "kettle"
    assert unsupported_claims(reply, source, support=0.3) == 0.0
    assert unsupported_claims(reply, source, support=0.34) == 1.0


# --- the suite


def case(text="My two kettles leak.", **kwargs):
    return Case(
        "c", "holdout", ({"role": "system", "content": "Open till 18:00."}, {"role": "user", "content": text}), **kwargs
    )


def score(reply, suite=None, **kwargs):
    return (suite or GroundednessSuite()).score(case(**kwargs), ReadAnswer(True, {}, reply, reply), "My two kettles leak.")


def test_the_input_is_all_messages_and_the_context():
    assert score("Two kettles, we close at 18:00.")["ungrounded"] == 0.0
    assert score("We have 30 days for it.")["ungrounded"] == 1.0
    assert score("We have 30 days for it.", GroundednessSuite(context="Returns within 30 days."))["ungrounded"] == 0.0


def test_german_nouns_are_no_names():
    assert score("Wir prüfen die Rechnung.", slices=("language=de",))["ungrounded"] == 0.0
    assert score("Wir prüfen die Rechnung 77.", slices=("language=de",))["ungrounded"] == 1.0


@pytest.mark.parametrize("reply", ["", " ", "...", "\n"])
def test_a_reply_that_says_nothing_is_the_worst(reply):
    suite = GroundednessSuite()
    assert score(reply) == suite.worst(case()) == {"ungrounded": 1.0, "unsupported_claims": 1.0}


@pytest.mark.parametrize("support", [0, -1, 1.1, True, float("nan")])
def test_a_bad_threshold_is_refused(support):
    with pytest.raises(BadInputError):
        GroundednessSuite(support=support)


def test_measured():
    replies = ["We check the kettles."] * 95 + ["We refund 50 euros."] * 5
    rows = [CaseResult("s", "d", f"c{i:03}", "holdout", f"k{i}", (), "ok", score(reply)) for i, reply in enumerate(replies)]
    request = MeasurementRequest("ungrounded_rate", "holdout", None, "student", None, "level", "clopper_pearson", 0.95, "upper")
    [found] = measure({"student": rows}, [request], {"holdout": 100})
    assert (found.value, found.n_scored) == (0.05, 100)


TEXT = st.text(alphabet="aB1 2,.:/-€%@<>_MR\nten", max_size=60)


@given(TEXT)
def test_an_echo_is_always_grounded(text):
    assert unsupported_facts(text, text) == []
    assert unsupported_claims(text, text) == 0.0


@given(TEXT, TEXT)
def test_more_input_never_grounds_less(reply, source):
    # Split by a line of its own, so that nothing reads on from one text into the other.
    more = source + "\n\n;\n\n" + "Maria 17 LH-12345-A"
    assert len(unsupported_facts(reply, more)) <= len(unsupported_facts(reply, source))


@given(st.integers(21, 10**9))
def test_a_number_is_found_however_it_is_written(number):
    for written in (str(number), f"{number:,}", f"{number:,}".replace(",", "."), f"€{number}", f"{number} EUR"):
        assert kinds(f"It is {written} now.", "hello") != []
        assert kinds(f"It is {number} now.", f"I read {written} there") == []


@given(st.text(max_size=200))
def test_reading_is_total(text):
    facts(text)
    assert 0 <= unsupported_claims(text, "") <= 1
