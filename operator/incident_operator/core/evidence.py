"""Full results, too large for a status: the record keeps the digest of the text that is stored beside it."""

import json
from dataclasses import dataclass

from incident_operator.core import sanitize, texts
from incident_operator.core.outcomes import Failed, Outcome, Succeeded

MAX_TEXT = 64 * 1024
"""Characters kept of one step's result."""
_SMALL = 256
"""What fits into the summary needs no ConfigMap."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One step's result as evidence."""

    digest: str
    """Of the text that is kept; empty where none is, since the summary tells it all."""
    text: str


def evidence_of(outcome: Outcome) -> Evidence | None:
    """Return an outcome's result as evidence, cut where it is long; its digest is over what is kept, so that it can be compared."""
    if not isinstance(outcome, Succeeded | Failed) or not outcome.result:
        return None
    result = sanitize.finite(sanitize.cleaned(outcome.result))
    text = texts.with_escapes(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    kept = texts.cut_counted(text, MAX_TEXT)
    return Evidence(texts.digest(kept) if len(kept) > _SMALL else "", kept)
