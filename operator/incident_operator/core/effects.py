"""Effect classes: what may have happened when we died in the middle of an act, and how one finds out."""

from enum import StrEnum


class Effect(StrEnum):
    """What kind of marker an act leaves; decides what a crash between intent and outcome means."""

    READ = "read"
    SQL_TX = "sql-tx"
    K8S_PATCH = "k8s-patch"
    K8S_CREATE = "k8s-create"
    KEYED_CALL = "keyed-call"
    HUMAN = "human"
    UNKEYED = "unkeyed"

    @property
    def is_known(self) -> bool:
        """Whether it can be found out, or is safe to ask for again, what became of an act that was interrupted."""
        return self is not Effect.UNKEYED
