"""The command line: finds the verb, reads its flags, turns what went wrong into one message and an exit code.

Nothing heavy is imported here, so that `dnalm --help` answers at once: a verb's module is loaded when called.
Flags are read by tyro, which prints the help of a verb and what is wrong with a flag in its own way.
"""

import contextlib
import importlib
import inspect
import io
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from dnalm import __version__, process
from dnalm.commands import GROUPS, SECTIONS, VERBS
from dnalm.config import nearest
from dnalm.errors import InputError, mistake, shortened
from dnalm.files import regular_file

DONE, FAULT, MISTAKE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
"""Exit codes; 130 and 141 are what a shell reports for SIGINT and SIGPIPE."""
ALIASES = {"--output-dir": "--out", "--data-dir": "--data"}
"""Flags of the published scripts that have another name here; an underscore in a flag is read as a dash."""
OUTPUTS = ("out", "track", "attention", "store")
"""Options whose paths are written; all other paths are inputs."""
LOST = "another process of this run has ended, and reports why; --resume goes on from the last saved state"
HELP = """\
dnalm {version}: DNA language models, from a genome to an honest result

usage: dnalm VERB [arguments] [--flags]
       dnalm VERB --help    the flags of a verb, with their defaults
       dnalm --version

dnalm reads a genome, trains DNA language models on it with whatever processor
it finds, and says in bits per base whether they learned more than a Markov
model of the same bases knows.

{verbs}

Example
  dnalm prepare genome.fa.gz --out data
  dnalm pretrain --data data/vocab4 --out outputs
  dnalm pretrain --data data/full --out outputs

Exit codes
  0 done    2 a mistake in the command or its input, reported in one message
  1 a fault in dnalm itself    130 stopped by Ctrl-C or SIGTERM"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; `argv` is the command line without the program's name."""
    args = list(sys.argv[1:] if argv is None else argv)
    if " ".join(args[:2]) in VERBS:  # a verb of two words
        args[:2] = [" ".join(args[:2])]
    verb = args[0] if args and args[0] in VERBS else ""
    # No figure is shown; matplotlib would not load with a backend of a notebook that is not installed here.
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a path may hold letters that the terminal has not
    try:
        with process.sigterm_as_ctrl_c(), _warnings_in_one_line():
            code = execute(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left (Python docs, "Note on SIGPIPE")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _report(verb, "interrupted", INTERRUPTED)
    except Exception as error:
        message = LOST if process.is_lost_peer(error) else mistake(error)
        if message is not None:
            return _report(verb, message, MISTAKE)
        return _report(verb, _fault(error, args), FAULT)


def help_text() -> str:
    """Return what `dnalm --help` prints."""
    sections = []
    for section, verbs in SECTIONS.items():
        lines = {name.split()[0]: GROUPS.get(name.split()[0], line) for name, line in verbs.items()}
        sections.append("\n".join([section, *(f"  {name:<10}{line}" for name, line in lines.items())]))
    return HELP.format(version=__version__, verbs="\n\n".join(sections))


def execute(args: list[str]) -> int:
    """Run what the arguments ask for and return the exit code."""
    first, *others = args or ["--help"]
    group = [name for name in VERBS if name.startswith(f"{first} ")]
    if first in ("-h", "--help"):
        print(help_text())
    elif first in ("-V", "--version"):
        print(f"dnalm {__version__}")
    elif first in VERBS:
        process.check_verb(first)
        options = parse(first, others)
        if isinstance(options, int):
            return options
        with contextlib.ExitStack() as stack:
            _module(first).run(_without_pipes(options, stack))
    elif group and (not others or others[0] in ("-h", "--help")):
        print("\n".join(f"  {name:<19}{VERBS[name]}" for name in group))
        print(f"\ndnalm {first} VERB --help shows the flags of one")
    elif group:
        raise _unknown(f"{first} {others[0]}", group)
    elif first.startswith("-"):
        raise InputError(f"unknown flag {first}; the verb comes first: dnalm VERB [--flags]")
    else:
        raise _unknown(first, list(VERBS))
    return DONE


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"dnalm.commands.{verb.replace(' ', '_')}")


def parse(verb: str, args: list[str]) -> Any:
    """Return the verb's `Options`, or the exit code once tyro has printed its help or what is wrong.

    Where the module has `default_options`, its parameters are the flags that stand for others, such as
    `--recipe`: it is called with those that are given, and returns the options that flags are laid over.
    """
    import argparse  # these two are not needed for `dnalm --help`

    import tyro

    module, args = _module(verb), [_plain_flag(arg) for arg in args]
    default: dict[str, Any] = {}
    if hasattr(module, "default_options"):
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for name in inspect.signature(module.default_options).parameters:
            first.add_argument(f"--{name.replace('_', '-')}", nargs="?")  # a missing value is reported below
        given = {name: value for name, value in vars(first.parse_known_args(args)[0]).items() if value}
        start = module.default_options(**given)
        required = [f.name for f in fields(start) if f.default is MISSING and f.default_factory is MISSING]
        default["default"] = replace(start, **dict.fromkeys(required, tyro.MISSING))
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    speaks = process.is_rank_zero()  # a mistake in a flag is the same in every process
    try:
        with contextlib.redirect_stderr(sys.stderr if speaks else io.StringIO()):
            prog = f"dnalm {verb}"
            return tyro.cli(
                module.Options, args=args, prog=prog, config=config, console_outputs=speaks, **default
            )
    except SystemExit as stop:
        return int(stop.code or DONE)


def _without_pipes(options: Any, stack: contextlib.ExitStack) -> Any:
    """Return the options with a copy in place of each pipe that is an input: verbs read their files again."""

    def copy(value: Any) -> Any:
        """Return what stands for a value of an option."""
        if isinstance(value, tuple):
            return tuple(map(copy, value))
        return stack.enter_context(regular_file(value)) if isinstance(value, Path) else value

    values = {name: copy(value) for name, value in vars(options).items() if name not in OUTPUTS}
    return replace(options, **values)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings as messages, without the place in the code that Python adds."""
    before, warnings.formatwarning = (
        warnings.formatwarning,
        lambda text, *_args, **_more: f"warning: {text}\n",
    )
    try:
        yield
    finally:
        warnings.formatwarning = before


def _plain_flag(arg: str) -> str:
    """Return a flag by the name that it has here, its underscores as dashes."""
    flag, equals, value = arg.partition("=")
    plain = flag.replace("_", "-")
    return f"{ALIASES.get(plain, plain)}{equals}{value}" if flag.startswith("--") else arg


def _unknown(verb: str, verbs: list[str]) -> InputError:
    return InputError(f"unknown verb {verb}; the verbs are {', '.join(verbs)}{nearest(verb, verbs)}")


def _fault(error: Exception, args: list[str]) -> str:
    """Keep the traceback in a file and return the message that names it."""
    handle, path = tempfile.mkstemp(prefix="dnalm-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"dnalm {__version__}, Python {sys.version}, {sys.platform}\narguments: {args}\n\n")
        file.write("".join(traceback.format_exception(error)))
    what = shortened(f"{type(error).__name__}: {error}")
    return (
        f"a fault in dnalm, not a mistake of yours: {what}\n"
        f"The traceback is in {path}; please keep it with your report."
    )


def _report(verb: str, message: str, code: int) -> int:
    """Print what went wrong, once for all processes of a run, and return the exit code.

    A parameter that a message names between backticks, `batch_size`, is shown as its flag, --batch-size.
    """
    message = re.sub(r"`([a-z]\w*)`", lambda found: "--" + found[1].replace("_", "-"), message)
    if process.is_error_reporter():
        with contextlib.suppress(BrokenPipeError):
            print(f"dnalm {verb}: {message}" if verb else f"dnalm: {message}", file=sys.stderr)
    return code
