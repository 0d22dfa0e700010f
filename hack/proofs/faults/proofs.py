"""What each row of the table proves, in plain words: printed below the table, and written beside it."""

from collections.abc import Iterable, Mapping

from proofs.faults.troubles import Fault

PROVES: Mapping[Fault, str] = {
    Fault.NONE: "The example works where nothing goes wrong.",
    Fault.KILL_BEFORE: "What was meant and not sent is done once, by the next process.",
    Fault.KILL_AFTER: "What was done and not heard of is found, and not done again.",
    Fault.REPLY_LOST: "A lost answer is not a failure: what was done is found.",
    Fault.REPLY_LATE: "A process that lost its Lease meanwhile does nothing more with a late answer.",
    Fault.TWICE: "A network that delivers a write twice makes no second effect, and the second answer is not believed.",
    Fault.CONFLICT: "A conflict is read again, not overwritten.",
    Fault.INVALID: "A refusal changes nothing and is reported, or tried again.",
    Fault.THROTTLED: "Whoever is asked to wait waits.",
    Fault.BROKEN: "An error of the server leaves nothing half done.",
    Fault.WATCH_GONE_STATUS: "A watch that is too old is listed again.",
    Fault.WATCH_GONE_EVENT: "The same, where the watch itself says so.",
    Fault.WATCH_HIDES_ADDED: "An Incident whose event never arrived is found.",
    Fault.WATCH_HIDES_MODIFIED: "A change whose event never arrived is found.",
    Fault.WATCH_REPLAYS: "An old state that comes again begins nothing again.",
    Fault.WATCH_STALLS: "A watch that falls silent is given up.",
    Fault.SQL_CUT_BEFORE: "A statement that never arrived has changed nothing.",
    Fault.SQL_CUT_AFTER: "A COMMIT without an answer is looked up by its marker.",
    Fault.SQL_HANGS: "A database that does not answer is given up in time, and looked at again.",
    Fault.SQL_SERIALIZATION: "What met another transaction is rolled back, and tried again.",
    Fault.ABORTED: "Nothing begins after a person aborted, at whatever moment.",
    Fault.MEDDLED: "Nothing that somebody else changed is overwritten unseen.",
    Fault.THEN_NOTHING: "An act that was meant and certainly not done is done once under the same approval; "
    "one that cannot be looked up is reported as Unknown, and left to a person.",
    Fault.THEN_ABORTED: "An interrupted act is only looked up: nothing happens after the abort.",
    Fault.THEN_EXPIRED: "An approval that ended three days ago lets nothing begin, though the act was meant while it held.",
    Fault.THEN_RESOLVED: "What nobody needs any more is not done.",
    Fault.THEN_CHANGED: "Another thing than the approved one is never done: it is asked for again.",
    Fault.THEN_DISTRUSTED: "While approvals could be forged, none counts, not even one that was given before.",
    Fault.THEN_DELETED: "Nothing is done for an Incident that is not there.",
    Fault.DELAYED_INTO: "A look waits for a transaction that is still open, and tells what it did.",
    Fault.DELAYED: "A request that arrives after its act was reported as not done can do nothing any more; "
    "what may still arrive is reported as Unknown.",
    Fault.DELAYED_ABORTED: "The same where the Incident was aborted: no effect comes after the message says that nothing more is done.",
}


def told(faults: Iterable[Fault]) -> list[tuple[str, str]]:
    """Return (row, what it proves) for these faults, each once, in the order of all."""
    wanted = set(faults)
    return [(str(fault), PROVES[fault]) for fault in Fault if fault in wanted]
