"""`exec`: runs a command in a container that is there already, at most once (effect: unkeyed).

Nothing that a command does can be looked up, so an end that was not seen is `Undetermined`, and never a reason to run it again.
The account needs: create and get on pods/exec, get on pods; and for a workload get on it, and list on pods.
"""

import asyncio
import shlex
from typing import Any

from incident_operator.actions import exec_pods, kube_failures, log_lines
from incident_operator.actions.exec_pods import Place
from incident_operator.actions.kube_failures import Unusable
from incident_operator.actions.protocol import Call, Preview, PreviewError
from incident_operator.api import actions
from incident_operator.clients import api_errors, paths
from incident_operator.clients.cluster import Account, Cluster
from incident_operator.clients.exec import Command, Commands, Ended
from incident_operator.core import reasons
from incident_operator.core.outcomes import Failed, Outcome, Succeeded, Undetermined

_LAST_LINE = 300
_SHORTEST = 1.0
"""Seconds that a command gets in any case, however long it took to find its Pod."""


class Exec:
    """Runs an argv list in one container of one Pod, as the Runbook's account."""

    def __init__(self, cluster: Cluster, commands: Commands) -> None:
        self._cluster = cluster
        self._commands = commands

    async def run(self, call: Call) -> Outcome:
        """Run it and return {exitCode, stdout, stderr, matches, truncated}; any other exit code than 0 is a failure."""
        spec, account = _spec(call), self._account(call)
        ends_at = asyncio.get_running_loop().time() + call.timeout
        try:
            pattern = log_lines.compiled(spec.pattern)
            place = await exec_pods.find(account, call.namespace, spec.target, spec.container)
        except (api_errors.ApiError, Unusable) as error:
            return kube_failures.failed(error, call)
        left = max(_SHORTEST, ends_at - asyncio.get_running_loop().time())
        try:
            ended = await self._commands.run(call.namespace, call.service_account, _command(call, place), left)
        except api_errors.ApiError as error:
            return _without_an_end(error, call, place)
        return await _told(account, call, place, ended, pattern)

    async def preview(self, call: Call) -> Preview:
        """Say what would run, and in which very Pod; a Pod that is replaced later is another plan."""
        spec = _spec(call)
        try:
            place = await exec_pods.find(self._account(call), call.namespace, spec.target, spec.container)
        except (api_errors.ApiError, Unusable) as error:
            raise PreviewError(f"{call.step}: {kube_failures.explain(error, call)}") from error
        details = {"target": spec.target, "pod": place.pod, "uid": place.uid, "container": place.container}
        do = f"run in {_named(place)} of {call.namespace}: {shlex.join(spec.command)}"
        return Preview(do, {**details, "command": list(spec.command)})

    def _account(self, call: Call) -> Account:
        return self._cluster.acting_as(call.namespace, call.service_account).within(call.timeout)


def _command(call: Call, place: Place) -> Command:
    return Command(paths.pods(call.namespace, place.pod, "exec"), place.container, tuple(_spec(call).command))


def _without_an_end(error: api_errors.ApiError, call: Call, place: Place) -> Outcome:
    if isinstance(error, api_errors.Unavailable) and error.sent:
        return Undetermined(f"in {_named(place)}: {error.message}")
    return kube_failures.failed(error, call)


async def _told(account: Account, call: Call, place: Place, ended: Ended, pattern: Any) -> Outcome:
    other = await exec_pods.replaced(account, call.namespace, place)
    if other:
        # the apiserver runs a command by the Pod's name, whichever Pod has it
        return Undetermined(
            f"Pod {place.pod} was replaced meanwhile (uid {place.uid}, now {other}); "
            f"the command ended with exit code {ended.exit_code} in one of the two"
        )
    summary = f"exit code {ended.exit_code} in {_named(place)}{_last_line(ended)}"
    if ended.exit_code == 0:
        return Succeeded(_result(ended, pattern), summary)
    return Failed(reasons.COMMAND_FAILED, summary, retryable=False, result=_result(ended, pattern), effected=True)


def _result(ended: Ended, pattern: Any) -> dict[str, Any]:
    stdout, stderr = (stream.decode(errors="replace") for stream in (ended.stdout, ended.stderr))
    return {
        "exitCode": ended.exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "matches": log_lines.read(stdout.splitlines(), pattern).matches,
        "truncated": ended.truncated,
    }


def _last_line(ended: Ended) -> str:
    printed = ended.stdout if ended.exit_code == 0 else ended.stderr or ended.stdout
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines() if line.strip()]
    return f"; last line: {lines[-1][:_LAST_LINE]}" if lines else ""


def _named(place: Place) -> str:
    return f"{place.pod}/{place.container}"


def _spec(call: Call) -> actions.Exec:
    if not isinstance(call.spec, actions.Exec):
        raise TypeError(f"exec was called with {type(call.spec).__name__}")
    return call.spec
