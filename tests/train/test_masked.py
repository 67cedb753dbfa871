"""Pretraining with the masked objective, from the command line to the page, and what follows from it."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import dnalm
from dnalm import checkpoint
from dnalm.cli import main
from dnalm.data.language import choose_pieces
from dnalm.data.masking import fixed_positions
from dnalm.evaluate.language import evaluate_language, score
from dnalm.files import read_json
from dnalm.models.binding import BindingShape, TuneConfig
from dnalm.models.conv import ConvConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.published import published_content
from dnalm.report.language import language_chapter
from dnalm.train.binding_start import start_from_core
from dnalm.train.language import LanguageConfig, LanguageTask

SHAPES = {
    "gpt": GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=40, objective="masked"),
    "conv": ConvConfig(width=8, blocks=3, kernel=3, widest=2, block_size=40),
}
FLAGS = ["--n-layer", "2", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
FLAGS += ["--steps", "6", "--eval-every", "3", "--checkpoint-every", "3", "--warmup", "1", "--quiet"]
FLAGS += ["--eval-bases", "300", "--final-bases", "900", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module", autouse=True)
def low_orders():
    """Count models of few bases, which are quick to count."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("language", "baselines.two_sided"):
            patch.setattr(f"dnalm.evaluate.{module}.HIGHEST_ORDER", 4)
            patch.setattr(f"dnalm.evaluate.{module}.REACH", 2)
        yield


def model_of(task):
    torch.manual_seed(0)
    model = task.build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


@pytest.mark.parametrize("mode", ["full", "vocab4"])
@pytest.mark.parametrize("name", SHAPES)
def test_only_chosen_bases_count_in_the_loss(toy, mode, name):
    task = LanguageTask(toy[mode], SHAPES[name], LanguageConfig())
    model, batch = model_of(task), task.windows(4, 0).batch(0)
    logits = model(batch.tokens, torch.ones_like(batch.tokens, dtype=torch.bool))
    chosen = batch.weights > 0
    expected = F.cross_entropy(logits[chosen], batch.targets[chosen].long())
    torch.testing.assert_close(task.loss(model, batch), expected)
    assert task.loss_weight(batch) == float(chosen.sum())


@pytest.mark.parametrize("name", SHAPES)
def test_scores_equal_one_masked_window_at_a_time_and_batches_do_not_matter(toy, name, monkeypatch):
    genome = toy["vocab4"]
    task = LanguageTask(genome, SHAPES[name], LanguageConfig())
    model = model_of(task)
    scores = score(model, genome, "val", 0, 40, masked=True)
    pieces = choose_pieces(genome, "val", 0)
    positions = fixed_positions(genome, "val", pieces)
    assert scores.bases.sum() == len(positions.numbers) == 75  # of 1,500 bases
    text, bits = torch.from_numpy(np.array(genome.tokens("val"))).long(), []
    for number, (start, end) in enumerate(pieces.tolist()):
        own = positions.numbers[positions.piece == number]
        for at in range(start, end, 20):
            inside = own[(own >= at) & (own < at + 20)]
            if len(inside):
                begin = max(0, min(at - 10, 1500 - 40))
                window = text[begin : begin + 40].clone()
                window[inside - begin] = 4
                log_p = model(window[None], torch.ones(1, 40, dtype=torch.bool))[0].log_softmax(-1)
                bits += (-log_p[inside - begin, text[inside]] / np.log(2)).tolist()
    assert scores.bits_per_base == pytest.approx(np.mean(bits), rel=1e-5)  # float32
    monkeypatch.setattr("dnalm.evaluate.language.EVALUATION_BATCH", 3)
    assert score(model, genome, "val", 0, 40, masked=True).bits == pytest.approx(scores.bits, rel=1e-5)


def test_both_objectives_are_scored_at_the_same_positions_beside_the_same_counts(toy):
    causal = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=40)
    found = {}
    for mode in ("full", "vocab4"):
        for shape in (causal, SHAPES["gpt"]):
            task = LanguageTask(toy[mode], shape, LanguageConfig())
            masked = shape.objective == "masked"
            found[mode, masked] = evaluate_language(model_of(task), toy[mode], 0, 40, masked=masked)
    masked, causal = found["vocab4", True], found["vocab4", False]
    assert found["full", True]["two_sided"] == masked["two_sided"]
    assert masked["ladder"]["validation_bases"] == masked["two_sided"]["validation_bases"] == 75
    assert masked["bits_per_masked_base"]["bases"] == causal["fixed_positions"]["bases"] == 75
    assert causal["fixed_positions"]["two_sided"] == masked["two_sided"]["best"]
    assert causal["fixed_positions"]["markov"] == masked["ladder"]["best"]
    assert causal["bits_per_base"]["bases"] == 1499
    assert "bits_per_base" not in masked
    for words in ("bits per masked base", "two-sided count model", "Markov model"):
        assert words in masked["verdict"]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A run of each kind, by the command line."""
    out = tmp_path_factory.mktemp("masked")
    for name, flags in {
        "gpt": ["--objective", "masked", "--rc-augment"],
        "conv": ["--objective", "masked", "--encoder", "conv"],
        "causal": [],
    }.items():
        assert (
            main(["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(out / name), *FLAGS, *flags])
            == 0
        )
    return out


@pytest.mark.parametrize("name", ["gpt", "conv"])
def test_a_run_says_bits_per_masked_base_and_writes_no_published_file(trained, name):
    metrics = read_json(trained / name / "vocab4" / "run.json")["metrics"]
    assert "bits_per_base" not in metrics
    assert "bits_per_base" not in metrics["history"]
    assert len(metrics["history"]["bits_per_masked_base"]) == 3
    assert not (trained / name / "ckpt_vocab4.pt").exists()
    assert "checkpoint" not in read_json(trained / name / "summary_vocab4.json")
    tensors, about = checkpoint.load(trained / name / "vocab4")
    assert about["encoder"]["name"] == name
    assert len(tensors["transformer.wte.weight"]) == 5


def test_a_run_that_is_stopped_and_resumed_has_the_same_bits(toy, trained, tmp_path):
    words = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *FLAGS]
    words += ["--objective", "masked", "--rc-augment"]
    assert main([*words, "--stop-at", "4"]) == 0
    assert main([*words[:-1], "--resume"]) == 2  # without --rc-augment it is another run
    assert main([*words, "--resume"]) == 0
    whole, resumed = (checkpoint.load(each / "vocab4" / "last")[0] for each in (trained / "gpt", tmp_path))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("name", ["gpt", "conv"])
def test_a_core_of_both_sides_is_opened_and_stands_under_a_head(trained, name):
    path = trained / name / "vocab4"
    core = dnalm.load(path)
    assert not core.causal
    (log_p,) = core.log_probabilities(["ACGTTGCAACGT"])
    assert np.isfinite(log_p).all()
    start = start_from_core(path, "vocab4", RegressionHeadConfig(8, 3, 0.0), TuneConfig(both_strands=True))
    model = start.build().eval()
    model.prepare_training()
    tokens = torch.tensor([[0, 1, 2, 3, 3, 2]])
    states = core.module.transformer(tokens, torch.ones_like(tokens, dtype=torch.bool))
    torch.testing.assert_close(model.encode(tokens)[..., : states.shape[-1]], states)
    assert model(tokens).shape == (1, 6)
    assert BindingShape.from_dict(model.shape.as_dict()) == model.shape
    assert published_content(model, {}) is None  # no published file holds such a core


def test_the_page_compares_both_kinds_at_the_same_positions_alone(trained):
    chapter = language_chapter([trained / name for name in ("gpt", "conv", "causal")])
    (table,) = chapter.tables
    rows = {row[0]: list(row[1:]) for row in table.rows}
    kinds = rows["predicts"]
    assert sorted(kinds) == ["masked bases", "masked bases", "the next token"]
    for kind, causal, masked, fixed in zip(
        kinds,
        rows["bits per base"],
        rows["bits per masked base"],
        rows["bits per base at masked positions"],
        strict=True,
    ):
        assert bool(causal) == (kind == "the next token") != bool(masked)
        assert fixed == masked or not masked
    assert "On the same masked positions" in chapter.findings[-1]
    assert len(chapter.figures) == 1 + 3 + 1  # count models, three curves, times


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--encoder", "conv"], "both sides of a base"),
        (["--objective", "masked", "--region-weight", "no.bed=0.1"], "no.bed"),
        (["--region-weight", "a.bed"], "expected FILE.bed=WEIGHT"),
        (["--objective", "both"], "objective"),
    ],
)
def test_flags_that_make_no_sense_end_with_one_message(toy, tmp_path, capsys, flags, message):
    words = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *FLAGS]
    assert main([*words, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_region_weights_are_in_the_record_and_a_resumed_run_needs_them(toy, tmp_path, capsys):
    (tmp_path / "a.bed").write_text("chr1\t100\t900\nchrX\t1\t2\n")
    words = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), *FLAGS]
    words += ["--stop-at", "3"]
    words.remove("--quiet")
    assert main([*words, "--region-weight", f"{tmp_path / 'a.bed'}=0.1"]) == 0
    assert "1 contig (chrX)" in capsys.readouterr().err
    record = json.loads((tmp_path / "o" / "vocab4" / "run.json").read_text())
    assert record["data"]["regions"][0]["weight"] == 0.1
    assert record["recipe"]["name"] == "default, changed by flags"
    assert main([*words, "--resume"]) == 2
    assert "regions was" in capsys.readouterr().err
