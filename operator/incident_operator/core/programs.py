"""How programs that run what they are given read their argv: shells, interpreters, clients with statements, starters of programs."""

from collections.abc import Mapping
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
