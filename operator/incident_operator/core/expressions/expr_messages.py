"""The expression library's error texts, as people read them."""

import re
from collections.abc import Callable

_WHERE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_UNFINISHED = "the expression ends too early"
NO_MEMORY = "it needs more memory than there is"


_NO_DATA = "no data"
"""Said where an answer has no row, no series or no value, which is the commonest reason of no answer."""
_NULL = "null_type"


def _overload(found: re.Match[str]) -> str:
    operator = found[1].replace("_", "").replace("@", "")
    why = f"{operator} does not work on ({found[2].replace(_NULL, 'null')})"
    return f"{_NO_DATA}: {why}" if _NULL in found[2] else why


_Wording = tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]
_COMPILE_WORDING: _Wording = (
    (re.compile(r"Syntax error: (mismatched input|no viable alternative at input) '<EOF>'.*"), _UNFINISHED),
    (re.compile(r"Syntax error: missing '(.*)' at '<EOF>'.*"), r"'\1' is missing at the end"),
    (re.compile(r"Syntax error: missing '(.*)' at '(.*)'.*"), r"'\1' is missing before '\2'"),
    (re.compile(r"Syntax error: token recognition error at: '(['\"].*)'"), r"the text \1 is never closed"),
    (re.compile(r"Syntax error: (?:extraneous|mismatched) input '(.*?)' expecting.*"), r"unexpected '\1'"),
    (re.compile(r"Syntax error: no viable alternative at input '(.*)'"), r"unexpected '\1'"),
    (re.compile(r"Syntax error: token recognition error at: '(.*)'"), r"unexpected '\1'"),
    (re.compile(r"found no matching overload for '(.*?)' applied to '\((.*)\)'.*"), _overload),
    (re.compile(r"undeclared reference to '(.*?)'.*"), r"there is no '\1'"),
    (re.compile(r".*(recursion depth|recursion limit).*"), "nested too deeply (32 levels, a chain of + or && counts)"),
)
_RUN_WORDING: _Wording = (
    (re.compile(r'Key not found in map : "?(.*?)"?$'), r'there is no "\1"'),
    (re.compile(r"Index error: index=(-?\d+) size=0"), rf"{_NO_DATA}: element \1 is missing: the list is empty"),
    (re.compile(r"Index error: index=(-?\d+) size=(\d+)"), r"a list of \2 has no element \1"),
    (re.compile(r"No matching overloads found : <jump_condition>"), "the condition before ? is neither true nor false"),
    (re.compile(r"No matching overloads found : (.*?)\((.*)\)"), _overload),
    (re.compile(r"Iteration budget exceeded"), "it iterates more than 10000 times"),
    (re.compile(r"std::bad_alloc"), NO_MEMORY),
    (
        re.compile(r"Applying SELECT to non-message type"),
        "the value before the dot has no fields (it is null, a text or a number)",
    ),
)
_MISSING_KEY = re.compile(r'Key not found in map : "(.*?)"')


def compile_error(text: str) -> tuple[int, int, str]:
    """Return line, column (both from 1) and message of a refused expression."""
    found = _WHERE.search(text)
    if found is None:
        return 1, 1, _reworded(_without_status(text), _COMPILE_WORDING)
    line, column = max(int(found[1]), 1), max(int(found[2]), 1)
    return line, column, _reworded(_without_status(found[3]), _COMPILE_WORDING)


def evaluation_error(text: str) -> str:
    """Return why an evaluation gave no answer, without the library's status words."""
    return _reworded(_without_status(text), _RUN_WORDING)


def missing_key(text: str) -> str | None:
    """Return the key that a map did not have, where that is what went wrong."""
    found = _MISSING_KEY.search(text)
    return found[1] if found else None


def _without_status(text: str) -> str:
    return _STATUS.sub("", text.strip())


def _reworded(text: str, wording: _Wording) -> str:
    for pattern, words in wording:
        if pattern.fullmatch(text):
            return pattern.sub(words, text)
    return text
