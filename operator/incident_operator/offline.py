"""Keeps out of a process what it has no use for: `check` reads texts, and the clients that speak to the world are half a second of imports.

An action's file holds its doing beside its declaration, so it names clients. Here those names stand for themselves until one is used;
then all clients are imported as ever. Only `__main__` asks for it, before anything of them was imported, and only for commands that act
on nothing: an `except` that was compiled before would not know the real error.
"""

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, new_class
from typing import TYPE_CHECKING, Any, cast

from incident_operator import api

if TYPE_CHECKING:
    from importlib.abc import Loader

_FOLDER = Path(__file__).parent
_PACKAGES = ("incident_operator.clients", "incident_operator.kubernetes")
_DEFERRED = (*_PACKAGES, "incident_operator.actions.clients", "asyncio", "importlib.metadata")
"""The last two are what is slow of the standard library: loops, and what looks for plugins of pydantic."""


def defer_clients() -> None:
    """Let the clients, and the library of their loops, be imported when one is used, and not before; what is said of fields is not read either."""
    api.fields = False
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through all packages for some
    if not _stand_ins() and not any(_is_deferred(name) for name in sys.modules):
        sys.meta_path.insert(0, _Finder())


def import_clients() -> None:
    """Let them be imported as ever from now on."""
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _Finder)]
    for name in _stand_ins():
        del sys.modules[name]
        package, _, attribute = name.rpartition(".")
        if attribute in vars(sys.modules.get(package, ModuleType(package))):
            delattr(sys.modules[package], attribute)


class _StandIn(ModuleType):
    """A module of which nothing was used yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (_FOLDER / self.__name__.rpartition(".")[2] / f"{name}.py").exists():
            raise AttributeError(name)  # a module of the package is imported then
        return _Name(name, (Exception,), {"__module__": self.__name__, "__qualname__": name})


class _Name(type):
    """A name of such a module. It is a class, so that it can stand in annotations and in `except`; among bases the real one is taken."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not any(isinstance(each, _Name) for each in bases):
            return super().__new__(cls, name, bases, namespace)
        real = tuple(_real(each) if isinstance(each, _Name) else each for each in bases)
        return new_class(name, real, exec_body=lambda body: body.update(namespace))

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return _real(cls)(*arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real(cls))


def _real(name: _Name) -> Any:
    import_clients()
    return getattr(importlib.import_module(name.__module__), name.__name__)


class _Finder:
    """Finds and loads them: one object for both, as the import system takes it."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _is_deferred(fullname):
            return None
        return importlib.machinery.ModuleSpec(fullname, cast("Loader", self), is_package=fullname in _PACKAGES)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _is_deferred(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in _DEFERRED)


def _stand_ins() -> list[str]:
    return [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]
