"""A model with a vector for each of several genomes: what it changes, and what it does not."""

import numpy as np
import pytest
import torch

import dnalm
from dnalm.cli import main
from dnalm.data.language import UNKNOWN, LanguageWindows, species_rows
from dnalm.errors import InputError
from dnalm.evaluate.language import score
from dnalm.files import read_json
from dnalm.genome.folder import PreparedGenome
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare
from dnalm.models.binding import TuneConfig
from dnalm.models.conv import ConvConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.gpt_branches import branch_logits
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.language import LanguageModel
from dnalm.train.binding_start import start_from_core

NAMES = "one,two"
SHAPES = [
    GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=30),
    GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=30, objective="masked"),
    ConvConfig(width=8, blocks=3, kernel=3, widest=2, block_size=30),
]
FLAGS = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "20", "--batch-size", "4"]
FLAGS += ["--steps", "6", "--eval-every", "3", "--checkpoint-every", "3", "--warmup", "1", "--quiet"]
FLAGS += ["--eval-bases", "300", "--final-bases", "900", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module", autouse=True)
def low_orders():
    """Count models of few bases, which are quick to count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dnalm.evaluate.language.HIGHEST_ORDER", 4)
        yield


@pytest.fixture(scope="module")
def genomes(tmp_path_factory):
    """Two genomes, of A and C and of G and T alone, so that a window shows which it is of; one:B is val."""
    folder, draws = tmp_path_factory.mktemp("species"), np.random.default_rng(0)
    for name, letters in (("one", "AC"), ("two", "GT")):
        texts = {contig: "".join(draws.choice(list(letters), 2_000)) for contig in "AB"}
        (folder / f"{name}.fa").write_text("".join(f">{key}\n{text}\n" for key, text in texts.items()))
    paths = (folder / "one.fa", folder / "two.fa")
    plan = Plan(paths, folder / "data", val_contigs=("one:B",), genome_names=("one", "two"))
    return {mode: PreparedGenome(path) for mode, path in prepare(plan).items()}


def build(shape, names=NAMES, seed=0):
    """A model, with random vectors of genomes where it has names."""
    torch.manual_seed(seed)
    model = LanguageModel(type(shape)(**vars(shape) | {"species_token": names}), 4).eval()
    if names:
        torch.nn.init.normal_(model.transformer.species.weight, std=0.5)
    return model


def batch_of(rows, length=30):
    tokens = torch.randint(4, (rows, length), generator=torch.Generator().manual_seed(1))
    return tokens, torch.ones_like(tokens, dtype=torch.bool)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_an_untrained_model_is_the_same_with_species_and_without(shape):
    tokens, real = batch_of(3)
    plain, named = build(shape, ""), build(shape)
    torch.nn.init.zeros_(named.transformer.species.weight)  # as at the start of training
    torch.testing.assert_close(named(tokens, real), plain(tokens, real), rtol=0, atol=0)
    assert set(named.state_dict()) - set(plain.state_dict()) == {"transformer.species.weight"}
    assert plain(tokens, real).shape == named(tokens, real).shape == (3, 30, 4)  # no species is predicted
    torch.manual_seed(0)
    fresh = LanguageModel(named.transformer.config, 4)
    assert not fresh.transformer.species.weight.any()


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_a_row_depends_on_its_own_species_alone(shape):
    model, (tokens, real) = build(shape), batch_of(4)
    together = model(tokens, real, torch.tensor([0, 1, 2, 1]))
    alone = [model(tokens[i : i + 1], real[i : i + 1], torch.tensor([s])) for i, s in enumerate([0, 1, 2, 1])]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)  # batched products
    unknown = model(tokens, real)
    torch.testing.assert_close(unknown[0], together[0], rtol=1e-5, atol=1e-5)
    assert all((unknown[row] - together[row]).abs().max() > 1e-3 for row in (1, 2, 3))
    model.transformer.species.row = 1
    torch.testing.assert_close(model(tokens, real)[1], together[1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_causal_model_stays_causal_and_branches_as_it_reads():
    model, (tokens, real) = build(SHAPES[0]), batch_of(2)
    species, other = torch.tensor([1, 2]), tokens.clone()
    other[:, 15:] = 3 - other[:, 15:]
    change = (model(other, real, species) - model(tokens, real, species)).abs().amax(dim=(0, 2))
    assert change[:15].max() == 0
    assert change[15:].min() > 0
    model.transformer.species.row = 2
    start = torch.tensor([10])
    _, found = branch_logits(model, tokens[:1], other[1:, 10:], torch.tensor([0]), start)
    joined = torch.cat([tokens[:1, :10], other[1:, 10:]], dim=1)
    expected = model(joined, torch.ones_like(joined, dtype=torch.bool))[:, 10:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["full", "vocab4"])
@pytest.mark.parametrize("masked", [False, True])
def test_windows_name_their_genome_but_a_tenth_and_are_the_same_without(genomes, mode, masked):
    genome, how = genomes[mode], {"masked": masked, "rc_augment": False}
    named = LanguageWindows(genome, 20, 500, 3, **how, species="two,one").batch(0)
    plain = LanguageWindows(genome, 20, 500, 3, **how).batch(0)
    assert plain.species is None
    torch.testing.assert_close(named.tokens, plain.tokens, rtol=0, atol=0)
    text = genome.tokenizer.decode(named.targets.numpy().reshape(-1))
    first = [{*text[20 * row : 20 * row + 10]} & {*"ACGT"} for row in range(500)]  # in full, less a header
    wanted = np.array([2 if found <= {*"AC"} else 1 for found in first])
    species = named.species.numpy()
    assert 0.5 * UNKNOWN < (species == 0).mean() < 1.6 * UNKNOWN
    assert ((species == wanted) | (species == 0)).mean() > 0.97  # a window of full may hold the end of one
    parts = [LanguageWindows(genome, 20, 500, 3, **how, species="two,one").batch(0, r, 2) for r in (0, 1)]
    assert torch.equal(torch.stack([part.species for part in parts], dim=1).reshape(-1), named.species)


def test_evaluation_reads_validation_as_of_its_genome(genomes):
    genome, model = genomes["vocab4"], build(SHAPES[0])
    bits = score(model, genome, "val", 0, 30, species=NAMES).bits_per_base
    model.transformer.species.row = 1
    assert score(model, genome, "val", 0, 30).bits_per_base == pytest.approx(bits, rel=1e-6)
    model.transformer.species.row = 2
    assert score(model, genome, "val", 0, 30).bits_per_base != pytest.approx(bits, rel=1e-3)
    assert species_rows(genome, "two").tolist() == [0, 1]  # a genome without a name there is unknown


def test_from_the_command_line_to_a_model_that_knows_its_genomes(genomes, tmp_path, capsys):
    data, out = genomes["vocab4"].folder, tmp_path / "out"
    run = ["pretrain", "--data", str(data), "--out", str(out), *FLAGS, "--species-token"]
    assert main([*run, "all"]) == 0
    record = read_json(out / "vocab4" / "run.json")
    assert record["recipe"]["encoder"]["species_token"] == NAMES
    assert not (out / "ckpt_vocab4.pt").exists()  # the published files have no such model
    text = ["ACCACAACAACCACACACAAAC"]
    path = out / "vocab4"
    unknown, one, two = (dnalm.load(path, species=name).score(text) for name in (None, "one", "two"))
    assert len({each.bits_per_base[0] for each in (unknown, one, two)}) == 3
    assert dnalm.load(path, species="unknown").score(text).bits_per_base == unknown.bits_per_base
    with pytest.raises(InputError, match="this model knows unknown, one, two; got 'three'"):
        dnalm.load(path, species="three")
    start = start_from_core(out, "vocab4", RegressionHeadConfig(), TuneConfig())
    assert "every window as one of an unknown genome" in start.caution
    fasta = tmp_path / "s.fa"
    fasta.write_text(f">s\n{text[0]}\n")
    table = tmp_path / "s.tsv"
    command = ["score", str(path), "--fasta", str(fasta), "--out", str(table), "--quiet", "--device", "cpu"]
    assert main([*command, "--species", "one"]) == 0
    assert main([*command, "--species", "three", "--overwrite"]) == 2
    capsys.readouterr()
    again = ["--overwrite", "--out", str(tmp_path / "other")]
    assert main([*run, "one,three", *again]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "no genome 'three'" in message
    assert "there are one, two" in message
    assert not (tmp_path / "other" / "vocab4").exists()


def test_species_need_named_genomes_and_a_model_that_has_them(toy, tmp_path, capsys):
    run = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path), *FLAGS]
    assert main([*run, "--species-token", "all"]) == 2
    assert "needs named genomes" in " ".join(capsys.readouterr().err.split())
    assert main(run) == 0
    assert read_json(tmp_path / "vocab4" / "run.json")["recipe"]["encoder"]["species_token"] == ""
    with pytest.raises(InputError, match="this model has none"):
        dnalm.load(tmp_path / "vocab4", species="one")
