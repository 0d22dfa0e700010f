"""The operator as a process that costs no second of imports: everything else is as with one that was started anew."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from proofs.forking.starter import Forked, Stable
from tests.e2e.operator_process import OperatorProcess


@dataclass(kw_only=True)
class ForkedOperator(OperatorProcess):
    """`incident-operator run`, forked."""

    stable: Stable
    forked: Forked | None = None

    async def _spawn(self, environment: Mapping[str, str]) -> None:
        self.forked = self.stable.fork(["run", "--kubeconfig", str(self.kubeconfig)], environment, self.log)

    def _runs(self) -> bool:
        return self.forked is not None and self.forked.runs

    async def _end(self, how: signal.Signals) -> None:
        if self.forked is not None:
            self.forked.send_signal(how)
            await self.forked.wait()
