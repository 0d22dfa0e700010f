"""The log: one JSON object a line, whoever wrote it, and no secret in any of its values."""

import json
import logging

import pytest
import structlog

from incident_operator import logs
from incident_operator.clients.redaction import Redactor

SECRET = "s3cr3t-w0rd"


def fail() -> None:
    raise ValueError(f"cannot log in with {SECRET}")


def test_secrets_are_masked_in_texts_lists_objects_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    redactor = Redactor()
    redactor.learn(SECRET)
    logs.configure("json", redactor.clean)
    log = structlog.get_logger()
    told = f"with {SECRET}"
    log.info(told, errors=[SECRET], nested={SECRET: (SECRET,)}, error=ValueError(SECRET), count=3)
    try:
        fail()
    except ValueError:
        log.exception("failed")
        logging.getLogger("library").exception("said %s", SECRET)
    written = capsys.readouterr().err
    assert SECRET not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("with ***", "info"),
        ("failed", "error"),
        ("said ***", "error"),
    ]
    assert lines[0]["count"] == 3
    assert all("cannot log in with ***" in line["exception"] for line in lines[1:])


def test_a_line_is_told_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", str)
    structlog.get_logger().info("half a \ud800", number=2**70)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["number"]) == ("half a \ud800", 2**70)
