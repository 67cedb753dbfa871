"""Published parameter counts, sizes that are refused, and models/sizes.py with `dnalm pretrain --size`."""

from dataclasses import replace

import pytest
import torch

from dnalm.checkpoint import load
from dnalm.cli import main
from dnalm.commands import pretrain
from dnalm.commands.pretrain import default_options
from dnalm.errors import InputError
from dnalm.models import sizes
from dnalm.models.bags import KmerBag, KmerConfig, MorganBag, MorganConfig
from dnalm.models.binding import BindingModel, BindingShape, TuneConfig
from dnalm.models.chemberta import ChemBERTaConfig
from dnalm.models.cnn import CNNConfig
from dnalm.models.cross_attention import CrossAttentionConfig, CrossAttentionHead
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.gene_cnn import GeneCNN, GeneCNNConfig
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.heads import PairHead, PairHeadConfig, RegressionHead, RegressionHeadConfig
from dnalm.models.language import LanguageModel
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import EncodersConfig, InteractionShape
from dnalm.models.sizes import SIZES, auto_size
from dnalm.models.smiles_lstm import SmilesLSTM, SmilesLSTMConfig
from dnalm.tokens.characters import HG38_CHARACTERS

LEARNED, LETTERS = GPTConfig(position="learned"), "".join(chr(40 + at) for at in range(40))
GATES = 4 * 128
LSTM = 41 * 128 + 2 * (GATES * (128 + 128) + 2 * GATES) + 2 * (GATES * (256 + 128) + 2 * GATES)
PAIR_HEAD = (256 * 128 + 128 + 128) + (512 * 256 + 256) + (256 * 128 + 128) + (128 * 64 + 64) + (64 + 1)
ATTENTION = {"gene_projection": 393_728, "molecule_projection": 197_120, "fusion": 657_152}
ATTENTION |= {"gene_attending": 2_102_784, "molecule_attending": 2_102_784, "classifier": 41_217}


@pytest.mark.parametrize(
    ("build", "counts"),
    [
        (lambda: GeneCNN(GeneCNNConfig()), 296_896),
        (lambda: SmilesLSTM(SmilesLSTMConfig(), 40), LSTM),
        (lambda: KmerBag(KmerConfig()), 256 * 256),
        (lambda: MorganBag(MorganConfig()), 2048 * 256),
        (lambda: LanguageModel(LEARNED, 40), 7_211_904),
        (lambda: LanguageModel(GPTConfig(), 4), 7_082_880),
        (lambda: DNABert2(DNABert2Config()), 3_148_800 + 12 * 9_444_096),
        (lambda: RegressionHead(128, RegressionHeadConfig()), 180_737),
        (lambda: RegressionHead(384, RegressionHeadConfig()), 541_697),
        (lambda: RegressionHead(768, RegressionHeadConfig()), 1_083_137),
        (lambda: PairHead(256, 256, PairHeadConfig()), PAIR_HEAD),
        (lambda: CrossAttentionHead(768, 384, CrossAttentionConfig()), ATTENTION),
        (lambda: BindingModel(BindingShape(LEARNED, HG38_CHARACTERS)), 7_753_601),
        (
            lambda: BindingModel(BindingShape(GPTConfig(), "ACGT", tuning=TuneConfig(both_strands=True))),
            8_166_017,
        ),
        # About 1.2 million, not the 5 million that its paper speaks of.
        (lambda: InteractionModel(InteractionShape(characters=LETTERS)), 296_896 + LSTM + PAIR_HEAD),
    ],
)
def test_parameter_counts_are_the_published_ones(build, counts):
    with torch.device("meta"):
        made = build()
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in made.named_children()}
    whole = sum(p.numel() for p in made.parameters())
    assert counts == (parts if isinstance(counts, dict) else whole)


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (GPTConfig, {"n_embd": 10, "n_head": 3}, "n_embd must be a multiple of n_head, got 10 and 3"),
        (GPTConfig, {"n_embd": 6, "n_head": 2}, "rotary positions need an even"),
        (GPTConfig, {"n_layer": 0, "dropout": 1.0}, "n_layer must be at least 1, got 0; dropout must be"),
        (GPTConfig, {"position": "absolute"}, "position must be learned or rotary, got 'absolute'"),
        (CNNConfig, {"width": 0, "encoder_kernel": 4}, "width must be .* encoder_kernel must be"),
        (RegressionHeadConfig, {"kernel": 10, "channels": 0}, "channels must be .* kernel must be odd"),
        (RegressionHeadConfig, {"head_dropout": 1.0}, "head_dropout must be at least 0 and below 1"),
        (CrossAttentionConfig, {"width": 10, "heads": 4, "head_dropout": 1.0}, "got 10 and 4; head_dropout"),
        (ChemBERTaConfig, {"layers": 0, "eps": 0.0}, "layers must be at least 1, got 0; eps must be above 0"),
        (ChemBERTaConfig, {"padding_idx": 514}, "positions must be at least 516, got 515"),
        (ChemBERTaConfig, {"padding_idx": -1}, "padding_idx must be at least 0"),
        (ChemBERTaConfig, {"dropout": 1.0, "attention_dropout": -0.1}, "dropout must .*; attention_dropout"),
        (EncodersConfig, {"dna_length": 0, "smiles_length": 0}, "dna_length must .*; smiles_length must"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(config, wrong, message):
    with pytest.raises(ValueError, match=message):
        config(**wrong)


@pytest.mark.parametrize("name", SIZES)
def test_a_size_has_the_parameters_of_its_name(name):
    config = GPTConfig(**SIZES[name]._asdict())
    with torch.device("meta"):
        count = sum(p.numel() for p in GPT(config, 4).parameters())
    assert count == pytest.approx(int(name[:-1]) * 1e6, rel=0.05)
    assert config.n_embd % (64 if name != "7M" else 96) == 0


def test_larger_models_have_lower_rates_and_the_published_one_its_own():
    default = default_options("default")
    assert default_options("default", "7M").train == default.train
    assert default_options("default", "7M").encoder == default.encoder
    rates = [default_options("default", name).train.lr for name in ("1M", "3M", "10M", "30M", "100M", "350M")]
    assert rates == sorted(rates, reverse=True)
    assert rates[4] == pytest.approx(default.train.lr / 2**0.5)  # twice as wide


def test_auto_is_the_small_model_up_to_a_length_and_leaves_other_recipes_as_they_are(
    toy, tmp_path, monkeypatch, capsys
):
    data = str(toy["vocab4"].folder)
    small, published = default_options("default", "1M"), default_options("published")
    found = default_options(data=data)
    assert (found.encoder, found.train) == (small.encoder, small.train)
    assert default_options("published", data=data) == published
    assert default_options("published", "7M").encoder == published.encoder
    assert default_options(data=data, n_embd="384") == default_options()
    flags = ["pretrain", "--data", data, "--out", str(tmp_path / "o"), "--dry-run", "--block-size", "16"]
    shape = ["--n-layer", "1", "--n_embd", "8", "--n-head", "1"]
    assert main([*flags, *shape]) == 0
    assert "--size auto" not in capsys.readouterr().err
    bases = toy["vocab4"].meta["counts"]["train_bases"]
    for limit, size in ((bases, "1M"), (bases - 1, "7M")):
        monkeypatch.setattr(sizes, "SMALL_GENOME", limit)
        assert auto_size(bases) == size
    with pytest.raises(InputError, match="expected auto, 1M, 3M.* got '2M'"):
        default_options("default", "2M")


def test_a_run_says_which_size_auto_took_and_why(toy, tmp_path, monkeypatch, capsys):
    class Made(Exception):
        """Instead of a run."""

    def run(options, *_rest, **_named):
        raise Made(options.encoder.n_embd, options.train.lr)

    monkeypatch.setattr(pretrain, "PretrainRun", run)
    options = replace(default_options(data=str(toy["vocab4"].folder)), data=toy["vocab4"].folder)
    with pytest.raises(Made, match=r"128, 0.000866"):
        pretrain.run(options)
    first = capsys.readouterr().err.splitlines()[0]
    assert (
        first == "size 1M, by --size auto: 0.0 million training bases; 1M is for up to 12 million, 7M beyond"
    )


def test_flags_win_over_a_size(toy, tmp_path, capsys):
    flags = ["--size", "100M", "--n-layer", "1", "--n-embd", "8", "--n-head", "1", "--block-size", "16"]
    data = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(tmp_path / "o"), "--dry-run"]
    assert main([*data, *flags]) == 0
    assert "824 parameters" in capsys.readouterr().err  # 12 x 64, and 8 for each of 4 letters and 3 norms


def test_checkpointing_changes_no_weight(toy, tmp_path):
    shape = "--n-layer 2 --n-embd 8 --n-head 1 --block-size 16 --steps 3 --eval-bases 50 --quiet --device cpu"
    found = []
    for name, flags in (("plain", []), ("sparing", ["--gradient-checkpointing"])):
        out = tmp_path / name
        data = ["pretrain", "--data", str(toy["vocab4"].folder), "--out", str(out), *shape.split(), *flags]
        assert main(data) == 0
        found.append(load(out / "vocab4" / "last")[0])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
