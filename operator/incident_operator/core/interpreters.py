"""Programs that run what they are given, and where in their argv that stands. Pure.

Shells and interpreters take a script, a module or code; clients such as psql take statements; `env`, `timeout` or `sudo`
take another program. Where an option is not known, what follows it may be its value, so a value behind that may be what runs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from incident_operator.core import programs
from incident_operator.core.programs import Program

Written = Sequence[str | None]
"""An argv as written: a text that the author wrote, None for a value, and `--name=` for an option with a value."""

_MANY = 1_000
"""More elements than an argv has."""
_PROGRAMS_OF_ONE = 16
"""Programs that one argv may name; whatever stands behind more of them may be run, which nobody needs to find out."""
_LONGEST_NAME = 64
_EXTENSION = re.compile(r"(?:[-.]?[0-9][0-9.]*[a-z]?)?(?:\.exe)?$")
_ENTRYPOINT = re.compile(r"(?:.*[-_])?entrypoint(?:\.sh)?")
_TAKES_CODE = re.compile(r"-[A-Za-z]*c[A-Za-z]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Place:
    """How far an argv has been read."""

    least: int = 0
    most: int = 0
    """Operands so far; two numbers, since some may be values of options that are not known."""
    owed: int = 0
    """Elements that the last option still takes as its values."""
    option: str = ""
    unsure: bool = False
    """Whether the next element may be a value of the last option."""
    options: bool = True
    """False behind `--`."""


def run_by(argv: Written) -> Mapping[int, int]:
    """Return, for each element that may be what a program of the same argv runs, or a part of it, the place of that program.

    Only what it says of values is of use: that the author's own script is run is as it should be.
    """
    found: dict[int, int] = {}
    for count, (at, name) in enumerate(_runners(argv), 1):
        run = range(at + 1, len(argv)) if count > _PROGRAMS_OF_ONE else _run(programs.PROGRAMS[name], argv, at)
        for index in run:
            found.setdefault(index, at)
        if count > _PROGRAMS_OF_ONE:
            break
    return found


def end_of_options(argv: Written) -> int | None:
    """Return where a literal `--` ends the options of what is run; that of a program which only starts it (`tini --`) does not."""
    of_starters = {
        place
        for at, name in _runners(argv)
        if name in programs.STARTERS
        for place in _its_ends(programs.PROGRAMS[name], argv, at)
    }
    return next((at for at, text in enumerate(argv) if text == "--" and at not in of_starters), None)


def _its_ends(program: Program, argv: Written, at: int) -> Iterator[int]:
    place = _Place()
    for index in range(at + 1, len(argv)):
        if _is_given(program, place):
            return
        if argv[index] == "--":
            yield index
        place = _after(program, place, argv[index])


def _runners(argv: Written) -> Iterator[tuple[int, str]]:
    """Yield the place and the name of each program that may run what follows it; shells and the like wherever they stand."""
    started, called = False, -1
    for at, text in enumerate(argv):
        name = _named(text)
        may_start = started or at == 0 or argv[at - 1] == "--"
        if at == called or not (name in programs.INTERPRETERS or (may_start and _starts(name, argv))):
            continue
        yield at, name
        started = started or name in programs.STARTERS
        called = _own_name(argv, at) if programs.PROGRAMS[name] is programs.SHELL else called


def _run(program: Program, argv: Written, at: int) -> Iterator[int]:
    place = _Place()
    for index in range(at + 1, len(argv)):
        if _is_given(program, place) and not (program.more or program.everything):
            return
        if program.everything or _may_be_it(program, place, argv[index]):
            yield index
        place = _after(program, place, argv[index])


def _own_name(argv: Written, at: int) -> int:
    """Return where a shell's code is followed by the name that the shell goes by in it, `$0`; -1 where it is not."""
    place = _Place()
    for index in range(at + 1, len(argv)):
        place = _after(programs.SHELL, place, argv[index])
        if _is_given(programs.SHELL, place):
            takes_code = any(_TAKES_CODE.fullmatch(each or "") for each in argv[at + 1 : index])
            return index + 1 if takes_code else -1
    return -1


def _starts(name: str, argv: Written) -> bool:
    verbs = programs.PROGRAMS[name].verbs if name in programs.PROGRAMS else frozenset()
    return name in programs.PROGRAMS and (not verbs or not verbs.isdisjoint(text for text in argv if text is not None))


def _named(text: str | None) -> str:
    base = (text or "").rpartition("/")[2].lower()
    if len(base) > _LONGEST_NAME:
        return ""
    return "entrypoint" if _ENTRYPOINT.fullmatch(base) else _EXTENSION.sub("", base)


def _is_given(program: Program, place: _Place) -> bool:
    return place.least >= _MANY or (program.operand is not None and place.least > program.operand)


def _may_be_it(program: Program, place: _Place, value: str | None) -> bool:
    if place.owed:
        return _is_code(program, place.option) or (program.operand is not None and place.option not in program.free)
    if value is not None:
        name = value.removesuffix("=")
        return name in program.code_words or (name not in program.free and _is_open(program, place))
    if program.operand is None:
        return False
    if place.most < program.operand:
        return not program.early
    return place.least <= program.operand


def _is_open(program: Program, place: _Place) -> bool:
    return program.operand is not None and place.least <= program.operand


def _after(program: Program, place: _Place, element: str | None) -> _Place:
    if place.owed:
        return _given(place) if _is_code(program, place.option) else replace(place, owed=place.owed - 1)
    if element is None or not _is_option(program, place, element):
        return _operand(program, place, element)
    fresh = replace(place, option=element, unsure=False)
    if element == "--" and element not in program.code_words:
        return replace(fresh, options=False)
    return _word(program, fresh, element) or _letters(program, fresh, element)


def _is_code(program: Program, option: str) -> bool:
    return option in program.code_words or option[1:] in program.code


def _given(place: _Place) -> _Place:
    return replace(place, owed=0, least=_MANY, most=_MANY)


def _is_option(program: Program, place: _Place, element: str) -> bool:
    if not place.options or element == "":
        return False
    return element in program.words or (element != "-" and element[0] in ("-+" if program.apart else "-"))


def _operand(program: Program, place: _Place, element: str | None) -> _Place:
    if program.assigns and element is not None and _ASSIGNMENT.fullmatch(element):
        return replace(place, unsure=False)
    least = place.least if place.unsure else place.least + 1
    return replace(place, least=least, most=place.most + 1, unsure=False)


def _word(program: Program, place: _Place, element: str) -> _Place | None:
    """Read an option that is a word; None where it is letters."""
    name, attached, _ = element.partition("=")
    if name in program.joins:
        return replace(place, owed=_MANY)
    if name in program.code_words:
        return _given(place) if attached else replace(place, option=name, owed=1)
    if name in program.words:
        return place if attached else replace(place, option=name, owed=program.words[name])
    if name.startswith("--"):
        return place if attached else replace(place, unsure=True)
    return None


def _letters(program: Program, place: _Place, element: str) -> _Place:
    for at, letter in enumerate(element[1:], 1):
        option, attached = f"-{letter}", at + 1 < len(element) and not program.apart
        if option in program.joins:
            return replace(place, owed=_MANY)
        if letter in program.code:
            return _given(place) if attached else replace(place, option=option, owed=1)
        if letter in program.tail:
            return place
        if letter in program.valued:
            return place if attached else replace(place, option=option, owed=1)
        if letter not in program.flags and program.operand is not None:
            return replace(place, unsure=True)
    return place
