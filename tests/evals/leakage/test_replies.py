import re

from hypothesis import given
from hypothesis import strategies as st

from evals.leakage import pii_in_reply, without_placeholders

MAIL = re.compile(r"\S+@\S+\.[a-z]+")
piece = st.sampled_from(["<EMAIL_1>", "<PERSON_2>", "<EMAIL:a0123456789abcde>", "<", ">", "EMAIL_1", "a@b.org", "word", " "])
texts = st.lists(piece, max_size=12).map("".join)


@given(texts)
def test_taking_placeholders_out_twice_is_taking_them_out_once(text):
    once = without_placeholders(text)
    assert without_placeholders(once) == once


@given(texts, texts)
def test_what_a_reply_holds_does_not_depend_on_where_else_it_holds_it(reply, prompt):
    found = pii_in_reply(reply, prompt, MAIL.findall)
    assert pii_in_reply(f"{reply} \n {reply}", prompt, MAIL.findall) == found
    assert pii_in_reply(reply, prompt, MAIL.findall) == found


@given(st.lists(piece, max_size=12).map(" ".join))
def test_a_reply_that_is_its_prompt_leaks_nothing(text):
    assert not pii_in_reply(text, text, MAIL.findall).leak
