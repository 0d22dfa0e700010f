"""`check`: looks at manifests as the cluster and the operator would, without either, and tells what is wrong or probably not meant."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from incident_operator.actions import ACTIONS
from incident_operator.api.runbook import Runbook
from incident_operator.commands import kinds, partial_runbooks
from incident_operator.commands.kinds import Wrong
from incident_operator.core import texts
from incident_operator.core.runbooks import compiler, reading
from incident_operator.core.runbooks import reviews as leaves
from incident_operator.core.runbooks.advice import RULES, Told, advice_of, warnings_of
from incident_operator.core.runbooks.compiled import Compiled
from incident_operator.core.runbooks.reading import Malformed
from incident_operator.core.yaml_source import Document, documents

ERRORS: Mapping[str, str] = {
    "yaml": "what kubectl cannot read, or reads otherwise than it is written",
    "schema": "what the apiserver refuses",
    "runbook": "what keeps the Runbook from being Ready",
}
_WARNINGS: Mapping[str, tuple[str, str]] = {
    "yaml-word": (
        "`y`, `n`, `yes`, `no`, `on` or `off` without quotes as a value",
        "The cluster reads it as a boolean.",
    ),
    "empty-field": (
        "a field that is written and has no value, such as `expect:`",
        "The apiserver drops the field, and the step runs without it.",
    ),
    "same-name": (
        "two documents of one file that are the same object",
        "The apiserver keeps only the last of them, without a warning.",
    ),
    "next-release": (
        "a time that is longer than a step may take",
        "The next release refuses it.",
    ),
}

WARNINGS: Mapping[str, tuple[str, str]] = {
    **_WARNINGS,
    **{each.name: (each.about, each.reason) for each in RULES},
}
"""Name → what it finds, and why that matters; for the docs."""
ABOUT: Mapping[str, str] = {**ERRORS, **{name: f"{about}. {reason}" for name, (about, reason) in WARNINGS.items()}}
"""All of them, in the order in which they are listed."""


STDIN = Path("-")
_ENDINGS = frozenset({".yaml", ".yml", ".json"})
_OURS = re.compile(r"incidents\.dev|kind[\"']?:\s*[\"']?(?:Runbook|Connection)\b")
"""What a file of a folder has to hold to be looked at: there are charts and other manifests beside."""


@dataclass(frozen=True, slots=True)
class Source:
    """One text."""

    file: str
    """As given, or below the folder that was given."""
    text: str
    problem: str = ""
    """Why it cannot be read."""


def sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Yield each text once, in the order given; those of a folder by name. Raises nothing for what cannot be read."""
    seen: set[Path] = set()
    for path in paths:
        files = [path]
        if path != STDIN and path.is_dir():
            found = (each for each in path.rglob("*") if each.suffix in _ENDINGS)
            shown = (each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts))
            # a pipe would be waited for; a link that leads nowhere is told
            files = sorted(each for each in shown if each.is_file() or not each.exists())
        for file in files:
            if file not in seen:
                seen.add(file)
                yield from _of(file, chosen=path == file)


def _of(file: Path, *, chosen: bool) -> Iterator[Source]:
    name = "<stdin>" if file == STDIN else str(file)
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield Source(name, "", "not UTF-8")
    except OSError as error:
        yield Source(name, "", f"cannot be read: {error.strerror}")
    else:
        if chosen or _OURS.search(text):
            yield Source(name, text)


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The cluster refuses it, or the Runbook is not Ready."""
    WARNING = "warning"
    """It works, and is probably not what is meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    file: str
    line: int
    column: int
    """Both counted from 1."""
    level: Level
    rule: str
    """E.g. `schema`; for a warning its name in docs/runbook.md."""
    message: str
    subject: str = ""
    """The object, e.g. `Runbook pack`; empty for what is wrong with a file."""
    field: str = ""
    """E.g. `spec.mitigate[0].scale`; empty for the whole object."""
    excerpt: str = ""
    """Lines with a caret under the place."""

    @property
    def told(self) -> str:
        """The message in one line, with the field that it is about."""
        told = self.message if not self.field or f'"{self.field}"' in self.message else f"{self.field}: {self.message}"
        return texts.visible(": ".join(each for each in (self.subject, told) if each))

    @property
    def whole(self) -> str:
        """The message with the lines that show the place."""
        return f"{self.told}\n{texts.visible_page(self.excerpt)}" if self.excerpt else self.told

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    files: int
    findings: tuple[Finding, ...]
    """By file, in the order of the text."""
    unasked: tuple[str, ...] = ()
    """What an administrator may copy into the setting of this name, a line for each step."""
    looked_at: int = 0
    """Objects of the operator's kinds."""

    def of(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(each for each in self.findings if each.level is level)


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
    for remark in document.remarks if ours or document.value is None else ():
        level, rule = (Level.WARNING, "yaml-word") if remark.harmless else (Level.ERROR, "yaml")
        at = remark.place
        yield Finding(file, at.line, at.column, level, rule, remark.message, subject, "", remark.excerpt)
    if document.value is not None and not isinstance(document.value, dict):
        told = f"not a Kubernetes object: {texts.visible(str(document.value))[:80]}"
        yield Finding(file, document.place.line, document.place.column, Level.ERROR, "yaml", told)


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
    for problem in warnings_of(compiled):
        yield manifest.found(Level.WARNING, "next-release", Wrong(problem.path, problem.message))
    for each in advice_of(compiled, Told(manifest.namespace, manifest.namespace in everywhere)):
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
