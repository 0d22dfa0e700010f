"""Checks manifests as the cluster and the operator would, without either: all that is wrong, and what is probably not meant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.commands import kinds, partial_runbooks
from incident_operator.commands.findings import Finding, Level, Report
from incident_operator.commands.kinds import Wrong
from incident_operator.commands.sources import sources
from incident_operator.core import texts
from incident_operator.core.runbooks import advice, compiler, reading, warnings
from incident_operator.core.runbooks import unasked as leaves
from incident_operator.core.runbooks.advice import Told
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.core.yaml_source import Document, Remark, documents


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file."""

    file: str
    document: Document
    value: Mapping[str, Any]
    prefix: str = ""
    """Where it stands in its document, e.g. `items[0].` in a list."""

    @property
    def kind(self) -> str:
        """Its kind; empty where none is written."""
        kind = self.value.get("kind")
        return kind if isinstance(kind, str) else ""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata; empty where there are none that can be read."""
        metadata = self.value.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        return f"{texts.visible(self.kind) or 'object'} {texts.visible(str(self.metadata.get('name', '?')))}"

    @property
    def namespace(self) -> str:
        """Its namespace; empty where none is written."""
        namespace = self.metadata.get("namespace")
        return namespace if isinstance(namespace, str) else ""

    def errors(self, rule: str, wrong: Iterable[Wrong]) -> list[Finding]:
        """Return a finding for each thing that is wrong."""
        return [self.found(Level.ERROR, rule, each) for each in wrong]

    def found(self, level: Level, rule: str, wrong: Wrong) -> Finding:
        """Return a finding about one of its fields."""
        place = self.document.place_of(self.prefix + wrong.path)
        return Finding(
            self.file, place.line, place.column, level, rule, wrong.message, self.subject, wrong.path, wrong.excerpt
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found in one object."""

    findings: tuple[Finding, ...]
    unasked: tuple[str, ...] = ()


def check(paths: Sequence[Path], global_namespaces: Iterable[str] = ()) -> Report:
    """Return all that is wrong in files and folders (`-` is what is piped in). Raises nothing for any text.

    References to Connections are checked where Connections of the Runbook's namespace are given too.
    """
    read = list(sources(paths))
    found = [(source, document) for source in read for document in documents(source.text)]
    manifests = [each for source, document in found for each in _manifests(source.file, document)]
    everywhere = frozenset(global_namespaces)
    checked = [_check(each, _connections(each, manifests), everywhere) for each in manifests]
    findings = [
        *(Finding(each.file, 1, 1, Level.ERROR, "yaml", each.problem) for each in read if each.problem),
        *(each for source, document in found for each in _of_document(source.file, document)),
        *(each for one in checked for each in one.findings),
        *_written_twice(manifests),
    ]
    order = {source.file: at for at, source in enumerate(read)}
    ordered = sorted(dict.fromkeys(findings), key=lambda each: (order[each.file], each.line, each.column, each.level))
    unasked = tuple(line for one in checked for line in one.unasked)
    return Report(len(read), tuple(ordered), unasked, len(manifests))


def _manifests(file: str, document: Document) -> list[Manifest]:
    """Return the operator's objects in a document: itself, or the items of a list."""
    value = document.value
    if not isinstance(value, dict):
        return []
    items: Any = value.get("items")
    parts: list[tuple[str, Any]] = [("", value)]
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        parts = [(f"items[{at}].", item) for at, item in enumerate(items)]
    return [Manifest(file, document, part, at) for at, part in parts if isinstance(part, dict) and kinds.is_ours(part)]


def _written_twice(manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Yield a warning for each object that a file holds once more; one file may hold another version of what is in another."""
    first: dict[tuple[str, ...], Manifest] = {}
    for each in manifests:
        name = each.metadata.get("name")
        if not isinstance(name, str):
            continue
        before = first.setdefault((each.file, each.kind, each.namespace, name), each)
        if before is not each:
            line = before.document.place_of(before.prefix + "metadata.name").line
            told = f"is already there in line {line}, and the cluster keeps the last"
            yield each.found(Level.WARNING, "same-name", Wrong("metadata.name", told))


def _of_document(file: str, document: Document) -> Iterator[Finding]:
    """Yield what is wrong with a text itself: what cannot be read, and in what is the operator's, what is read otherwise."""
    ours = _manifests(file, document)
    subject = ours[0].subject if len(ours) == 1 else ""
    if ours or document.value is None:
        yield from (_of_text(file, each, subject) for each in document.remarks)
    if document.value is not None and not isinstance(document.value, dict):
        told = f"not a Kubernetes object: {texts.visible(str(document.value))[:80]}"
        yield Finding(file, document.place.line, document.place.column, Level.ERROR, "yaml", told)


def _of_text(file: str, remark: Remark, subject: str) -> Finding:
    level = Level.WARNING if remark.harmless else Level.ERROR
    rule = "yaml-word" if remark.harmless else "yaml"
    where = remark.place
    return Finding(file, where.line, where.column, level, rule, remark.message, subject, "", remark.excerpt)


def _check(written: Manifest, connections: Mapping[str, str] | None, everywhere: frozenset[str]) -> _Checked:
    outside = written.errors("schema", kinds.envelope_problems(written.value))
    deep = reading.too_deep(written.value.get("spec"), "spec")
    if deep is not None:
        return _Checked((*outside, *written.errors("schema", [Wrong(deep.path, deep.message)])))
    stored, empty = kinds.stored(written.value)
    manifest = replace(written, value=stored)
    warned = [manifest.found(Level.WARNING, "empty-field", each) for each in empty]
    wrong = [_hinted(each, manifest) for each in kinds.spec_problems(stored)]
    found = (*outside, *warned, *manifest.errors("schema", wrong))
    if manifest.kind != "Runbook":
        return _Checked(found)
    within = _of_runbook(manifest, wrong, connections, everywhere)
    return _Checked((*found, *within.findings), within.unasked)


def _of_runbook(
    manifest: Manifest, wrong: Sequence[Wrong], connections: Mapping[str, str] | None, everywhere: frozenset[str]
) -> _Checked:
    """Compile the parts of a Runbook that can be read; one without a defect is looked at for what is probably not meant."""
    part = partial_runbooks.readable(manifest.value, wrong)
    runbook = reading.runbook_of(part.raw)
    if isinstance(runbook, Malformed):
        told = [] if wrong else [Wrong(runbook.problem.path, runbook.problem.message)]
        return _Checked(tuple(manifest.errors("runbook", told)))
    compiled = compiler.compile_runbook(runbook, connections, ACTIONS)
    if not isinstance(compiled, Compiled):
        told = [Wrong(each.path, each.message, each.excerpt) for each in compiled if part.tells(each)]
        return _Checked(tuple(manifest.errors("runbook", told)))
    if wrong:
        return _Checked(())
    return _Checked(tuple(_warnings(manifest, compiled, everywhere)), tuple(_unasked(manifest, runbook, compiled)))


def _warnings(manifest: Manifest, compiled: Compiled, everywhere: frozenset[str]) -> Iterator[Finding]:
    for problem in warnings.of(compiled):
        yield manifest.found(Level.WARNING, "next-release", Wrong(problem.path, problem.message))
    for each in advice.of(compiled, Told(manifest.namespace, manifest.namespace in everywhere)):
        yield manifest.found(Level.WARNING, each.name, Wrong(each.problem.path, each.problem.message))


def _unasked(manifest: Manifest, runbook: Runbook, compiled: Compiled) -> Iterator[str]:
    """Yield a line for each step that asks unless the operator's settings name it."""
    where = f"namespace: {manifest.namespace or 'default'}, runbook: {runbook.metadata.name or '?'}"
    named = (step for step in compiled.steps.values() if leaves.can_be_named(step))
    yield from (f"{{{where}, step: {s.step.name}, digest: {leaves.digest_of(compiled, s)}}}" for s in named)


def _hinted(wrong: Wrong, manifest: Manifest) -> Wrong:
    """Add what YAML made of a word where a text is wanted."""
    word = manifest.document.words.get(manifest.prefix + wrong.path)
    if word is None or "must be of type string" not in wrong.message:
        return wrong
    return Wrong(wrong.path, f"{wrong.message}; put {word} in quotes", wrong.excerpt, wrong.way)


def _connections(runbook: Manifest, manifests: Sequence[Manifest]) -> Mapping[str, str] | None:
    """Return the Connections that are given for a Runbook, name → type; None where there are none, so that nothing is known."""
    given: dict[str, str] = {}
    for each in manifests:
        alike = not each.namespace or not runbook.namespace or each.namespace == runbook.namespace
        spec = each.value.get("spec")
        if each.kind == "Connection" and alike and isinstance(spec, dict):
            given[str(each.metadata.get("name"))] = str(spec.get("type"))
    return given or None
