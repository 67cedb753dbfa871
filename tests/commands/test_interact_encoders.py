"""Tests of models of pairs on frozen encoders, from training to results."""

import shutil
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from dnalm.commands import interact_evaluate
from dnalm.commands.interact_train import run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import InputEncoder, shape_of, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.train.pairs import InteractionTask

CPU = Compute(device="cpu", precision="fp32")
RUN = RunOptions(compute=CPU, quiet=True)
SMALL = CrossAttentionConfig(width=16, heads=2, feed_forward=16)


@pytest.fixture
def encoded(monkeypatch):
    """Texts that frozen encoders encode, in order."""
    texts, encode = [], PretrainedEncoder.encode
    monkeypatch.setattr(PretrainedEncoder, "encode", lambda self, t: texts.extend(t) or encode(self, t))
    return texts


def inputs(folder):
    return InputEncoder(folder, CPU.processor(), print)


@pytest.mark.parametrize(
    ("dna", "mol", "poolings", "characters"),
    [("kmer", "lstm", ("mean", "attention"), "CO"), ("cnn", "morgan", ("max", "mean"), "")],
)
def test_each_encoder_has_its_pooling(pair_folder, dna, mol, poolings, characters):
    shape, pretrained = shape_of(EncodersConfig(dna, mol, 50, 20), lambda: "CO", None)
    assert (shape.head.gene_pooling, shape.head.molecule_pooling) == poolings
    assert (shape.names, shape.kind, shape.characters) == ((dna, mol), f"{dna}-{mol}", characters)
    assert (shape.dna_length, shape.smiles_length, bool(pretrained)) == (50, 20, False)
    # A batch holds a gene of several pairs once, unless normalisation counts them.
    shape, _ = shape_of(EncodersConfig(dna, "morgan"), lambda: "", SMALL if dna == "kmer" else None)
    assert shape.tokens(open_pairs(pair_folder)).distinct_genes == (dna == "kmer")


def test_each_gene_is_encoded_once_ever(foundation, pair_folder, encoded):
    assert store_of(None, pair_folder) == pair_folder.parent / "states"  # where no other is given
    assert store_of(foundation.store, pair_folder) == foundation.store
    run(foundation)
    assert sorted(encoded) == sorted(open_pairs(pair_folder).sequences)  # of all parts, in two epochs
    pooled = replace(foundation, out=foundation.out.with_name("pooled"), model="foundation-pooled")
    run(pooled)
    out = foundation.out.parent / "evaluation.json"
    judging = EvaluationOptions(compute=CPU, quiet=True, out=out)
    runs = (foundation.out, pooled.out)
    interact_evaluate.run(
        interact_evaluate.Options(runs, pair_folder, store=foundation.store, judging=judging)
    )
    assert len(encoded) == 16
    kinds = {name: each["model"]["kind"] for name, each in read_json(out)["models"].items()}
    mine = "foundation (vocab4 + morgan)"
    assert kinds == {"mine": mine, "pooled": mine.replace("foundation", "foundation-pooled")}


def test_results_count_frozen_parameters_and_states_are_scaled_by_training_genes(foundation, monkeypatch):
    run(foundation)
    model, pairs = open_interaction(foundation.out).model, open_pairs(foundation.data)
    tokens = inputs(foundation.store).tokens(model, pairs)
    frozen, results = model.shape.gene, read_json(foundation.out / "results.json")
    assert (frozen.frozen, frozen.causal) == (True, True)
    assert results["model"]["trained_parameters"] == model.parameter_count
    assert results["model"]["parameters"] == model.parameter_count + frozen.parameters
    assert frozen.parameters > 0
    rows = pairs.parts["validation"]
    logits = predict(model, tokens, pairs.gene, pairs.molecule)
    label = pairs.label[rows]
    won = logits[rows][label == 1][:, None] - logits[rows][label == 0]
    area = ((won > 0) + 0.5 * (won == 0)).mean()
    assert results["validation"]["auroc"]["value"] == pytest.approx(area, abs=1e-12)
    monkeypatch.setattr("dnalm.models.pair.ATTEND_BATCH", 7)  # what is predicted together does not matter
    parts = predict(model, tokens, pairs.gene, pairs.molecule)
    np.testing.assert_allclose(parts, logits, atol=1e-5)  # float32

    def scaled(genes):
        states, real = tokens.genes.take(genes)
        return model.gene(states, real)[real]

    of_training = scaled(np.unique(pairs.gene[pairs.parts["train"]]))
    np.testing.assert_allclose(of_training.mean(0), 0.0, atol=1e-4)
    assert float(of_training.std(0).max()) == pytest.approx(1.0, abs=0.01)
    few = np.arange(4)
    model.calibrate(tokens, few, few)
    assert np.allclose(scaled(few).mean(0), 0.0, atol=1e-4)
    assert not np.allclose(scaled(np.arange(4, 16)).mean(0), 0.0, atol=1e-4)


def test_an_encoder_that_is_gone_is_needed_only_where_states_are_missing(foundation, binding, tmp_path):
    gone = tmp_path / "core"
    shutil.copytree(binding.outputs / "vocab4", gone)
    options = replace(foundation, encoders=replace(foundation.encoders, dna_encoder=str(gone)))
    run(options)
    shutil.rmtree(gone)
    model, pairs = open_interaction(options.out).model, open_pairs(options.data)
    inputs(options.store).tokens(model, pairs)
    with pytest.raises(InputError, match="cannot be opened"):
        inputs(tmp_path / "empty").tokens(model, pairs)
    shutil.copytree(binding.outputs / "full", gone)
    with pytest.raises(InputError, match="other weights"):
        inputs(tmp_path / "empty").tokens(model, pairs)
    with pytest.raises(InputError, match="resume"):
        run(replace(options, run=replace(RUN, resume=True)))


def test_an_encoder_that_does_not_exist_is_refused_with_the_nearest_name(tmp_path):
    for encoders, message in (
        (EncodersConfig("kmers", "morgan"), "`dna_encoder`: .*mean kmer"),
        (EncodersConfig("cnn", "lstn"), "`mol_encoder`: .*mean lstm"),
        (EncodersConfig("a/b/none", "lstm"), "`dna_encoder`: .*a/b/none.* or a hub name"),
        (EncodersConfig("cnn", "outputs/none"), "`mol_encoder`: .*outputs/none.*commit"),
        (EncodersConfig(str(tmp_path), "morgan"), "config.json: missing"),
    ):
        with pytest.raises(InputError, match=message):
            shape_of(encoders, lambda: "CO", None)


def test_a_dry_run_encodes_nothing_and_reports_what_does_not_fit(foundation, capsys, encoded, monkeypatch):
    dry = replace(foundation, run=replace(RUN, dry_run=True))
    run(dry)
    assert "would encode 16 genes and molecules" in capsys.readouterr().out
    assert not encoded
    assert not foundation.store.exists()
    run(foundation)
    other = replace(dry, out=foundation.out.with_name("other"))
    run(other)
    assert "GB of memory" in capsys.readouterr().out
    assert len(encoded) == 16
    for size, accumulate, smallest in ((16, 16, 16), (18, 9, 8), (76, 38, 4)):  # of 80 pairs
        train = replace(other.train, batch_size=size, accumulate=accumulate)
        for how in (other.run, RUN):
            with pytest.raises(InputError, match=f"has {smallest} rows"):
                run(replace(other, train=train, run=how))
    monkeypatch.setattr(
        InteractionTask, "loss", Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    )
    with pytest.raises(InputError, match="memory ran out"):
        run(other)
    assert not other.out.exists()
