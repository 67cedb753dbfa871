"""Tests for dnalm/cli.py: a small verb of their own, then the real verbs against tests/contract/cli.toml."""

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from dnalm import __version__, cli
from dnalm.commands import GROUPS

CONTRACT = tomllib.loads((Path(__file__).parent / "contract" / "cli.toml").read_text())

FAKE = '''
"""A verb for tests: run does what `act` says."""
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from dnalm.errors import InputError

act = print


@dataclass(frozen=True)
class Options:
    """Count the contigs of a genome."""

    genome: tyro.conf.Positional[Path]
    """The genome to read."""
    out: Path = Path("here")
    """Where results go."""
    data: Path = Path("data")
    steps: int | None = None
    rate: float = 0.5
    block_size: int = 300
    vocab: Literal["full", "vocab4"] = "full"
    overwrite: bool = False
    """Replace what is there."""
    recipe: str = "plain"

    def __post_init__(self):
        if self.rate > 1:
            raise InputError(f"--rate must be at most 1, got {self.rate}")


def run(options):
    act(options)


def default_options(recipe="plain"):
    if recipe not in ("plain", "wide"):
        raise InputError(f"--recipe {recipe}: the recipes are plain, wide")
    return Options(Path(), recipe=recipe, block_size={"plain": 300, "wide": 900}[recipe])


def raise_value_error(options):
    raise InputError(f"{options.genome}: expected FASTA, got a poem; give a FASTA file")


def raise_in_a_call(options):
    int("not a number")


def raise_from(options):
    try:
        int("not a number")
    except ValueError as error:
        raise InputError("expected a number; write one") from error
'''


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The module of a verb `count`, which lives in package dnalm as far as anyone can tell."""
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    spec = importlib.util.spec_from_file_location("dnalm.commands.count", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(cli.VERBS, "count", "count contigs")
    return module


@pytest.fixture
def options(fake, monkeypatch):
    """Parse a command line of `count` and return its options."""

    def parse(*args):
        seen = []
        monkeypatch.setattr(fake, "act", seen.append)
        assert cli.main(["count", *args]) == 0
        return seen[0]

    return parse


def failing(monkeypatch, fake, error):
    def act(options):
        raise error

    monkeypatch.setattr(fake, "act", act)


def test_help_names_every_verb_and_every_exit_code(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, line in cli.VERBS.items():
        group, two, _ = name.partition(" ")
        assert f"  {group:<10}{GROUPS[group] if two else line}\n" in text
    assert all(f"{code} " in text for code in (0, 1, 2, 130))
    assert max(map(len, text.splitlines())) <= 80


def test_no_arguments_is_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.strip() == cli.help_text()


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"dnalm {__version__}\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from dnalm.cli import main; main(['--help']);"
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'tyro', 'rich', 'pysam') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_module_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "dnalm", "prepar"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean prepare?" in done.stderr


def test_help_of_a_verb_is_plain_and_tells_flags_defaults_and_docs(fake, capsys):
    assert cli.main(["count", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: dnalm count ")
    for piece in ("Count the contigs of a genome.", "--block-size INT", "(default: 300)", "{full,vocab4}"):
        assert piece in text
    assert "--overwrite, --no-overwrite" in text
    assert "\x1b" not in text


def test_flags_are_flat_with_dashes_or_underscores_and_paths_may_hold_spaces(options):
    got = options("my genome.fa", "--block_size", "8", "--rate=1e-3", "--overwrite", "--vocab", "vocab4")
    assert (got.genome, got.block_size, got.rate) == (Path("my genome.fa"), 8, 1e-3)
    assert (got.overwrite, got.vocab, got.steps) == (True, "vocab4", None)
    assert not options("g", "--no-overwrite").overwrite


@pytest.mark.parametrize("flag", ["--out", "--output-dir", "--output_dir"])
@pytest.mark.parametrize("equals", [True, False])
def test_published_spellings_of_out(options, flag, equals):
    given = [f"{flag}=a_dir/b=c"] if equals else [flag, "a_dir/b=c"]
    assert options("g", *given).out == Path("a_dir/b=c")


@pytest.mark.parametrize("flag", ["--data", "--data-dir", "--data_dir"])
def test_published_spellings_of_data(options, flag):
    assert options("g", flag, "data/full").data == Path("data/full")


@pytest.mark.parametrize(
    "given", [["--recipe", "wide"], ["--recipe=wide"], ["--recipe", "plain", "--recipe", "wide"]]
)
def test_a_recipe_sets_fields_and_flags_win(options, given):
    assert options("g", *given).block_size == 900
    assert options("g", *given).recipe == "wide"
    assert options("g", *given, "--block-size", "7").block_size == 7
    assert options("g").block_size == 300


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["count", "g", "--block-sise", "3"], ["--block-sise", "Perhaps you meant: --block-size INT"]),
        (["count", "g", "--ovrwrite"], ["--ovrwrite", "Perhaps you meant: --overwrite"]),
        (["count", "g", "h"], ["Unrecognized options: h"]),
        (["count"], ["Missing from dnalm count: GENOME"]),
        (["count", "g", "--steps", "x"], ["Error parsing --steps", "'x'"]),
        (["count", "g", "--block-size", "x"], ["Error parsing --block-size", "'x'"]),
        (["count", "g", "--rate", "x"], ["Error parsing --rate", "'x'"]),
        (["count", "g", "--vocab", "x"], ["invalid choice 'x' for argument '--vocab'", "'full', 'vocab4'"]),
        (["count", "g", "--out"], ["Missing value for argument '--out'"]),
        (["count", "--recipe", "wide"], ["GENOME"]),
        (["count", "g", "--recipe"], ["Missing value for argument '--recipe'"]),
        (["count", "g", "--rate", "2"], ["--rate must be at most 1, got 2.0"]),
    ],
)
def test_a_wrong_flag_is_explained_with_exit_code_2(fake, monkeypatch, capsys, args, words):
    failing(monkeypatch, fake, AssertionError("the verb must not run"))
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert all(piece in " ".join(err.split()) for piece in words)
    assert "dnalm count --help" in err


@pytest.mark.parametrize(
    ("args", "message", "end"),
    [
        (["cuont", "g"], "dnalm: unknown verb cuont; the verbs are fetch, ", "; did you mean count?"),
        (["interact", "trian"], "dnalm: unknown verb interact trian; ", "; did you mean interact train?"),
        (["--overwrite", "count"], "dnalm: unknown flag --overwrite; the verb comes first", ""),
        (["count", "g", "--recipe", "wild"], "dnalm count: --recipe wild: the recipes are plain, wide", ""),
    ],
)
def test_any_other_wrong_command_line_is_one_line_and_exit_code_2(fake, capsys, args, message, end):
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.endswith(f"{end}\n")
    assert err.count("\n") == 1


def test_value_error_of_dnalm_is_its_message(fake, monkeypatch, capsys):
    monkeypatch.setattr(fake, "act", fake.raise_value_error)
    assert cli.main(["count", "poem.txt"]) == 2
    assert capsys.readouterr().err == (
        "dnalm count: poem.txt: expected FASTA, got a poem; give a FASTA file\n"
    )


def test_value_error_with_a_cause_is_its_message(fake, monkeypatch, capsys):
    monkeypatch.setattr(fake, "act", fake.raise_from)
    assert cli.main(["count", "g"]) == 2
    assert capsys.readouterr().err == "dnalm count: expected a number; write one\n"


def logged(err):
    """The text of the file that a message of exit code 1 names."""
    path = Path(err.partition("The traceback is in ")[2].partition("; please")[0])
    text = path.read_text()
    path.unlink()
    return text


@pytest.mark.parametrize(
    ("act", "what"),
    [
        ("raise_in_a_call", "ValueError: invalid literal"),  # a slip in a call: nobody meant it as a message
        (KeyError("weights"), "KeyError: 'weights'"),
        (MemoryError(), "MemoryError"),
        (AssertionError("\n  many\n  lines"), "AssertionError: many lines"),
        (ValueError("raised outside dnalm"), "ValueError: raised outside dnalm"),
    ],
    ids=["slip", "key", "memory", "assertion", "foreign"],
)
def test_anything_else_is_a_fault_with_its_traceback_in_a_file(fake, monkeypatch, capsys, act, what):
    if isinstance(act, str):
        monkeypatch.setattr(fake, "act", getattr(fake, act))
    else:
        failing(monkeypatch, fake, act)
    assert cli.main(["count", "g", "--rate", "0.25"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert what in err
    assert "Traceback" not in err
    text = logged(err)
    assert "Traceback (most recent call last)" in text
    assert "['count', 'g', '--rate', '0.25']" in text
    assert __version__ in text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            FileNotFoundError(errno.ENOENT, "x", "a b.fa"),
            "a b.fa: there is no such file or folder; check the path",
        ),
        (PermissionError(errno.EACCES, "x", "/etc/key"), "/etc/key: no permission to use it"),
        (IsADirectoryError(errno.EISDIR, "x", "data"), "data: expected a file, got a folder"),
        (NotADirectoryError(errno.ENOTDIR, "x", "f"), "f: expected a folder, got a file"),
        (OSError(errno.EIO, "Input/output error", "f"), "f: Input/output error"),
        (OSError("Not a gzipped file"), "Not a gzipped file"),
        (OSError(errno.ENOSPC, "x", "out/w.bin"), "out/w.bin: the disk is full; free some space"),
        (OSError(errno.ENOSPC, "x"), "the disk is full; free some space"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
    ],
)
def test_what_the_system_refuses_is_named_with_exit_code_2(fake, monkeypatch, capsys, error, message):
    failing(monkeypatch, fake, error)
    assert cli.main(["count", "g", "--output_dir", "my out"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"dnalm count: {message}")
    assert err.count("\n") == 1


def test_a_full_disk_is_found_behind_the_error_it_caused(fake, monkeypatch, capsys):
    error = RuntimeError("writer failed")
    error.__context__ = OSError(errno.ENOSPC, "x")
    failing(monkeypatch, fake, error)
    assert cli.main(["count", "g"]) == 2
    assert "the disk is full" in capsys.readouterr().err


def test_ctrl_c_is_130(fake, monkeypatch, capsys):
    failing(monkeypatch, fake, KeyboardInterrupt())
    assert cli.main(["count", "g"]) == 130
    assert capsys.readouterr().err == "dnalm count: interrupted\n"


def test_sigterm_is_as_ctrl_c_and_the_handler_is_put_back(fake, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(fake, "act", lambda _: (os.kill(os.getpid(), signal.SIGTERM), signal.pause()))
    assert cli.main(["count", "g"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_of_several_processes_ends_undisturbed(fake, monkeypatch):
    monkeypatch.setattr(cli.process, "current", lambda: cli.process.ProcessInfo(1, 2, 2, "torchrun"))
    monkeypatch.setattr(cli.process, "check_verb", lambda _verb: None)
    monkeypatch.setattr(
        cli.process, "is_error_reporter", lambda: os.kill(os.getpid(), signal.SIGTERM)
    )  # once more
    monkeypatch.setattr(cli.process, "end", lambda code: code)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(fake, "act", lambda _: (os.kill(os.getpid(), signal.SIGTERM), signal.pause()))
    try:
        assert cli.main(["count", "g"]) == 130
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_runs_in_a_thread_of_another_program(options):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_reader_that_leaves_is_no_fault():
    program = f"'{sys.executable}' -m dnalm --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # 0 if all was written before the reader left


@pytest.mark.parametrize("size", [10, 100_000])  # within and beyond what Python keeps back
def test_a_broken_pipe_is_quiet(size):
    reader, writer = os.pipe()
    os.close(reader)
    code = f"import sys; from dnalm import cli; cli.help_text = lambda: 'x' * {size}; sys.exit(cli.main([]))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_contract_has_all_verbs():
    assert set(CONTRACT) == set(cli.VERBS)


@pytest.mark.parametrize("verb", CONTRACT)
def test_help_of_a_real_verb_keeps_the_contract(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: dnalm {verb} ")
    pieces = re.split(r"\n  (?=-)", text)[1:]  # one a flag
    helps = {piece.split()[0].rstrip(","): " ".join(piece.split()) for piece in pieces}
    for flag, wanted in CONTRACT[verb].items():
        assert flag in helps
        if "choices" in wanted:
            assert "{" + ",".join(wanted["choices"]) + "}" in helps[flag]
        if "default" in wanted:
            assert f"(default: {wanted['default']})" in helps[flag]
        described = helps[flag].partition("(default")[0].split("}")[-1].split()
        assert len(described) > 2, f"{flag} is not explained"


@pytest.mark.parametrize("verb", CONTRACT)
def test_a_real_verb_refuses_an_unknown_flag(verb, capsys):
    assert cli.main([verb, "--hlep"]) == 2
    assert f"dnalm {verb} --help" in capsys.readouterr().err
