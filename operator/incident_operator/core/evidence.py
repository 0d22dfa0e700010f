"""Full results, too large for a status: the digest is what the record keeps, the text is stored beside it."""

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
    text: str

    @property
    def small(self) -> bool:
        """Whether the summary tells it all."""
        return len(self.text) <= _SMALL


def evidence_of(outcome: Outcome) -> Evidence | None:
    """Return an outcome's result as evidence; the digest is over the whole text, also where it is cut."""
    if not isinstance(outcome, Succeeded | Failed) or not outcome.result:
        return None
    result = sanitize.cleaned(outcome.result)
    text = texts.with_escapes(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    digest = texts.digest(text)
    return Evidence(digest, texts.cut_counted(text, MAX_TEXT))
