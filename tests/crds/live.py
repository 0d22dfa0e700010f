"""The real apiserver, for tests that need one: kubectl, and a namespace that goes away afterwards."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[2]


class ClusterMissing(Exception):
    """No cluster answers; the message says how to get one."""


@cache
def kubeconfig() -> str:
    """The administrator's kubeconfig: KUBECONFIG where it is set, else the one of `make cluster`."""
    return os.environ.get("KUBECONFIG") or _hack("kubeconfig")


@cache
def program(name: str) -> str:
    """Where kubectl or helm is: beside the cluster's kubeconfig, or on PATH."""
    found = shutil.which(name, path=f"{CLONE / '.cluster' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise ClusterMissing(f"{name} is not on PATH; run `make cluster`")
    return found


@cache
def user_kubeconfig(name: str) -> str:
    """The kubeconfig of a person with a client certificate of that name."""
    return _hack("user", name)


def kubectl(*arguments: str, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator; `stdin` is text, or a document or list of documents to send as JSON."""
    text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(_listed(stdin))
    return subprocess.run(
        [program("kubectl"), "--kubeconfig", kubeconfig(), *arguments],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def apply(*arguments: str, stdin: Any = None) -> str:
    """Run `kubectl apply` and insist that it worked."""
    done = kubectl("apply", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def namespace(purpose: str) -> Iterator[str]:
    """A namespace of its own, deleted afterwards (the apiserver goes on with that in the background)."""
    name = f"{purpose}-{secrets.token_hex(3)}"
    apply("-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def install() -> None:
    """Put this checkout's CRDs and policies in place, and wait until the apiserver serves them."""
    apply("-f", str(CLONE / "crds"))
    definitions = [f"crd/{plural}.incidents.dev" for plural in ("incidents", "runbooks", "connections")]
    done = kubectl("wait", "--for=condition=Established", "--timeout=30s", *definitions)
    assert done.returncode == 0, done.stderr


def _listed(document: Any) -> Any:
    return {"apiVersion": "v1", "kind": "List", "items": document} if isinstance(document, list) else document


def _hack(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(CLONE / "hack" / "cluster"), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ClusterMissing(f"{done.stderr.strip()}\nrun `make cluster`")
    return done.stdout.strip()
