"""What `job` checks of the commands in it, beside the rule for every argv: data comes into them by no other way. Pure.

A part of a Pod template in which a command stands is the author's, and Kubernetes puts no variable that holds data into one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from incident_operator.core.expressions import problems
from incident_operator.core.expressions.problems import Problem
from incident_operator.core.expressions.render_fields import Path

if TYPE_CHECKING:
    from incident_operator.actions.job import Job

HOOKS = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
"""Fields of a container that may hold a command of their own; a Job has little use for them, so they take no data."""

_OBEYED = frozenset({
    "PATH", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "PROMPT_COMMAND", "PS4", "IFS", "LD_PRELOAD",
    "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "OPENSSL_CONF", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP",
    "PYTHONWARNINGS", "PYTHONBREAKPOINT", "PERL5OPT", "PERL5LIB", "PERL5DB", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS",
    "NODE_PATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "PHPRC", "PHP_INI_SCAN_DIR",
    "LUA_INIT", "LUA_PATH", "LUA_CPATH", "ERL_FLAGS", "ERL_LIBS", "DOTNET_STARTUP_HOOKS", "R_PROFILE", "AWKPATH",
    "MAKEFLAGS", "TAR_OPTIONS", "RSYNC_RSH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_PAGER",
    "GIT_EXEC_PATH", "GIT_PROXY_COMMAND", "GIT_EXTERNAL_DIFF", "SSH_ASKPASS", "PSQLRC", "PSQL_PAGER", "EDITOR",
    "VISUAL", "PAGER", "LESSOPEN", "LESSCLOSE",
})  # fmt: skip
"""Variables that a loader, a shell, an interpreter or a client takes for code, options, or where to find them."""
_OPEN = "${"
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_VARIABLE = re.compile(r"\$\$|\$\(([^)]{0,255})\)")
"""`$$` is a dollar sign to Kubernetes, so `$$(NAME)` is a text."""
_WRITTEN_OUT = (
    "may hold a command, so no data may be in it; data may be an element of command or args, or a value in env"
)


def are_written_out(template: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Require that no part of a Pod template in which a command can stand is one `${…}`."""
    for way, part in _parts(template):
        if isinstance(part, str) and _OPEN in part:
            yield Problem(problems.field(path, way), _WRITTEN_OUT)


def expand_no_data(spec: "Job", path: str) -> Iterator[Problem]:
    """Require that no command holds `$(NAME)` of a variable that holds data: it would be a text with data in its midst."""
    added = [{"name": name, "value": value} for name, value in spec.env.items()]
    template = spec.template or {}
    for way, container in _containers(template):
        names = _holding_data([*_listed(container, "env"), *added], template)
        for key in ("command", "args"):
            yield from _expanded(_listed(container, key), names, problems.field(f"{path}.template", (*way, key)))
    yield from _expanded(spec.command, _holding_data([*_env_of_all(template), *added], template), f"{path}.command")


def obey_no_data(spec: "Job", path: str) -> Iterator[Problem]:
    """Require that no variable holds data by which a program is told what to run: it would be code by another way."""
    template, added = spec.template or {}, [{"name": name, "value": value} for name, value in spec.env.items()]
    held = _holding_data([*_env_of_all(template), *added], template)
    yield from (_obeyed(f"{path}.env.{name}", name) for name in spec.env if name in _OBEYED & held)
    for way, container in _containers(template):
        env = _listed(container, "env")
        held = _holding_data([*env, *added], template)
        for at, variable in enumerate(env):
            if isinstance(variable, Mapping) and (name := str(variable.get("name"))) in _OBEYED & held:
                yield _obeyed(problems.field(f"{path}.template", (*way, "env", at)), name)


def _obeyed(field: str, name: str) -> Problem:
    told = f"{name} tells a program what to run, which data may not choose"
    return Problem(field, f"{told}; pass the value in a variable of another name")


def _parts(template: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    spec = template.get("spec")
    yield ("spec",), spec
    if not isinstance(spec, Mapping):
        return
    for key in _LISTS:
        yield ("spec", key), spec.get(key)
        for at, container in enumerate(_listed(spec, key)):
            yield ("spec", key, at), container
    for way, container in _containers(template):
        yield from (((*way, key), container.get(key)) for key in ("command", "args", "env"))
        yield from (((*way, "env", at), variable) for at, variable in enumerate(_listed(container, "env")))


def _containers(template: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    spec = template.get("spec")
    for key in _LISTS if isinstance(spec, Mapping) else ():
        for at, container in enumerate(_listed(spec, key)):
            if isinstance(container, Mapping):
                yield ("spec", key, at), container


def _listed(node: Any, key: str) -> Sequence[Any]:
    found = node.get(key)
    return found if isinstance(found, list) else []


def _env_of_all(template: Mapping[str, Any]) -> Iterator[Any]:
    for _, container in _containers(template):
        yield from _listed(container, "env")


def _holding_data(env: Sequence[Any], template: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of variables that hold data, also by way of another one or of the Pod's own labels and annotations."""
    marked = _OPEN in json.dumps(template.get("metadata"), default=str)
    held: set[str] = set()
    for variable in (each for each in env if isinstance(each, Mapping)):
        text = json.dumps(variable, default=str)
        others = _VARIABLE.findall(str(variable.get("value")))
        if _OPEN in text or (marked and "fieldRef" in text) or not held.isdisjoint(others):
            held.add(str(variable.get("name")))
    return frozenset(held)


def _expanded(command: Sequence[Any], names: frozenset[str], field: str) -> Iterator[Problem]:
    for at, element in enumerate(command):
        held = next((name for name in _VARIABLE.findall(str(element)) if name in names), "")
        if held:
            told = f"holds $({held}), which Kubernetes replaces by a value that holds ${{…}}"
            yield Problem(f"{field}[{at}]", f"{told}; make the ${{…}} an element of its own")
