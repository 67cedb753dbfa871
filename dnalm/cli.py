"""The command line: finds the verb, reads its flags, turns what went wrong into one message and an exit code.

Nothing heavy is imported here, so that `dnalm --help` answers at once: a verb's module is loaded when called.
"""

import contextlib
import errno
import importlib
import io
import os
import re
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

from dnalm import __version__, process
from dnalm.errors import InputError
from dnalm.process import sigterm_as_ctrl_c


class Verb(NamedTuple):
    """One verb: the module with its `Options` and `run`, a line for the help, and the help's section."""

    module: str
    summary: str
    section: str


PAIRED = "Genes and molecules"
VERBS: dict[str, Verb] = {
    "fetch": Verb("dnalm.commands.fetch", "list or download public data sets, checked by SHA-256", "Data"),
    "prepare": Verb("dnalm.commands.prepare", "cut a genome (FASTA, .gz, .2bit) into tokens", "Data"),
    "label": Verb("dnalm.commands.label", "score a genome base by base: a motif, peaks or tracks", "Data"),
    "pretrain": Verb(
        "dnalm.commands.pretrain", "train a GPT on it, beside Markov models of the same bases", "Models"
    ),
    "finetune": Verb(
        "dnalm.commands.finetune", "train it on a score at each base, such as TF binding", "Models"
    ),
    "baseline": Verb(
        "dnalm.commands.baseline", "train the CNN that it must beat, on the same windows", "Models"
    ),
    "evaluate": Verb("dnalm.commands.evaluate", "score binding models on windows, side by side", "Models"),
    "compare": Verb(
        "dnalm.commands.compare", "say which binding model of a folder is better, with a page", "Models"
    ),
    "interact prepare": Verb(
        "dnalm.commands.interact_prepare", "clean pairs, split them, draw negatives, report leakage", PAIRED
    ),
    "interact check": Verb(
        "dnalm.commands.interact_check", "open the encoders, take one step: does it all work here?", PAIRED
    ),
    "interact train": Verb(
        "dnalm.commands.interact_train", "train a model: original, or cross-attention", PAIRED
    ),
    "interact evaluate": Verb(
        "dnalm.commands.interact_evaluate", "score models beside a ladder of baselines", PAIRED
    ),
    "interact compare": Verb("dnalm.commands.interact_compare", "one table and page of several runs", PAIRED),
    "interact screen": Verb("dnalm.use.screen", "rank molecules for a gene, or genes for a molecule", PAIRED),
    "info": Verb("dnalm.commands.info", "say what a file or folder is and what to do with it", "Around them"),
    "demo": Verb(
        "dnalm.commands.demo", "all of it on a simulated genome, in minutes, with a report", "Around them"
    ),
}

GROUPS = {"interact": "pair genes with molecules: do they interact?"}
"""First words of verbs of two, with a line for the help."""
DONE, FAULT, MISTAKE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
"""Exit codes; 130 and 141 are what a shell reports for SIGINT and SIGPIPE."""

LOST = "another process of this run has ended, and says why; --resume goes on from the state saved last"
ALIASES = {"--output-dir": "--out", "--data-dir": "--data"}
"""Flags of the published scripts that have another name here; an underscore in a flag is read as a dash."""

INTRODUCTION = (
    "dnalm reads a genome, trains DNA language models on it with whatever processor it finds, and says in "
    "bits per base whether they learned more than a Markov model of the same bases knows."
)
EXAMPLE = """\
  dnalm prepare genome.fa.gz --out data
  dnalm pretrain --data data/vocab4 --out outputs
  dnalm pretrain --data data/full --out outputs"""
EXIT_CODES = """\
  0 done    2 a mistake in the command or its input, told in one message
  1 a fault in dnalm itself    130 stopped by Ctrl-C or SIGTERM"""
PLAIN_WORDS = {
    r"invalid literal for int\(\) with base 10: (.*)": r"expected a whole number, got \1",
    r"could not convert string to float: (.*)": r"expected a number, got \1",
    r"no type matching (.*?) could be instantiated from \[(.*?)\].*": r"expected \1, got \2",
    r"invalid choice (.*) for argument '(.*)'\. Expected one of \((.*?),?\)\.": (
        r"\2: expected one of \3, got \1"
    ),
    r"Missing value for argument '(.*)'\. Expected .* values?\.": r"a value for \1 is missing",
}
"""What tyro says of a wrong value, and how it is said here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; `argv` is the command line without the program's name."""
    args = _joined(list(sys.argv[1:] if argv is None else argv))
    name = args[0] if args and args[0] in VERBS else ""
    try:
        with sigterm_as_ctrl_c():
            _dispatch(args)
        sys.stdout.flush()
        return DONE
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left (Python docs, "Note on SIGPIPE")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _tell(name, "interrupted", INTERRUPTED)
    except Exception as error:
        message = LOST if process.is_lost_peer(error) else _mistake(error, args)
        if message is not None:
            return _tell(name, message, MISTAKE)
        return _tell(name, _fault(error, args), FAULT)


def help_text() -> str:
    """Return what `dnalm --help` prints."""
    sections: dict[str, list[str]] = {}
    for name, verb in VERBS.items():
        group, two, _ = name.partition(" ")
        line = f"  {group:<10}{GROUPS[group] if two else verb.summary}"
        if line not in sections.setdefault(verb.section, []):
            sections[verb.section].append(line)
    return "\n\n".join(
        [
            f"dnalm {__version__}: DNA language models, from a genome to an honest result",
            "usage: dnalm VERB [arguments] [--flags]\n"
            "       dnalm VERB --help    the flags of a verb, with their defaults\n"
            "       dnalm --version",
            textwrap.fill(INTRODUCTION, 80),
            *("\n".join([section, *lines]) for section, lines in sections.items()),
            f"Example\n{EXAMPLE}",
            f"Exit codes\n{EXIT_CODES}",
        ]
    )


def _joined(args: list[str]) -> list[str]:
    """Return the arguments with a verb of two words, such as `interact train`, as one."""
    both = " ".join(args[:2])
    return [both, *args[2:]] if both in VERBS else args


def _group_help(group: str) -> str:
    """Return the verbs that begin with `group`, as `dnalm GROUP --help` prints them; empty for none."""
    verbs = {name: verb for name, verb in VERBS.items() if name.startswith(f"{group} ")}
    return "\n".join(f"  {name:<19}{verb.summary}" for name, verb in verbs.items())


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
    elif args[0] in ("-V", "--version"):
        print(f"dnalm {__version__}")
    elif args[0] in VERBS:
        process.check_verb(args[0])
        module = importlib.import_module(VERBS[args[0]].module)
        options = _parse(module, args[0], args[1:])
        if options is not None:
            module.run(options)
    elif (verbs := _group_help(args[0])) and (len(args) == 1 or args[1] in ("-h", "--help")):
        print(f"{verbs}\n\ndnalm {args[0]} VERB --help shows the flags of one")
    elif verbs:
        names = [name.partition(" ")[2] for name in VERBS if name.startswith(f"{args[0]} ")]
        raise InputError(
            f"unknown verb {args[0]} {args[1]}{_nearest(args[1], names)}; those of {args[0]} are "
            f"{', '.join(names)}"
        )
    elif args[0].startswith("-"):
        flags = ["--help", "--version"]
        raise InputError(
            f"unknown flag {args[0]}{_nearest(args[0], flags)}; the verb comes first: dnalm VERB [--flags]"
        )
    else:
        raise InputError(
            f"unknown verb {args[0]}{_nearest(args[0], VERBS)}; the verbs are {', '.join(VERBS)}"
        )


def _parse(module: ModuleType, verb: str, args: list[str]) -> Any | None:
    """Return the verb's `Options`, or None after its help has been printed.

    Where the module has `default_options`, it gives the options that `--recipe` stands for; flags win. Where
    it has `RECIPES`, a flag and what it may be, that flag's value is the recipe unless one is given; where it
    has `PRESETS`, flags beside the recipe that stand for other flags, `default_options` is given them too.

    Raises:
        InputError: if the arguments are not right; the message says which and why.
    """
    args = [_plain_flag(arg) for arg in args]
    start = None
    if hasattr(module, "default_options"):
        flag, known = getattr(module, "RECIPES", ("", ()))
        named = _last_value(flag, args) if flag else None
        recipe = _last_value("--recipe", args) or (named if named in known else module.Options.recipe)
        presets = {flag: _last_value(flag, args) for flag in getattr(module, "PRESETS", ())}
        start = module.default_options(recipe, **{f[2:]: given for f, given in presets.items() if given})
    code, options, unknown, text = _tyro(module.Options, verb, args, start)
    if code == 0:
        print(_plain_help(text))
        return None
    if code is not None or unknown:
        known = re.findall(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*", _tyro(module.Options, verb, ["--help"])[3])
        flags = [arg.partition("=")[0].replace("_", "-") for arg in args if re.match(r"--?[A-Za-z]", arg)]
        strange = next((flag for flag in flags if flag not in known), None)
        if strange is not None:
            raise InputError(f"unknown flag {strange}{_nearest(strange, known)}; see dnalm {verb} --help")
        if unknown:
            raise InputError(f"unexpected argument {unknown[0]!r}; see dnalm {verb} --help")
        raise InputError(_plain_message(text, module.Options, verb))
    return options


def _last_value(flag: str, args: list[str]) -> str | None:
    """Return the value of a flag, the last one where it is given twice; None where there is none."""
    for arg, following in reversed(list(pairwise([*args, ""]))):
        name, equals, value = arg.partition("=")
        if name == flag:
            return value if equals else following
    return None


def _plain_flag(arg: str) -> str:
    flag, equals, value = arg.partition("=")
    flag = ALIASES.get(flag.replace("_", "-"), flag)
    return f"{flag}{equals}{value}"


def _tyro(
    options: type[Any], verb: str, args: list[str], start: Any = None
) -> tuple[int | None, Any, list[str], str]:
    """Parse with tyro: its exit code (None: all is well), the options, what is unknown, what it wrote."""
    import tyro  # not needed for `dnalm --help`

    default = {}
    if start is not None:  # what the dataclass asks for must still be asked for
        asked = [f.name for f in fields(options) if f.default is MISSING and f.default_factory is MISSING]
        default["default"] = replace(start, **dict.fromkeys(asked, tyro.MISSING))
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    asks_help = any(arg in ("-h", "--help") for arg in args)
    parsed: Any
    text = io.StringIO()
    width = os.environ.get("COLUMNS")
    if not asks_help:
        os.environ["COLUMNS"] = "100000"  # an error's frame is taken off below: no line may be wrapped
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            parsed, unknown = tyro.cli(
                options,
                args=args,
                prog=f"dnalm {verb}",
                config=config,
                return_unknown_args=True,
                **default,
            )
    except SystemExit as stop:
        return int(stop.code or 0), None, [], text.getvalue()
    finally:
        if width is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = width
    return None, parsed, unknown, text.getvalue()


def _plain_help(framed: str) -> str:
    """Return tyro's help without frames, rules, trailing spaces, and defaults that say nothing."""
    lines = [line.rstrip() for line in framed.splitlines()]
    lines = [line[1:] if re.match(r" [a-z]", line) else line for line in lines if set(line) - set(" -")]
    text = re.sub(r"\s+\(default:(?:\s+(?:None|''))?\s*\)", "", "\n".join(lines))
    return re.sub(r"\n(?=\S)", "\n\n", text)


def _plain_message(framed: str, options: type, verb: str) -> str:
    """Return the line that matters of an error that tyro has framed."""
    title, *lines = framed.splitlines()
    sections: list[list[str]] = [[]]
    for line in lines:
        inner = line[2:].rstrip("│ ")
        if not set(inner) - set("-─╯"):
            sections.append([])
        else:
            sections[-1].append(inner)
    sections = [section for section in sections if section]
    if "Required options" in title:
        missing = [line.strip() for line in sections[0] if re.match(r" {4}\S", line)]
        be = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing)} {be} missing; see dnalm {verb} --help"
    message = " ".join(line.strip() for line in sections[0])
    message = re.sub(rf"^Error parsing (?:{options.__name__}: )?", "", message)
    for theirs, ours in PLAIN_WORDS.items():
        message = re.sub(theirs, ours, message)
    return message


def _nearest(word: str, known: Sequence[str] | dict[str, Verb]) -> str:
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _mistake(error: Exception, args: list[str]) -> str | None:
    """Return the message of a mistake of the user's, or None for a fault of dnalm's own."""
    if _disk_full(error):
        return f"the disk of {_written_to(error, args)} is full; free some space or choose another --out"
    if isinstance(error, OSError):
        where = error.filename if error.filename is not None else ""
        if isinstance(error, FileNotFoundError):
            reason = "there is no such file or folder; check the path"
        elif isinstance(error, IsADirectoryError):
            reason = "expected a file, got a folder"
        elif isinstance(error, NotADirectoryError):
            reason = "expected a folder, got a file"
        elif isinstance(error, PermissionError):
            reason = "no permission to use it; change its permissions or choose another path"
        else:
            reason = error.strerror or str(error) or type(error).__name__
        return f"{os.fsdecode(where)}: {reason}" if isinstance(where, str | bytes) and where else reason
    if isinstance(error, InputError):
        return str(error)
    return None


def _disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error) and not isinstance(error, ValueError):
            return True  # libraries in other languages pass on the words alone
        error = error.__cause__ or error.__context__
    return False


def _written_to(error: Exception, args: list[str]) -> str:
    """Name where the verb was writing: the error's own path, or what follows --out."""
    if isinstance(error, OSError) and error.filename:
        return os.fsdecode(error.filename)
    return _last_value("--out", [_plain_flag(arg) for arg in args]) or "the output folder"


def _fault(error: Exception, args: list[str]) -> str:
    """Keep the traceback in a file and return the message that names it."""
    handle, path = tempfile.mkstemp(prefix="dnalm-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"dnalm {__version__}, Python {sys.version}, {sys.platform}\narguments: {args}\n\n")
        file.write("".join(traceback.format_exception(error)))
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"a fault in dnalm, not a mistake of yours: {textwrap.shorten(what, 200)}\n"
        f"The traceback is in {path}; please keep it with your report."
    )


def _tell(verb: str, message: str, code: int) -> int:
    if not process.is_error_reporter():
        return code
    with contextlib.suppress(BrokenPipeError):
        print(f"dnalm {verb}: {message}" if verb else f"dnalm: {message}", file=sys.stderr)
    return code
