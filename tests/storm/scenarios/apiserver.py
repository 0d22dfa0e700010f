"""The apiserver goes away in the middle, or says that it has too much to do."""

import asyncio

from e2e.ground import server, server_trust
from storm import many_alerts
from storm.gates import Gate, Throttle
from storm.ledger import Ledger
from storm.stage import Line, Stage


async def outage(stage: Stage, alerts: int, seconds: float) -> Line:
    """Every connection is cut after a third, and new ones are refused for a while."""
    ledger, moment = Ledger(), many_alerts.now()
    async with Gate(server(stage.cluster)) as gate, stage.operator("outage", gate.url) as victim:
        with stage.pair(victim, ledger) as pair:
            async with asyncio.TaskGroup() as tasks:
                for each in pair:
                    tasks.create_task(each.deliver(many_alerts.distinct("outage", alerts, moment)))
                while ledger.progress < 2 * alerts / 3:
                    await asyncio.sleep(0.01)
                gate.shut()
                await asyncio.sleep(seconds)
                await gate.open()
    return await stage.judge(f"{alerts} groups, apiserver away for {seconds:g} s", ledger, victim)


async def throttled(stage: Stage, alerts: int, every: int, kills: int) -> Line:
    """Each n-th write is answered with 429."""
    ledger, moment = Ledger(), many_alerts.now()
    async with Throttle(server(stage.cluster), server_trust(stage.cluster), every) as throttle:
        async with stage.operator("throttled", throttle.url) as victim:
            with stage.pair(victim, ledger) as pair:
                async with asyncio.TaskGroup() as tasks:
                    for each in pair:
                        tasks.create_task(each.deliver(many_alerts.distinct("throttled", alerts, moment)))
                    for _ in range(kills):
                        await asyncio.sleep(stage.random.uniform(0.5, 1.5))
                        await victim.kill()
                        await victim.start()
        note = f"{throttle.refused} writes answered 429"
    return await stage.judge(f"{alerts} groups, 429 for each {every}th write", ledger, victim, note)
