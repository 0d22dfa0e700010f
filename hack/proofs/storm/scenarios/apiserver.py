"""The apiserver goes away in the middle, or says that it has too much to do."""

import asyncio

from proofs.storm import many_alerts
from proofs.storm.gates import Gate, Throttle
from proofs.storm.ledger import Ledger
from proofs.storm.rig import Line, Rig
from tests.e2e.cluster_setup import server, server_trust


async def outage(rig: Rig, alerts: int, seconds: float) -> Line:
    """Every connection is cut after a third, and new ones are refused for a while."""
    ledger, moment = Ledger(), many_alerts.now()
    async with Gate(server(rig.cluster)) as gate, rig.operator("outage", gate.url) as victim:
        with rig.pair(victim, ledger) as pair:
            async with asyncio.TaskGroup() as tasks:
                for each in pair:
                    tasks.create_task(each.deliver(many_alerts.distinct("outage", alerts, moment)))
                while ledger.progress < 2 * alerts / 3:
                    await asyncio.sleep(0.01)
                gate.shut()
                await asyncio.sleep(seconds)
                await gate.open()
    return await rig.judge(f"{alerts} groups, apiserver away for {seconds:g} s", ledger, victim)


async def throttled(rig: Rig, alerts: int, every: int, kills: int) -> Line:
    """Each n-th write is answered with 429."""
    ledger, moment = Ledger(), many_alerts.now()
    async with Throttle(server(rig.cluster), server_trust(rig.cluster), every) as throttle:
        async with rig.operator("throttled", throttle.url) as victim:
            with rig.pair(victim, ledger) as pair:
                async with asyncio.TaskGroup() as tasks:
                    for each in pair:
                        tasks.create_task(each.deliver(many_alerts.distinct("throttled", alerts, moment)))
                    for _ in range(kills):
                        await asyncio.sleep(rig.random.uniform(0.5, 1.5))
                        await victim.kill()
                        await victim.start()
        note = f"{throttle.refused} writes answered 429"
    return await rig.judge(f"{alerts} groups, 429 for each {every}th write", ledger, victim, note)
