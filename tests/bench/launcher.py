"""The operator as it is, but for one action: `http` succeeds at once and sends nothing, so a step costs the engine only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from incident_operator import cli
from incident_operator.actions import registry
from incident_operator.actions.protocol import Call, Preview
from incident_operator.core.outcomes import Outcome, Succeeded

_complete = registry.tools


class Nothing:
    """A call that a service with idempotency keys answered at once."""

    async def run(self, call: Call) -> Outcome:
        return Succeeded({}, "done")

    async def preview(self, call: Call) -> Preview:
        return Preview("nothing")


@asynccontextmanager
async def _without_calls(*given: Any) -> AsyncIterator[registry.Tools]:
    async with _complete(*given) as tools:
        yield replace(tools, actions={**tools.actions, "http": Nothing()})


if __name__ == "__main__":
    registry.tools = _without_calls
    cli.main()
