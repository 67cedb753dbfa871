"""Tests for dnalm/commands/demo.py: all of it once, very small."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dnalm import cli
from dnalm.commands import demo
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.genome import simulate
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel

pytest.importorskip("rdkit", reason="needs the extra interaction")
TINY = demo.Scale(
    bases=100_000,
    model="--n-layer 1 --n-head 1 --n-embd 8 --block-size 24 --batch-size 2 --final-bases 2000",
    eval_bases=1_000,
    window=24,
    pvalue=1e-3,
    gap=50,
    pair_epochs=1,
    attention="--width 8 --heads 1 --feed-forward 8",
)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A demo that has run, in a path with a blank."""
    out = tmp_path_factory.mktemp("demo") / "my demo"
    options = demo.Options(out=out, steps=8, epochs=1, compute=Compute(device="cpu"), quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "PAIRS", 300)
        demo.run(options, TINY)
    return options


def test_every_command_leaves_its_results_and_the_page_shows_them(options):
    out = options.out
    records = sorted(out.glob("*/*/run.json"))
    done = {path.parent.name for path in records if json.loads(path.read_text())["status"] == "done"}
    pairs = {"original", "kmer-morgan", "foundation", "foundation-pooled"}
    assert {"full", "vocab4", "vocab4_random", "baseline"} | pairs <= done
    assert set(json.loads((out / "models/evaluation_test.json").read_text())["baselines"]) >= {"motif scan"}
    assert set(json.loads((out / "interactions/evaluation_test.json").read_text())["models"]) == pairs
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 4
    assert "an AUROC of 0.9" in page
    assert (out / "interactions" / "screen_report.html").is_file()
    assert (out / "demo.log").stat().st_size > 1_000


def test_a_second_run_replaces_its_own_folder_with_a_line_a_step(options, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(cli, "execute", lambda words: seen.append(words) or 0)  # results are there already
    monkeypatch.setattr(demo, "_write_report", lambda out, page: [str(page.write_text("new"))])
    (options.out / "report.html").write_text("old")
    (options.out / "notes.txt").write_text("mine")
    demo.run(replace(options, quiet=False, seed=3), TINY)
    assert all("--overwrite" in words for words in seen)
    assert [words[0] for words in seen][:3] == ["prepare", "pretrain", "pretrain"]
    assert (options.out / "report.html").read_text() == "new"
    assert (options.out / "notes.txt").read_text() == "mine"
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == str(options.out / "report.html")
    assert len(shown.err.splitlines()) == len(seen) + 2


def test_an_interrupted_run_leaves_no_old_report(options, monkeypatch):
    def interrupt(_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "execute", interrupt)
    (options.out / "report.html").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        demo.run(options, TINY)
    assert not (options.out / "report.html").exists()


def test_a_folder_that_is_not_its_own_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError):
            demo.run(demo.Options(out=out, compute=Compute(device="cpu")))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"compute": Compute(precision="fp16", device="cpu")}])
def test_wrong_options_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InputError):
        demo.run(demo.Options(out=tmp_path / "demo", **wrong))
    assert not (tmp_path / "demo").exists()


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path, capsys):
    demo.run(demo.Options(out=tmp_path / "demo", dry_run=True, compute=Compute(device="cpu")))
    assert capsys.readouterr().out.count("dnalm ") == len(demo.command_lines(demo.Options(), demo.Scale()))
    assert not (tmp_path / "demo").exists()


def test_every_command_is_one_that_the_command_line_takes():
    for verb, *words in demo.command_lines(demo.Options(out=Path("a b")), demo.Scale()):
        assert not isinstance(cli.parse(verb, words), int)


def test_the_model_is_of_about_a_million_parameters():
    words = demo.Scale().model.split()
    shape = [
        int(words[words.index(flag) + 1]) for flag in ("--n-layer", "--n-head", "--n-embd", "--block-size")
    ]
    assert LanguageModel(GPTConfig(*shape), vocab_size=40).parameter_count == pytest.approx(1e6, rel=0.05)


def test_every_gene_has_a_motif_in_what_is_read_of_it():
    third = simulate.GENE_LENGTHS[1] // simulate.COPIES
    commands = demo.command_lines(demo.Options(), demo.Scale())
    read = [words[words.index("--dna-length") + 1] for words in commands if "--dna-length" in words]
    assert read
    assert all(third <= int(length) for length in read)
