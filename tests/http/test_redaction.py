"""Secret values are masked in every form in which they travel."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.clients import redaction
from incident_operator.clients.redaction import MASK, Redactor

SECRET = 'p%ss/w0rd+"ßecret"\\x'


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    return redactor


FORMS = {
    "itself": SECRET,
    "percent-encoded": quote(SECRET, safe=""),
    "as a form": quote_plus(SECRET),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in base64": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "in URL-safe base64": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_masked(form):
    cleaned = knowing(SECRET).clean(f"before {form} after")
    assert form not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert MASK in cleaned


@given(st.text(min_size=8, max_size=40), st.text(max_size=12), st.text(max_size=12))
def test_a_secret_inside_other_base64_is_masked_at_any_offset(secret, before, after):
    if len(secret.strip()) < redaction.SHORTEST:
        return
    encoded = base64.b64encode(f"{before}{secret}{after}".encode()).decode()
    cleaned = knowing(secret).clean(encoded)
    assert cleaned != encoded


@given(st.text(min_size=4, max_size=30))
def test_no_cleaned_text_holds_the_secret(secret):
    if len(secret.strip()) < redaction.SHORTEST or MASK in secret or set(secret) <= {"*"}:
        return
    assert secret not in knowing(secret).clean(f"a {secret} b {secret}")


def test_short_values_are_not_looked_for():
    assert knowing("abc", "  a ", "").clean("abc a") == "abc a"


def test_json_is_masked_in_keys_and_texts_and_otherwise_unchanged():
    value = {SECRET: [1, True, None, 2.5, {"a": f"x{SECRET}"}], "b": (SECRET,)}
    assert knowing(SECRET).clean_json(value) == {MASK: [1, True, None, 2.5, {"a": f"x{MASK}"}], "b": [MASK]}


def test_deeply_nested_json_is_cut_instead_of_overflowing():
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    assert "[nested too deep]" in json.dumps(knowing().clean_json(nested))


def test_a_long_value_is_masked_in_all_its_parts():
    value = "".join(f"{n:06d}" for n in range(5000))
    cleaned = knowing(value).clean(f"<{value}>")
    assert set(cleaned) == {"<", "*", ">"}


def test_memory_is_bounded_and_the_newest_values_are_kept():
    redactor = knowing(*(f"secret-number-{n}-" for n in range(redaction.MOST_VALUES + 5)))
    assert redactor.clean("secret-number-0-") == "secret-number-0-"
    assert redactor.clean(f"secret-number-{redaction.MOST_VALUES + 4}-") == MASK


def test_a_value_that_is_learned_again_counts_as_new():
    redactor = knowing("first-secret", *(f"secret-number-{n}-" for n in range(redaction.MOST_VALUES - 1)))
    redactor.learn("first-secret")
    redactor.learn("one-more-secret")
    assert redactor.clean("first-secret") == MASK


def test_user_names_and_certificates_of_a_secret_stay_readable():
    redactor = Redactor()
    redactor.learn_secret({"username": "dawsos_read", "password": "hunter22", "ca.crt": "-----BEGIN"})
    assert redactor.clean("dawsos_read hunter22 -----BEGIN") == f"dawsos_read {MASK} -----BEGIN"


def test_a_message_without_one_secret_is_one_line():
    assert redaction.without({"password": "two\nlines"}, "bad:\n\ttwo\nlines here") == f"bad: {MASK} here"
