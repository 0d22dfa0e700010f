"""What is known of credentials: those of one Connection, by version, for one Incident apart from all others."""

import base64

from incident_operator import connections
from incident_operator.clients import redaction
from incident_operator.core.masks import MASK
from incident_operator.core.redactor import Redactor

SECRET = {
    "username": "app_reader_1",
    "password": "hunter22-x",
    "dbname": "orders-2026",
    "host": "db-1.prod.svc",
    "port": "5432",
    "ca.crt": "-----BEGIN",
}


def test_only_what_a_type_declares_is_secret() -> None:
    told = "app_reader_1 hunter22-x orders-2026 db-1.prod.svc 5432 -----BEGIN"
    for kind in connections.CONNECTIONS:
        redactor = Redactor()
        redactor.learn("db", "1", lambda kind=kind: kind.credentials_in(SECRET))
        assert redactor.masks.text(told) == told.replace("hunter22-x", MASK)


def test_what_is_sent_in_place_of_a_short_password_is_secret() -> None:
    sent = base64.b64encode(b"app:short").decode()
    kind = connections.named("http")
    assert kind is not None
    redactor = Redactor()
    redactor.learn("api", "1", lambda: kind.credentials_in({"username": "app", "password": "short"}))
    assert redactor.masks.text(f"Authorization: Basic {sent}") == f"Authorization: Basic {MASK}"


def test_a_version_that_is_known_is_not_learned_again() -> None:
    redactor = Redactor()
    redactor.learn("db", "1", lambda: ["first-s3cret"])
    known = redactor.masks
    redactor.learn("db", "1", lambda: ["other-s3cret"])
    assert redactor.masks is known


def test_the_last_versions_of_each_connection_stay_known_whatever_others_bring() -> None:
    redactor = Redactor()
    redactor.learn("db", "0", lambda: ["the-password-of-db"])
    for number in range(50):
        redactor.learn("api", str(number), lambda number=number: [f"token-number-{number}"])
    assert redactor.masks.text("the-password-of-db") == MASK
    assert redactor.masks.text("token-number-49, token-number-46") == "***, ***"
    assert redactor.masks.text("token-number-45") == "token-number-45"


def test_incidents_of_one_runbook_share_what_was_compiled() -> None:
    one, other = Redactor(), Redactor()
    for redactor in (one, other):
        redactor.learn("db", "1", lambda: ["first-s3cret"])
    assert one.masks is other.masks


def test_a_message_without_one_secret_is_one_line() -> None:
    assert redaction.without({"password": "two\nlines-2"}, "bad:\n\ttwo\nlines-2 here") == f"bad: {MASK} here"
