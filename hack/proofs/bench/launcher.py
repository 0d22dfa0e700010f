"""The operator as it is, but for one action: `http` succeeds at once and sends nothing, so a step costs the engine only."""

from dataclasses import replace
from typing import Any

from incident_operator import actions, cli
from incident_operator.actions import http
from incident_operator.core.action import Call, Preview
from incident_operator.core.outcomes import Outcome, Succeeded


async def _done(_call: Call[Any], *_: Any) -> Outcome:
    """A call that a service with idempotency keys answered at once."""
    return Succeeded({}, "done")


async def _nothing(_call: Call[Any], _clients: Any, _trial: bool) -> Preview:
    return Preview("nothing")


if __name__ == "__main__":
    quick = replace(http.ACTION, read=_done, show=_nothing, act=_done)
    actions.ACTIONS = tuple(quick if action is http.ACTION else action for action in actions.ACTIONS)
    cli.main()
