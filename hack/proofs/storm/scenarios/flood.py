"""Many distinct alerts, each a group, told by both of a pair, while the operator is killed over and over."""

import asyncio

from proofs.storm import many_alerts
from proofs.storm.ledger import Ledger
from proofs.storm.random_kills import RandomKills
from proofs.storm.rig import Line, Rig
from proofs.storm.storm_namespace import PILE, STORM


async def many_groups(rig: Rig, alerts: int, kills: int) -> Line:
    """Each alert is a message of its own."""
    ledger, moment = Ledger(), many_alerts.now()
    async with rig.operator("flood") as victim:
        with rig.pair(victim, ledger) as pair:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(RandomKills(victim, ledger, rig.random).work(kills, 2 * alerts))
                for each in pair:
                    tasks.create_task(each.deliver(many_alerts.distinct("flood", alerts, moment)))
    return await rig.judge(f"{alerts} groups, sent twice", ledger, victim)


async def one_message(rig: Rig, alerts: int, kills: int) -> Line:
    """All alerts are one message, and each becomes an Incident; killed in the middle of it."""
    ledger, moment = Ledger(), many_alerts.now()
    async with rig.operator("message") as victim:
        with rig.pair(victim, ledger) as pair:
            async with asyncio.TaskGroup() as tasks:
                for each in pair:
                    tasks.create_task(each.flush(many_alerts.together(STORM, "message", alerts, moment)))
                for _ in range(kills):
                    await asyncio.sleep(rig.random.uniform(0.1, 0.8))
                    await victim.kill()
                    await victim.start()
                    await victim.until_ready()
    return await rig.judge(f"{alerts} alerts in one message, an Incident each", ledger, victim)


async def one_incident(rig: Rig, alerts: int) -> Line:
    """All alerts are one message and one Incident, which lists a thousand of them and counts the others."""
    ledger, moment = Ledger(), many_alerts.now()
    async with rig.operator("pile") as victim:
        with rig.pair(victim, ledger) as pair:
            pile = [many_alerts.together(PILE, "pile", alerts, moment) for _ in pair]
            await asyncio.gather(*(each.flush(group) for each, group in zip(pair, pile, strict=True)))
    return await rig.judge(f"{alerts} alerts in one message, one Incident", ledger, victim)
