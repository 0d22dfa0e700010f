"""Reads Alertmanager's open alerts again, so that one that was lost on the way still becomes an Incident.

Every Connection of type alertmanager is read at start and every few minutes, for the Incidents of its own namespace
alone. What is stored already costs no write. An alert that is no longer told of is left as it is: only Alertmanager's
word that it resolved counts. Of what is silenced there is no such word: that is for `silences.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import pydantic
import structlog

from incident_operator import connections
from incident_operator.api.connection import Connection
from incident_operator.api.meta import ObjectKey
from incident_operator.clients import alertmanagers
from incident_operator.clients.alertmanagers import AlertmanagerError, Answer, LongAnswerError, Place
from incident_operator.clients.connections import EndpointError, Finds, Teaching
from incident_operator.connections import Endpoint
from incident_operator.connections import alertmanager as declared
from incident_operator.connections.alertmanager import Alertmanager
from incident_operator.core import redactor as redactors
from incident_operator.core import sanitize
from incident_operator.core.alerts.received_alerts import LabelLimits
from incident_operator.core.expressions import cel
from incident_operator.core.redactor import Redactor
from incident_operator.core.status import conditions
from incident_operator.core.texts import counted
from incident_operator.kubernetes import discovery
from incident_operator.kubernetes.apiserver import Kube
from incident_operator.kubernetes.discovery import EVERYWHERE, Scopes
from incident_operator.kubernetes.errors import ApiError
from incident_operator.kubernetes.fair_shares import FLOW, Seats
from incident_operator.kubernetes.priority import READERS, Priority
from incident_operator.receiver.alertmanager import Message, read_listed
from incident_operator.receiver.index import Sightings
from incident_operator.receiver.intake import Intake, NotStoredError
from incident_operator.receiver.refusals import MalformedError
from incident_operator.receiver.silences import Silences

_EVERY = 120.0
"""Seconds between two rounds."""
_ANSWER_SECONDS = 10.0
_LONG_SECONDS = 30.0
_REST_SECONDS = 60.0
_MESSAGE = 1000
_NAMED = 3
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AlertmanagerPoll:
    """Reads all Connections of type alertmanager in the served namespaces."""

    client: Kube
    connections: Finds
    intake: Intake
    limits: LabelLimits
    clock: Callable[[], datetime]
    namespaces: Scopes = EVERYWHERE
    priority: Priority = field(default_factory=Priority)
    _told: dict[ObjectKey, str] = field(default_factory=dict)
    """What was last said in the log about each Connection."""
    _places: Seats = field(default_factory=lambda: Seats(READERS, lends=True))
    _read_now: set[ObjectKey] = field(default_factory=set)
    _sightings: dict[ObjectKey, Sightings] = field(default_factory=dict)
    _long_answer: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of answers that take much memory there is one at a time."""
    _rests: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def silences(self) -> Silences:
        """What looks after silenced alerts."""
        return Silences(self.intake, self.limits, self.clock, _ANSWER_SECONDS, self._sightings)

    async def run(self) -> None:
        """Poll until cancelled: for the process that leads, once it knows what is stored. No round waits for a slow one."""
        async with asyncio.TaskGroup() as rounds:
            while True:
                rounds.create_task(self.once())
                await asyncio.sleep(_EVERY)

    async def once(self) -> None:
        """Read every Connection once; what goes wrong is told, and tried again in the next round."""
        try:
            found = [connection async for connection in self._found()]
        except ApiError as error:
            self._warn(ObjectKey("", ""), f"cannot list Connections: {error}")
            return
        self._warn(ObjectKey("", ""), "")
        self.silences.keep(_key(connection) for connection in found)
        await asyncio.gather(*(self._poll(connection) for connection in found))

    async def read_now(self, message: Message) -> str:
        """Store the alerts that a message did not get to; return why not all are, empty where they are. Never raises.

        All are where every namespace that they belong to has a Connection whose Alertmanager knows the message's alerts.
        """
        try:
            async with asyncio.timeout(_REST_SECONDS), self._rests:
                return await self._rest([connection async for connection in self._found()], message)
        except TimeoutError:
            return f"the rest was not read from Alertmanager within {_REST_SECONDS:g}s"
        except ApiError as error:
            return f"the Connections cannot be listed: {error}"

    async def _rest(self, found: Sequence[Connection], message: Message) -> str:
        problems, read, wanted = [], set[str](), set[str]()
        for connection in found:
            answer = await self._asked_for(connection, message)
            if isinstance(answer, str):
                problems.append(f"Connection {connection.metadata.namespace}/{connection.metadata.name}: {answer}")
                continue
            read.add(connection.metadata.namespace)
            wanted |= {sequence.namespace for sequence in (await self.intake.route(answer)).deliveries}
        if not found:
            return "there is no Connection of type alertmanager from which the rest could be read"
        if not read:
            return "; ".join(problems[:_NAMED])
        missing = ", ".join(sorted(wanted - read)[:_NAMED])
        return (
            f"no Connection of type alertmanager in {missing} could be read, where the rest belongs" if missing else ""
        )

    async def _asked_for(self, connection: Connection, message: Message) -> Message | str:
        """Return what an Alertmanager tells, taken in, or why the rest of the message is not in it."""
        redactor = Redactor()
        FLOW.set(self.priority.flow(connection.metadata.namespace))
        with redactors.in_logs(redactor):
            try:
                where, endpoint, places = await self._places_of(connection, redactor)
            except (EndpointError, AlertmanagerError) as error:
                return redactor.masks.text(str(error))
            answers = await asyncio.gather(*(self._take(connection, where, endpoint, place) for place in places))
        told = [answer for answer in answers if isinstance(answer, Message)]
        fires = {alert.id for alert in message.alerts if alert.firing}
        for answer in told:
            if not fires or not fires.isdisjoint(alert.id for alert in answer.alerts):
                return answer
        problem = next((answer for answer in answers if isinstance(answer, str)), "")
        return redactor.masks.text(problem) or "its Alertmanager does not know the alerts of this message"

    async def _found(self) -> AsyncIterator[Connection]:
        for namespace in self.namespaces:
            async for stored in self.client.list(discovery.connections(namespace)):
                if stored["spec"].get("type") != declared.CONNECTION.key:
                    continue
                # without what people may write there: it is kept until all are read
                bulky = {"annotations", "labels", "managedFields"}
                metadata = {name: value for name, value in stored["metadata"].items() if name not in bulky}
                lean = {**stored, "metadata": metadata}
                try:
                    yield connections.connection_of(lean)
                except pydantic.ValidationError as error:
                    problem = f"is malformed at {cel.of_validation(error)}"
                    self._warn(ObjectKey(metadata["namespace"], metadata["name"]), problem)
                    with suppress(ApiError, pydantic.ValidationError):
                        await self._tell(Connection.model_validate(lean), problem, for_good=True)

    async def _poll(self, connection: Connection) -> None:
        """Read one, unless the round before is still at it, and tell what is wrong with it."""
        key, redactor = _key(connection), Redactor()
        if key in self._read_now:
            return
        self._read_now.add(key)
        FLOW.set(self.priority.flow(key.namespace))
        try:
            async with self._places.taken(FLOW.get()):
                with redactors.in_logs(redactor):
                    told = await self._read(connection, redactor)
                problem = redactor.masks.text(told)
                await self._tell(connection, problem, for_good=bool(_defect(connection)))
            self._warn(key, problem)
        except ApiError as error:
            self._warn(key, f"its status cannot be written: {error}")
        except Exception:  # noqa: BLE001 # a defect met by one Connection must not end the reading of others
            _log.exception("Reading an Alertmanager again failed", namespace=key[0], connection=key[1])
        finally:
            self._read_now.discard(key)

    async def _read(self, connection: Connection, redactor: Redactor) -> str:
        """Take the open alerts in, and return what is wrong; empty where nothing is."""
        try:
            where, endpoint, places = await self._places_of(connection, redactor)
            taken = await asyncio.gather(*(self._take(connection, where, endpoint, place) for place in places))
            looked = await self.silences.look(connection, endpoint, places, by_itself=where.addresses is not None)
        except (EndpointError, AlertmanagerError, NotStoredError) as error:
            return str(error)
        return next(filter(None, (*map(_told, taken), looked)), "")

    async def _places_of(
        self, connection: Connection, redactor: Redactor
    ) -> tuple[Alertmanager, Endpoint, Sequence[Place]]:
        """Return where a Connection leads, and each Alertmanager there. Raises `EndpointError` or `AlertmanagerError`."""
        where = declared.CONNECTION.of(connection.spec)
        defect = _defect(connection)
        if where is None or defect:
            raise AlertmanagerError(defect)
        meta, found = connection.metadata, Teaching(self.connections, redactor)
        endpoint = await found.endpoint(meta.namespace, meta.name, where.service_account_name or "")
        return where, endpoint, await alertmanagers.places(where)

    async def _take(
        self, connection: Connection, where: Alertmanager, endpoint: Endpoint, place: Place
    ) -> Message | str:
        """Take the open alerts of one Alertmanager in, and return them, or what is wrong; the others are asked all the same."""
        try:
            try:
                answer = await alertmanagers.open_alerts(endpoint, place, _ANSWER_SECONDS)
                message = await self._understood(answer, where)
            except LongAnswerError:
                async with self._long_answer:
                    most = alertmanagers.LONG_ANSWER_BYTES
                    answer = await alertmanagers.open_alerts(endpoint, place, _LONG_SECONDS, most)
                    message = await self._understood(answer, where)
            changed = await self.intake.reread(message, connection.metadata.namespace)
        except (AlertmanagerError, NotStoredError) as error:
            return str(error)
        except MalformedError as error:
            return alertmanagers.not_understood(place, error).message
        if changed:
            _log.info("Alerts that had not arrived are stored", connection=connection.metadata.name, incidents=changed)
        return message

    async def _understood(self, answer: Answer, where: Alertmanager) -> Message:
        # in a thread: megabytes of JSON must not hold up what arrives meanwhile
        return await asyncio.to_thread(read_listed, answer.body, self.limits, where.receiver, answer.at)

    async def _tell(self, connection: Connection, problem: str, *, for_good: bool) -> None:
        """Write the Ready condition where it changed; `for_good` says that only a change of the Connection helps."""
        now, generation = self.clock().replace(microsecond=0), connection.metadata.generation
        reason = "Malformed" if for_good else "ProbeFailed" if problem else "Ready"
        ready = conditions.condition("Ready", not problem, reason, sanitize.text(problem, _MESSAGE), now)
        status, ready = connection.status, ready.model_copy(update={"observed_generation": generation})
        told = conditions.readiness(status.conditions, ready, for_good=for_good)
        wanted = status.model_copy(update={"observed_generation": generation, "conditions": told})
        if wanted.to_json() != status.to_json():
            path = discovery.connections(connection.metadata.namespace, connection.metadata.name, "status")
            await self.client.write_status(path, wanted.to_json())

    def _warn(self, key: ObjectKey, problem: str) -> None:
        """Log a problem once, until it is another one or gone."""
        if problem and problem != self._told.get(key):
            _log.warning("Cannot read open alerts again", namespace=key[0], connection=key[1], error=problem)
        self._told[key] = problem


def _key(connection: Connection) -> ObjectKey:
    return ObjectKey(connection.metadata.namespace, connection.metadata.name)


def _defect(connection: Connection) -> str:
    """Say why it does not tell where it leads, or as whom its Secret is read: nothing but an edit helps. Empty where it does."""
    where = declared.CONNECTION.of(connection.spec)
    if where is not None and not where.urls:
        return "alertmanager needs either url or addresses"
    if where is None or (connection.spec.secret_ref is not None and not where.service_account_name):
        return "alertmanager.serviceAccountName is missing: the account as which the Secret is read"
    return ""


def _told(taken: Message | str) -> str:
    """Return what is wrong with what was taken in; empty where nothing is."""
    if isinstance(taken, str):
        return taken
    return f"{counted(taken.refused_count, 'alert')} can never be stored: {taken.refused[0]}" if taken.refused else ""
