"""The parts of SARIF 2.1.0 that are required of what `check` writes (OASIS, sections 3.13 to 3.30), as assertions."""

from typing import Any
from urllib.parse import urlsplit

LEVELS = {"none", "note", "warning", "error"}


def holds(log: dict[str, Any]) -> None:
    """Assert the shape of a whole log."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    assert isinstance(log["runs"], list)
    for run in log["runs"]:
        _run(run)


def _run(run: dict[str, Any]) -> None:
    assert set(run) == {"tool", "columnKind", "results"}
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    driver = run["tool"]["driver"]
    assert set(driver) == {"name", "version", "rules"}
    assert all(isinstance(driver[key], str) and driver[key] for key in ("name", "version"))
    names = [rule["id"] for rule in driver["rules"]]
    assert len(names) == len(set(names))
    for rule in driver["rules"]:
        assert set(rule) == {"id", "shortDescription"}
        assert isinstance(rule["shortDescription"]["text"], str)
    for result in run["results"]:
        _result(result, names)


def _result(result: dict[str, Any], names: list[str]) -> None:
    assert set(result) == {"ruleId", "ruleIndex", "level", "message", "locations"}
    assert names[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in LEVELS
    assert set(result["message"]) == {"text"}
    assert result["message"]["text"]
    for location in result["locations"]:
        physical = location["physicalLocation"]
        assert set(physical) == {"artifactLocation", "region"}
        uri = physical["artifactLocation"]["uri"]
        assert urlsplit(uri).path == uri
        assert all(isinstance(each, int) and each > 0 for each in physical["region"].values())
