"""Alerts that come and go, told by a pair that is never in step; in the end every Incident says what was told last."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random

from proofs.storm import many_alerts
from proofs.storm.alertmanager import Alertmanager
from proofs.storm.alerts import Alert, milliseconds
from proofs.storm.groups import Group
from proofs.storm.ledger import Ledger, Stored
from proofs.storm.random_kills import RandomKills
from proofs.storm.rig import Line, Rig
from proofs.storm.storm_namespace import STORM

_DISKS = 2
_SETTLE_SECONDS = 120
Script = list[Alert]


def script(random: Random, instance: str, base: datetime, changes: int) -> Script:
    """The life of a group's alerts, in order: each disk fires and resolves in turn, a fraction of a second apart or more."""
    firing: dict[int, Alert] = {}
    told: Script = []
    moment = base
    for _ in range(changes):
        moment = milliseconds(
            moment + timedelta(seconds=random.choice((0.2, 0.5, 1.0, 30.0)) * random.uniform(0.8, 1.2))
        )
        disk = random.randrange(_DISKS)
        if disk in firing:
            told.append(firing.pop(disk).resolved(moment))
        else:
            labels: Mapping[str, str] = {"alertname": STORM, "instance": instance, "disk": f"sd{disk}"}
            firing[disk] = Alert(labels, moment, annotations={"summary": f"{instance} flaps"})
            told.append(firing[disk])
    return told


async def flapping(rig: Rig, groups: int, changes: int, kills: int) -> Line:
    """Each group changes that often; each of the pair tells some changes at once and others together."""
    ledger, base = Ledger(), many_alerts.now() - timedelta(hours=1)
    scripts = {f"flap-{index:05d}": script(rig.random, f"flap-{index:05d}", base, changes) for index in range(groups)}
    async with rig.operator("flapping") as victim:
        with rig.pair(victim, ledger) as pair:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(RandomKills(victim, ledger, rig.random).work(kills, groups * changes))
                for each in pair:
                    for instance, told in scripts.items():
                        tasks.create_task(_tell(each, Group({"instance": instance}), told, Random(rig.random.random())))
        await victim.until_ready()
        failed = await _until_settled(rig)
    return await rig.judge(f"{groups} groups that flap {changes} times", ledger, victim, failed=failed)


async def _tell(alertmanager: Alertmanager, group: Group, told: Script, random: Random) -> None:
    for alert in told:
        group.insert(alert)
        if random.random() < 0.6:
            await alertmanager.flush(group)
    await alertmanager.flush(group)


async def _until_settled(rig: Rig) -> str:
    """Wait until Incidents are closed exactly where all of their alerts are over; says what is not."""
    late = ""
    for _ in range(_SETTLE_SECONDS // 3):
        late = _unsettled(await rig.held())
        if not late:
            return ""
        await asyncio.sleep(3)
    return late


def _unsettled(held: Stored) -> str:
    wrong = [name for name, (firing, closed) in held.ends.items() if firing == closed]
    return f"{len(wrong)} Incidents are not as their alerts say, {wrong[0]} for one" if wrong else ""
