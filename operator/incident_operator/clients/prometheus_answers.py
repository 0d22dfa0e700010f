"""What a Prometheus query API answers, in our words. Asks nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from incident_operator.core import texts

TOLD = 10
"""Warnings, and infos, that are kept of one answer."""
TOLD_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of the answer."""

    labels: Mapping[str, str]
    value: float | str | None
    """Its newest value: a double, NaN and infinities too; the text of a query for a text; None of a native histogram."""
    histogram: Mapping[str, float] | None = None
    """Of a native histogram `count` and `sum`; its buckets are left out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave."""

    samples: list[Sample]
    warnings: tuple[str, ...] = ()
    """What the answer lacks, e.g. that a store did not answer."""
    infos: tuple[str, ...] = ()
    """What is odd in the query itself, e.g. `rate` of what looks like a gauge."""


def answer_of(answer: Mapping[str, Any]) -> Answer:
    """Return a decoded answer. Raises `LookupError`, `TypeError`, `ValueError` or `AttributeError` for what is not one."""
    data = answer["data"]
    return Answer(_samples(data.get("resultType"), data["result"]), _told(answer, "warnings"), _told(answer, "infos"))


def _samples(kind: Any, result: Any) -> list[Sample]:
    if kind == "string":
        return [Sample({}, _text(result[1]))]
    # a vector has one sample a series, a matrix several, of which the newest counts; a scalar has no labels
    if result and not isinstance(result[0], Mapping):
        return [Sample({}, float(result[1]))]
    return [_sample(dict(series["metric"]), series) for series in result]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__}, not a text")
    return value


def _sample(labels: Mapping[str, str], series: Mapping[str, Any]) -> Sample:
    """Return the newest of a series, which may hold numbers, native histograms, or both."""
    numbers = [series["value"]] if "value" in series else series.get("values") or []
    histograms = [series["histogram"]] if "histogram" in series else series.get("histograms") or []
    if not histograms or (numbers and numbers[-1][0] >= histograms[-1][0]):
        return Sample(labels, float(numbers[-1][1]))
    held = histograms[-1][1]
    return Sample(labels, None, {"count": float(held["count"]), "sum": float(held["sum"])})


def _told(answer: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return what is said beside the result: a list of texts, as Prometheus has it, or whatever a proxy makes of that; nothing says nothing."""
    said = answer.get(name) or []
    lines = (texts.visible(_said(each)) for each in (said if isinstance(said, list) else [said]) if each)
    return tuple(texts.cut(line, TOLD_CHARACTERS) for line in lines if line)[:TOLD]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
