"""One rule for the argv of every action: the author writes the program and its code, data is an argument of it. Pure.

As written   a value is a whole element, or the end of `--name=${…}`; it is never the program, nor what an interpreter runs
When rendered   it may not begin with a dash, which would make an option of it, but behind a literal `--` or in `--name=${…}`

A table says which programs run what they are given, and where in their argv that stands: shells and interpreters take a script, a module
or code; clients such as psql take statements; `env`, `timeout` or `sudo` take another program. Where an option is not known, what
follows it may be its value, so a value behind that may be what runs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Program:
    """How a program reads its argv, as far as it takes to find what it runs."""

    flags: str = ""
    """Letters of options without a value, which may be written together."""
    valued: str = ""
    """Letters of options with a value: the rest of the element, or the next one."""
    tail: str = ""
    """Letters of options whose value is the rest of the element, if anything."""
    code: str = ""
    """Letters of options whose value is what runs."""
    words: Mapping[str, int] = field(default_factory=dict)
    """Options that are a word, and how many values follow them."""
    code_words: frozenset[str] = frozenset()
    """Options that are a word, and whose value is what runs."""
    free: frozenset[str] = frozenset()
    """Options whose value may be data, as written: `-n`, `--arg`."""
    operand: int | None = 0
    """Which operand is what runs; None where none is."""
    early: bool = False
    """Whether the operands before that may be data."""
    more: bool = False
    """Whether an option behind what runs may bring more of it."""
    apart: bool = False
    """Whether an option's value never is the rest of the element, and options may begin with a plus (shells)."""
    joins: frozenset[str] = frozenset()
    """Options behind which everything is split, or joined, into what runs."""
    assigns: bool = False
    """Whether operands such as `NAME=value` come before what runs, and do not count."""
    everything: bool = False
    """Whether all that it is given is, or may be, what runs."""
    verbs: frozenset[str] = frozenset()
    """Words of which one makes it run something; none where it always does."""


def _all(names: str, program: Program) -> dict[str, Program]:
    return dict.fromkeys(names.split(), program)


def _words(names: str, values: int = 1) -> dict[str, int]:
    return dict.fromkeys(names.split(), values)


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


SHELL = Program(
    # with -c the first operand is code, without it a script
    flags="abcefhiklmnprstuvxBCDEHPT",
    valued="oO",
    words=_words("--rcfile --init-file") | _words("- --login --noprofile --norc --posix --verbose --restricted", 0),
    code_words=_set("--command"),
    apart=True,
)
_JQ = Program(
    flags="nrsScCajeMRhV",
    valued="L",
    code="f",
    words=_words("--arg --argjson --slurpfile --rawfile", 2)
    | _words("--indent")
    | _words("--null-input --raw-output --slurp --compact-output --exit-status --sort-keys --tab --raw-input", 0),
    code_words=_set("--from-file"),
    free=_set("--arg --argjson"),
)
_JAVA = Program(
    tail="XDejsv",
    words=_words("-cp -classpath --class-path -p --module-path --add-modules --add-opens --add-exports --add-reads"),
    code_words=_set("-jar -m --module"),
)
_NODE = Program(
    flags="hivc",
    valued="rC",
    code="ep",
    words=_words("--require --import --loader --experimental-loader --conditions --env-file")
    | _words("--inspect --enable-source-maps --no-warnings --trace-warnings --no-deprecation --expose-gc", 0),
    code_words=_set("--eval --print"),
)
_SED = Program(
    flags="nErsuz",
    tail="i",
    valued="l",
    code="ef",
    words=_words("--quiet --silent --regexp-extended --separate --unbuffered --null-data --in-place --posix --debug --sandbox", 0),
    code_words=_set("--expression --file"),
    more=True,
)  # fmt: skip
_AWK = Program(
    valued="Fvil",
    code="fe",
    words=_words("--field-separator --assign --include --load") | _words("--posix --traditional --re-interval --sandbox", 0),
    code_words=_set("--file --source --exec"),
    free=_set("-F --field-separator"),
    more=True,
)  # fmt: skip
_PHP = Program(
    flags="aChilmnqsvwe",
    valued="cdgtzS",
    code="rfBREF",
    code_words=_set("--run --file --process-begin --process-code --process-end --process-file"),
)
INTERPRETERS: Mapping[str, Program] = {
    **_all("sh bash dash ash zsh ksh mksh rbash csh tcsh fish", SHELL),
    **_all(
        "python pypy ipython",
        Program(
            flags="bBdEhiIOPqRsStuUvVx", valued="WXQ", code="cm", words=_words("--check-hash-based-pycs")
        ),
    ),
    "perl": Program(flags="acdfghlnpsStTuUvVwWX0123456789", tail="ixDCFmM", valued="I", code="eE"),
    **_all("ruby jruby", Program(flags="acdhlnpsSvwyU0123456789", tail="iFTWKx", valued="ICrE", code="e")),
    "nodejs": _NODE,
    "php": _PHP,
    **_all("lua luajit", Program(flags="ivEW", valued="el")),
    **_all("awk gawk mawk nawk", _AWK),
    **_all("sed gsed", _SED),
    **_all("jq gojq jaq", _JQ),
    "yq": replace(_JQ, flags=f"{_JQ.flags}iIPNoptv", words={**_JQ.words, **_words("e ea eval eval-all", 0)}),
    **_all("tclsh rscript julia groovy scala kotlin elixir irb jshell tsx ts-node osascript", Program(code="eE", code_words=_set("--eval --print"))),
    **_all("pwsh powershell socat sqlite", Program(everything=True)),
    **_all("psql pgcli", Program(valued="dhLopPRFTUv", code="cf", code_words=_set("--command --file"), operand=None, more=True)),
    **_all(
        "mysql mariadb",
        Program(valued="DhPuS", tail="p", code="e", code_words=_set("--execute --init-command"), operand=None, more=True),
    ),
    **_all("clickhouse clickhouse-client", Program(code="q", code_words=_set("--query --queries-file"), operand=None, more=True)),
    "sqlcmd": Program(code="qQi", operand=None, more=True),
    "cqlsh": Program(code="ef", code_words=_set("--execute --file"), operand=None, more=True),
}  # fmt: skip
"""They are known wherever they stand, also behind a program that is not known."""

_REDIS = Program(
    flags="23cex",
    valued="hptsaurinXdD",
    words=_words("--user --pass --sni --cacert --cacertdir --cert --key --pattern --quoted-pattern --count")
    | _words("--tls --insecure --raw --no-raw --csv --json --no-auth-warning --verbose --scan --cluster --pipe LOAD load", 0),
    code_words=_set("LOAD load"),
    free=_set("-h -p -t -s -a -u -r -i -n --user --pass --sni --pattern --quoted-pattern --count"),
    more=True,
)  # fmt: skip
_SU = Program(
    flags="lmpP", valued="gGw", code="cs", words={"-": 0, "--login": 0, "--group": 1},
    code_words=_set("--command --session-command --shell"), operand=1, early=True,
)  # fmt: skip
STARTERS: Mapping[str, Program] = {
    "env": Program(flags="i0v", valued="uC", words={"-": 0} | _words("--ignore-environment --null --debug", 0) | _words("--unset --chdir"), joins=_set("-S --split-string"), assigns=True, free=_set("-u --unset")),
    "timeout": Program(flags="fpv", valued="ks", words=_words("--signal --kill-after") | _words("--foreground --preserve-status --verbose", 0), free=_set("-k -s --signal --kill-after"), operand=1, early=True),
    "nice": Program(flags="0123456789", valued="n", words=_words("--adjustment"), free=_set("-n --adjustment")),
    "nohup": Program(),
    "setsid": Program(flags="cfw", words=_words("--ctty --fork --wait", 0)),
    "stdbuf": Program(valued="ioe", words=_words("--input --output --error"), free=_set("-i -o -e")),
    "time": Program(flags="apqv", valued="fo"),
    "ionice": Program(flags="t", valued="cn", free=_set("-c -n")),
    "chrt": Program(flags="abdfimorRv", operand=1, early=True),
    "taskset": Program(flags="ac", operand=1, early=True),
    "flock": Program(flags="seunFxo", valued="wE", code="c", words=_words("--timeout --wait"), code_words=_set("--command"), free=_set("-w --wait --timeout"), operand=1, early=True),
    "xargs": Program(flags="0rtxpo", valued="nIPLsdEa", tail="eil", free=_set("-n -P -L -s")),
    **_all("sudo doas", Program(flags="ABbEeHKklnPSsiv", valued="ugChpTtrDRU", words=_words("--user --group --host") | _words("--preserve-env --non-interactive --login --shell --set-home", 0), assigns=True, free=_set("-u -g --user --group"))),
    "su": _SU,
    "runuser": replace(_SU, flags="lmpPu", early=False),  # the user that -u names counts as the first operand, which it replaces
    **_all("gosu su-exec setuidgid s6-setuidgid envuidgid s6-envuidgid", Program(operand=1, early=True)),
    **_all("chroot envdir s6-envdir faketime setarch", Program(operand=1)),
    **_all("nsenter unshare", Program(flags="mupniCUTFZf", valued="tSGrwR")),
    **_all("tini dumb-init catatonit", Program(flags="sgvc", valued="per")),
    **_all("strace ltrace", Program(flags="cCdfFhiqrtTvVxyDwZkn", valued="eopsuSPEaOI")),
    **_all("entrypoint busybox toybox npx bunx uvx setpriv with-contenv", Program()),
    **_all("pkexec dbus-run-session eatmydata fakeroot unbuffer rlwrap numactl prlimit cgexec firejail valgrind chpst", Program()),
    **_all("proxychains torsocks xvfb-run watchexec entr nodemon lxc-attach", Program(flags="acdqrz", valued="n")),
    "sshpass": Program(flags="ehv", valued="fdpP"),
    "systemd-run": Program(words=_words("--wait --pipe --pty --scope --user --collect --quiet --no-block", 0)),
    **_all("uv poetry pipenv pdm hatch conda bundle npm pipx go cargo deno perf bun", Program(operand=1)),
    **_all("pnpm yarn mix rails", Program(words=_words("workspace") | _words("run exec dlx node eval runner r", 0))),
    "find": Program(code_words=_set("-exec -execdir -ok -okdir"), operand=None, more=True),
    **_all("kubectl oc", Program(code_words=_set("--"), operand=None, verbs=_set("exec run debug rsh"))),
}  # fmt: skip
"""They start another program, whatever it is called."""

PROGRAMS: Mapping[str, Program] = {
    **STARTERS,
    **INTERPRETERS,
    "node": _NODE,
    "java": _JAVA,
    **_all("ssh rsh autossh watch parallel script at batch expect screen tmux eval make gmake ansible salt bwrap", Program(everything=True)),
    "ip": Program(everything=True, verbs=_set("netns")),
    **_all("scp sftp", Program(flags="346ABCpqrTvRa", valued="cFiJlPX", code="oSDbs", operand=None, more=True)),
    **_all("rake dotnet mono gunicorn uvicorn hypercorn pytest run-parts ansible-playbook crontab", Program(flags="lr", valued="u")),
    "tar": Program(code="IF", code_words=_set("--to-command --checkpoint-action --use-compress-program"), operand=None, more=True),
    **_all("mongo mongosh", Program(valued="up", code="f", words=_words("--host --port --username --password --authenticationDatabase") | _words("--quiet --norc --nodb --tls --verbose", 0), code_words=_set("--file --eval"), free=_set("-u --host --port --username --authenticationDatabase"), operand=1, early=True, more=True)),
    "gdb": Program(code="x", code_words=_set("-ex -iex -eval-command --eval-command --command -command"), operand=None, more=True),
    "coverage": Program(words=_words("run", 0), code="m"),
    **_all("celery flask", Program(code="A", code_words=_set("--app"), operand=None, more=True)),
    "git": Program(words=_words("foreach run", 0), code_words=_set("foreach run"), operand=None, more=True, verbs=_set("bisect submodule")),
    "split": Program(code_words=_set("--filter"), operand=None, more=True),
    "curl": Program(code="K", code_words=_set("--config"), operand=None, more=True),
    "tcpdump": Program(code="z", operand=None, more=True),
    "r": Program(code="fe", code_words=_set("--file"), operand=None, more=True),
    **_all("redis-cli valkey-cli keydb-cli", _REDIS),
    **_all("docker podman nerdctl crictl ctr docker-compose lxc incus", Program(everything=True, verbs=_set("exec run"))),
    "gcloud": Program(everything=True, verbs=_set("ssh")),
}  # fmt: skip
"""Name → how it reads its argv. Those with names that are also plain words are known only where a program can stand."""


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


def program_run_by(argv: Written) -> Mapping[int, int]:
    """Return, for each element that may be what a program of the same argv runs, or a part of it, the place of that program.

    Only what it says of values is of use: that the author's own script is run is as it should be.
    """
    found: dict[int, int] = {}
    for count, (at, name) in enumerate(_runners(argv), 1):
        run = range(at + 1, len(argv)) if count > _PROGRAMS_OF_ONE else _run(PROGRAMS[name], argv, at)
        for index in run:
            found.setdefault(index, at)
        if count > _PROGRAMS_OF_ONE:
            break
    return found


def end_of_options(argv: Written) -> int | None:
    """Return where a literal `--` ends the options of what is run; that of a program which only starts it (`tini --`) does not."""
    of_starters = {
        place for at, name in _runners(argv) if name in STARTERS for place in _its_ends(PROGRAMS[name], argv, at)
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
        if at == called or not (name in INTERPRETERS or (may_start and _starts(name, argv))):
            continue
        yield at, name
        started = started or name in STARTERS
        called = _own_name(argv, at) if PROGRAMS[name] is SHELL else called


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
        place = _after(SHELL, place, argv[index])
        if _is_given(SHELL, place):
            takes_code = any(_TAKES_CODE.fullmatch(each or "") for each in argv[at + 1 : index])
            return index + 1 if takes_code else -1
    return -1


def _starts(name: str, argv: Written) -> bool:
    verbs = PROGRAMS[name].verbs if name in PROGRAMS else frozenset()
    return name in PROGRAMS and (not verbs or not verbs.isdisjoint(text for text in argv if text is not None))


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
    run_by = program_run_by(written)
    for at in data:
        message = _misplaced(argv[at], at) or _code(written, at) or _program_of(written, run_by.get(at))
        if message:
            yield at, message


def may_begin_with_dash(argv: Sequence[Element]) -> Sequence[bool]:
    """Tell for each element whether a value there is never read as an option: it stands behind a literal `--`, or is an option's value."""
    holds_data = any(None in element for element in argv) and len(argv) <= _LONGEST
    ends = end_of_options([_written(element) for element in argv]) if holds_data else None
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


def _program_of(written: Written, program: int | None) -> str:
    if program is None:
        return ""
    told = f"may be what {written[program]} runs, which data may not choose"
    return f"{told}; write its program, script or code, and pass the value as an argument after that: {_AS_AN_ARGUMENT}"
