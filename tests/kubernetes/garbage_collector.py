"""Deletes open Incidents as the apiserver's garbage collector does: the policies let nobody else without an abort."""

import copy

from incident_operator.kubernetes.apiserver import Kube

NAME = "system:serviceaccount:kube-system:generic-garbage-collector"
AS_COLLECTOR = (f"--as={NAME}", "--as-group=system:masters")
"""For kubectl, by an administrator's kubeconfig."""


def as_collector(admin: Kube) -> Kube:
    """Return a client that does everything as the collector, over an administrator's connections."""
    other = copy.copy(admin)
    other._headers = f"{admin._headers}Impersonate-User: {NAME}\r\nImpersonate-Group: system:masters\r\n"
    return other
