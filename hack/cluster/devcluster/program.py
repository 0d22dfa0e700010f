"""The command line."""
from __future__ import annotations
import sys
from devcluster import local, settings, console
def main(a):
    c = settings.from_environment()
    try:
        getattr(local, a[0])(c)
    except console.ClusterError as e:
        console.complain(e); return 1
    return 0
