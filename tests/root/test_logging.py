"""The log: one JSON object a line, whoever wrote it, and no secret in any of its values."""

import asyncio
import json
import logging

import pytest
import structlog

from incident_operator import logs
from incident_operator.core import redactor
from incident_operator.core.redactor import Redactor

SECRET = "s3cr3t-w0rd"


def fail() -> None:
    raise ValueError(f"cannot log in with {SECRET}")


def test_secrets_are_masked_in_texts_lists_objects_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    own = Redactor()
    own.learn_own("token", SECRET)
    logs.configure("json", redactor.for_logs(own))
    log = structlog.get_logger()
    told = f"with {SECRET}"
    log.info(told, errors=[SECRET], nested={"a": (SECRET,)}, error=ValueError(SECRET), count=3)
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


async def test_a_line_is_masked_by_what_is_known_where_it_is_logged_and_by_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, one, other = Redactor(), Redactor(), Redactor()
    one.learn("db", "1", lambda: ["object-of-one"])
    other.learn("db", "1", lambda: ["object-of-other"])
    logs.configure("json", redactor.for_logs(own))

    async def tell() -> None:
        structlog.get_logger().info("object-of-one object-of-other", namespace="object-of-one", step="object-of-other")
        logging.getLogger("library").warning("object-of-one")

    with redactor.in_logs(one):
        await asyncio.create_task(tell())
    with redactor.in_logs(other):
        await asyncio.create_task(tell())
    await tell()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == [
        "*** object-of-other", "***", "object-of-one ***", "object-of-one", "object-of-one object-of-other",
        "object-of-one",
    ]  # fmt: skip
    assert {(line["namespace"], line["step"]) for line in lines[::2]} == {("object-of-one", "object-of-other")}


def test_a_line_is_told_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", redactor.for_logs(Redactor()))
    structlog.get_logger().info("half a \ud800", number=2**70)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["number"]) == ("half a \ud800", 2**70)
