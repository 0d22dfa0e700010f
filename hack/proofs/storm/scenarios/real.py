"""The real Alertmanager, twice: alerts are posted to its API, and the operator is killed while it tells of them."""

import asyncio
import contextlib
from datetime import timedelta

from proofs.storm import debian_alertmanager, many_alerts
from proofs.storm.ledger import Ledger, Stored
from proofs.storm.rig import Line, Rig
from proofs.storm.storm_namespace import STORM

_PATIENCE = 120


async def real(rig: Rig, alerts: int, kills: int) -> Line:
    """All fire, then every second one resolves; the operator is killed while each is told."""
    ledger, began = Ledger(), many_alerts.now()
    made = [many_alerts.alert(STORM, f"real-{index:05d}", began) for index in range(alerts)]
    over = [alert.resolved(began + timedelta(seconds=1)) for alert in made[::2]]
    words = await asyncio.to_thread(debian_alertmanager.command, rig.folder / "programs")
    late = ""
    async with rig.operator("real") as victim, contextlib.AsyncExitStack() as stack:
        places = [rig.folder / f"alertmanager-{name}" for name in "ab"]
        runs = [debian_alertmanager.running(words, place, victim.port, "instance") for place in places]
        pair = [await stack.enter_async_context(each) for each in runs]
        for batch in (made, over):
            ledger.sending(batch)
            await asyncio.gather(*(each.post(batch) for each in pair))
            ledger.told(batch)
            for _ in range(max(1, kills // 2)):
                await asyncio.sleep(rig.random.uniform(0.8, 1.6))
                await victim.kill()
                await victim.start()
            late = late or await _until_stored(rig, ledger)
    name = f"{alerts} alerts through two real Alertmanagers"
    return await rig.judge(name, ledger, victim, failed=late)


async def _until_stored(rig: Rig, ledger: Ledger) -> str:
    """Wait until all is stored as told; what never comes is counted as lost by the judge."""
    for _ in range(_PATIENCE):
        held = await rig.held()
        if all(_told(held, each, statuses) for each, statuses in ledger.acknowledged.items()):
            return ""
        await asyncio.sleep(1)
    return f"not everything was stored within {_PATIENCE} s"


def _told(held: Stored, alert: str, statuses: set[str]) -> bool:
    return held.statuses.get(alert, ())[:1] == ("resolved" if "resolved" in statuses else "firing",)
