"""Tests for dnalm/commands/demo.py: the whole road once, very small."""

import json
from dataclasses import replace

import pytest

from dnalm import checkpoint
from dnalm.commands import demo
from dnalm.device import Compute
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel

MODEL = (demo.N_LAYER, demo.N_HEAD, demo.N_EMBD, demo.BLOCK_SIZE)


@pytest.fixture(scope="module")
def small():
    """The demo with the smallest genome there is and a model of next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"BASES": 100_000, "N_LAYER": 1, "N_HEAD": 1, "N_EMBD": 8, "BLOCK_SIZE": 24, "BATCH_SIZE": 2}
        for name, value in (sizes | {"EVAL_BASES": 1_000}).items():
            patch.setattr(demo, name, value)
        for name, value in {"WINDOW": 24, "PVALUE": 1e-3, "GAP": 50}.items():
            patch.setattr(demo.demo_binding, name, value)
        patch.setattr(demo.demo_interaction, "EPOCHS", {"kmer-morgan": 1})
        patch.setattr(demo.demo_interaction, "SCREENED", "kmer-morgan")
        default = demo.pretrain.default_options("default")
        default = replace(default, task=replace(default.task, final_bases=2_000))
        patch.setattr(demo.pretrain, "default_options", lambda recipe, size="": default)
        yield


@pytest.fixture(scope="module")
def options(small, tmp_path_factory):
    """A demo that has run, in a path with a space."""
    out = tmp_path_factory.mktemp("demo") / "my demo"
    options = demo.Options(out=out, steps=16, epochs=1, compute=Compute(device="cpu"), quiet=True)
    demo.run(options)
    return options


def test_demo_makes_every_file_and_the_report(options):
    outputs = options.out / "outputs"
    for mode in ("full", "vocab4"):
        assert (options.out / "data" / mode / "meta.json").is_file()
        assert json.loads((outputs / mode / "run.json").read_text())["status"] == "done"
        for name in (f"ckpt_{mode}.pt", f"loss_{mode}.png", f"losses_{mode}.json", f"summary_{mode}.json"):
            assert (outputs / name).is_file()
    assert (outputs / "training_time_comparison.png").is_file()
    page = (options.out / "report.html").read_text()
    assert page.count("<section>") == len(demo.CHAPTERS)
    assert page.count("data:image/png;base64,") > 4
    for name in ("vocab4", "vocab4_random", "baseline"):
        assert json.loads((options.out / "models" / name / "run.json").read_text())["status"] == "done"
    judged = json.loads((options.out / "models" / "evaluation_test.json").read_text())
    assert set(judged["models"]) == {"vocab4", "vocab4_random", "baseline"}
    assert set(judged["baselines"]) == {"motif scan", "mean score"}
    assert "<h2>The simulated genome</h2>" in page
    assert "interactions/screen_report.html" in page
    assert "molecules ranked for gene" in (options.out / "interactions" / "screen_report.html").read_text()


def test_rerun_makes_its_own_folder_anew(options, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(demo.pretrain, "run", trained.append)  # the models are there from the first run
    (options.out / "report.html").write_text("old")
    (options.out / "notes.txt").write_text("mine")
    demo.run(replace(options, quiet=False, seed=3))
    told = [(each.data.name, each.run.seed, each.run.overwrite) for each in trained]
    assert told == [("full", 3, True), ("vocab4", 3, True)]
    assert "<section>" in (options.out / "report.html").read_text()
    assert (options.out / "notes.txt").read_text() == "mine"
    shown = capsys.readouterr()
    *findings, screened, report = shown.out.splitlines()
    assert report == str(options.out / "report.html")
    assert screened == str(options.out / "interactions" / "screen_report.html")
    assert [line.split(":")[0] for line in findings[:3]] == ["full", "vocab4", "Test part"]
    assert [line[:6] for line in shown.err.splitlines() if " of 8:" in line] == [
        f"{i} of 8" for i in range(1, 9)
    ]


def test_interrupted_rerun_leaves_no_old_report(options, monkeypatch):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.pretrain, "run", interrupt)
    (options.out / "report.html").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        demo.run(options)
    assert not (options.out / "report.html").exists()


def test_says_that_there_were_too_few_steps(options, monkeypatch):
    tensors, about = checkpoint.load(options.out / "outputs" / "vocab4")
    untrained = {key: about[key] for key in about if key not in ("files", "sha256")} | {"step": 0}
    vocab4 = options.out / "outputs" / "vocab4" / "checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(demo.pretrain, "run", lambda _training: checkpoint.save(vocab4, tensors, untrained))
        with pytest.raises(ValueError, match="--steps 16: so few steps .* give more"):
            demo.run(options)
    checkpoint.save(vocab4, tensors, untrained | {"step": about["step"]})


def test_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="expected a new folder or an earlier demo"):
        demo.run(demo.Options(out=tmp_path))
    with pytest.raises(ValueError, match="expected a folder or nothing, got a file"):
        demo.run(demo.Options(out=tmp_path / "thesis.txt"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"compute": Compute(precision="fp16", device="cpu")}, "--precision fp16"),
    ],
)
def test_refuses_wrong_options_before_writing(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        demo.run(demo.Options(out=tmp_path / "demo", **wrong))
    assert not (tmp_path / "demo").exists()


def test_dry_run_writes_nothing(tmp_path, capsys):
    demo.run(demo.Options(out=tmp_path / "demo", dry_run=True, compute=Compute(device="cpu")))
    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "demo").exists()


def test_the_model_is_of_about_a_million_parameters():
    assert LanguageModel(GPTConfig(*MODEL), vocab_size=40).parameter_count == pytest.approx(1e6, rel=0.05)
