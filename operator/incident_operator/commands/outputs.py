"""What `check` found, as people and as other programs read it: text, JSON, workflow commands of GitHub, SARIF 2.1.0."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from incident_operator.commands import check
from incident_operator.commands.check import Finding, Level, Report
from incident_operator.core import texts

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
PROGRAM = "incident-operator"


def text_line(found: Finding) -> str:
    """Return `file:line:column: `, then `warning: ` where it is one, and what was found, maybe with an excerpt below."""
    level = "warning: " if found.level is Level.WARNING else ""
    return f"{texts.unmistakable(found.file)}:{found.line}:{found.column}: {level}{found.whole}"


def as_json(report: Report) -> str:
    """Return one JSON object: `files`, `findings` (each with file, line, column, level, rule, message …), `unasked`."""
    told = {"files": report.files, "findings": [each.to_json() for each in report.findings]}
    return json.dumps({**told, "unasked": list(report.unasked)}, indent=2)


def as_github(report: Report) -> str:
    """Return a workflow command for each finding, which GitHub shows at its line."""
    return "\n".join(_command(each) for each in report.findings)


def as_sarif(report: Report) -> str:
    """Return a SARIF 2.1.0 log, for code scanning and editors."""
    import importlib.metadata  # noqa: PLC0415 # slow, and nothing else asks for it

    driver = {
        "name": PROGRAM,
        "version": importlib.metadata.version(PROGRAM),
        "rules": [{"id": name, "shortDescription": {"text": about}} for name, about in check.ABOUT.items()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each) for each in report.findings],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


MACHINE: Mapping[str, Callable[[Report], str]] = {"json": as_json, "github": as_github, "sarif": as_sarif}
"""What programs read, by the name that `-o` takes."""


def _command(found: Finding) -> str:
    properties = {
        "file": found.file,
        "line": str(found.line),
        "col": str(found.column),
        "title": found.subject or found.rule,
    }
    listed = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    return f"::{found.level.value} {listed}::{_escaped(found.whole)}"


def _escaped(value: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        value = value.replace(character, f"%{ord(character):02X}")
    return value


def _result(found: Finding) -> dict[str, Any]:
    region = {"startLine": found.line, "startColumn": found.column}
    artifact = {"uri": quote(os.fsencode(found.file.replace("\\", "/")))}
    return {
        "ruleId": found.rule,
        "ruleIndex": list(check.ABOUT).index(found.rule),
        "level": found.level.value,
        "message": {"text": found.whole},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    }
