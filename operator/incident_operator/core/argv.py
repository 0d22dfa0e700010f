"""One rule for the argv of every action: the author writes the program and its code, data is an argument of it. Pure.

As written   a value is a whole element, or the end of `--name=${…}`; it is never the program, nor what an interpreter runs
When rendered   it may not begin with a dash, which would make an option of it, but behind a literal `--` or in `--name=${…}`
"""

import re
from collections.abc import Iterator, Sequence

from incident_operator.core import interpreters
from incident_operator.core.interpreters import Written

Element = tuple[str | None, ...]
"""One element as written: its literal pieces, and None for each `${…}`; ("--date=", None) is `--date=${params.date}`."""

_LONGEST = 256
"""Elements of an argv with data: more than anybody writes, and few enough to be judged at once."""
_OPTION = re.compile(r"--[A-Za-z0-9][A-Za-z0-9._-]*=")
_CODE_LETTERS = re.compile(r"-e|-[abefhilmnuvx]{0,5}c")
"""`-e`, `-c`, and the latter together with other letters of shells: `-lc`, `-xec`."""
_WHERE_CODE_STANDS = frozenset({
    "--eval", "--command", "--execute", "--exec", "--expression", "--split-string", "--init-command", "--session-command",
    "--rsh", "--to-command", "--checkpoint-action", "--use-compress-program", "--compress-program", "--sh-exec",
    "--upload-pack", "--receive-pack", "--rsync-path", "--post-renderer", "--use-askpass",
    "-exec", "-execdir", "-ok", "-okdir", "-command", "-encodedcommand", "-eval", "-execute", "eval", "eval_ro",
})  # fmt: skip
"""Options, in small letters, whose value is code or a command to whatever program; `EVAL` is one of Redis."""
_AS_AN_ARGUMENT = """[sh, -c, 'echo "$1"', sh, "${…}"]"""


def wrong(argv: Sequence[Element]) -> Iterator[tuple[int, str]]:
    """Yield the index of each element that holds data and may not, with what would be right."""
    data = [at for at, element in enumerate(argv) if None in element]
    if data and len(argv) > _LONGEST:
        yield data[0], f"is one of {len(argv)} elements; a command that takes data has {_LONGEST} at most"
        return
    written = [_written(element) for element in argv]
    run_by = interpreters.run_by(written)
    for at in data:
        message = _misplaced(argv[at], at) or _code(written, at) or _run(written, run_by.get(at))
        if message:
            yield at, message


def may_begin_with_dash(argv: Sequence[Element]) -> Sequence[bool]:
    """Tell for each element whether a value there is never read as an option: it stands behind a literal `--`, or is an option's value."""
    holds_data = any(None in element for element in argv) and len(argv) <= _LONGEST
    ends = interpreters.end_of_options([_written(element) for element in argv]) if holds_data else None
    return [len(element) > 1 or (ends is not None and at > ends) for at, element in enumerate(argv)]


def refusal(value: str) -> str:
    """Return why a value, whole as an element, is not an argument; empty where it is one."""
    if not value.startswith("-"):
        return ""
    told = "the value begins with -, so the command may read it as an option"
    return f"{told}; write --name=${{…}}, or an element -- before it, where the command takes that"


def _written(element: Element) -> str | None:
    literal = "".join(piece for piece in element if piece is not None)
    return None if None in element and not literal else literal


def _misplaced(element: Element, at: int) -> str:
    if at == 0:
        return "is the program, which data may not choose; write the program, and pass the value as an element after it"
    if not _is_one_value(element):
        return "has text around its ${…}; an element with data is one whole ${…}, or --name=${…}"
    return ""


def _is_one_value(element: Element) -> bool:
    if len(element) == 1:
        return True
    return len(element) == 2 and element[1] is None and _OPTION.fullmatch(element[0] or "") is not None


def _code(written: Written, at: int) -> str:
    flag = _flag(written[at - 1], written[at])
    if not flag:
        return ""
    told = f"is code that {flag} runs; write the code here, and pass the value as an argument after it"
    return f"{told}: {_AS_AN_ARGUMENT}"


def _flag(before: str | None, value: str | None) -> str:
    """Return the option that makes code of a value, whatever the program is; empty where none does."""
    if value is not None:
        name = value.removesuffix("=")
        return name if name.lower() in _WHERE_CODE_STANDS else ""
    flag = before or ""
    return flag if flag.lower() in _WHERE_CODE_STANDS or _CODE_LETTERS.fullmatch(flag) else ""


def _run(written: Written, program: int | None) -> str:
    if program is None:
        return ""
    told = f"may be what {written[program]} runs, which data may not choose"
    return f"{told}; write its program, script or code, and pass the value as an argument after that: {_AS_AN_ARGUMENT}"
