"""Tests for dnalm/models/identity.py, and for pair models that have vectors of known genes and molecules."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import dnalm
from dnalm.commands.interact_train import Options, run
from dnalm.commands.runs import RunOptions
from dnalm.data.molecules import canonical_smiles
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute, Processor
from dnalm.errors import InputError
from dnalm.evaluate.pair_scores import probability
from dnalm.files import read_json
from dnalm.models.identity import IdentityOptions, IdentityVectors
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.optim import EpochConfig
from tests.commands.conftest import write_set

pytest.importorskip("rdkit")
RUN = RunOptions(compute=Compute(device="cpu", precision="fp32"), quiet=True)
IDENTITY = IdentityOptions(identity=True)
NEW_GENES = 3


@pytest.fixture
def data(pair_set, tmp_path):
    """Pairs whose last genes and last molecule have no training pair; the first gene is there twice."""
    sequences = [*pair_set.sequences]
    sequences[1] = sequences[0]
    rows, genes = np.arange(len(pair_set.gene)), len(sequences)
    known = (pair_set.gene < genes - NEW_GENES) & (pair_set.molecule < len(pair_set.smiles) - 1)
    parts = {
        "train": rows[known & (rows % 5 > 0)],
        "validation": rows[~known],
        "test": rows[known & (rows % 5 == 0)],
    }
    smiles = [str(canonical_smiles(text)) for text in pair_set.smiles]
    pairs = replace(pair_set, sequences=sequences, smiles=smiles, parts=parts)
    return write_set(tmp_path / "pairs", pairs)


def options(data, out, **changes):
    return replace(
        Options(
            data=data,
            out=out,
            encoders=EncodersConfig("kmer", "morgan"),
            identity=IDENTITY,
            train=EpochConfig(epochs=2, batch_size=16, lr=1e-2),
            run=RUN,
        ),
        **changes,
    )


@pytest.fixture
def trained(data, tmp_path):
    out = tmp_path / "runs" / "mine"
    run(options(data, out))
    return out


def logits_of(model, pairs, tmp_path):
    tokens = InputEncoder(tmp_path, Processor("cpu", "fp32"), print).tokens(model, pairs)
    return predict(model, tokens, pairs.gene, pairs.molecule)


def test_vectors_are_dropped_in_training_alone_and_new_ones_have_none():
    vectors = IdentityVectors(3, 4, 0.25)
    assert not vectors.embedding.weight.any()
    torch.nn.init.ones_(vectors.embedding.weight)
    vectors.set_known(["A", "C", "G"])
    assert vectors.rows(["C", "T", "G", "A", "c"]).tolist() == [1, -1, 2, 0, -1]
    rows = torch.tensor([0, -1, 2, 1]).repeat(5000)
    found = vectors.eval()(rows)
    assert torch.equal(found, (rows >= 0).float().unsqueeze(1).expand(-1, 4))
    torch.manual_seed(0)
    found = vectors.train()(rows).detach()
    assert torch.equal(found.amin(1), found.amax(1))  # the full vector, or none of it
    assert not found[rows < 0].any()
    assert float(found[rows >= 0].mean()) == pytest.approx(0.75, abs=0.01)


def test_a_new_gene_or_molecule_is_predicted_without_any_identity(trained, data, tmp_path):
    model, pairs = open_interaction(trained).model, open_pairs(data)
    rows = pairs.parts["train"]
    new_gene, new_molecule = (~np.isin(node, node[rows]) for node in (pairs.gene, pairs.molecule))
    assert (new_gene.sum(), new_molecule.sum()) == (NEW_GENES * len(pairs.smiles), len(pairs.sequences))
    before = logits_of(model, pairs, tmp_path)
    with torch.no_grad():
        model.identity["gene"].embedding.weight.normal_()
    of_genes = logits_of(model, pairs, tmp_path)
    assert np.array_equal(of_genes == before, new_gene)
    with torch.no_grad():
        model.identity["molecule"].embedding.weight.normal_()
    of_both = logits_of(model, pairs, tmp_path)
    assert np.array_equal(of_both == of_genes, new_molecule)
    assert np.array_equal(of_both == before, new_gene & new_molecule)


def test_genes_of_one_sequence_have_one_vector(trained, data, tmp_path):
    model, pairs = open_interaction(trained).model, open_pairs(data)
    assert model.shape.identities.genes == len(pairs.sequences) - NEW_GENES - 1
    logits = logits_of(model, pairs, tmp_path)
    np.testing.assert_allclose(logits[pairs.gene == 0], logits[pairs.gene == 1], atol=1e-6)


def test_a_checkpoint_knows_genes_and_molecules_by_their_text(trained, data, tmp_path):
    model, pairs = open_interaction(trained), open_pairs(data)
    rows = np.arange(0, len(pairs.gene), 5)
    genes = [pairs.sequences[row].lower() for row in pairs.gene[rows]]
    smiles = [pairs.smiles[row] for row in pairs.molecule[rows]]
    expected = probability(logits_of(model.model, pairs, tmp_path)[rows] / model.temperature)
    found = dnalm.load(trained, device="cpu").predict(genes, smiles)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert read_json(trained / "results.json")["model"]["kind"] == "kmer-morgan + identity"


def test_what_content_cannot_say_is_learned(pair_set, tmp_path):
    """All genes have the same 4-mers; which of them interact is theirs alone, and identity finds it."""
    ring = [*"ACGTACGGTTCAGCAT"]
    pairs = replace(
        pair_set,
        sequences=["".join(np.roll(ring, row)) * 20 for row in range(len(pair_set.sequences))],
        label=(pair_set.gene % 3 == 0).astype(np.uint8),
    )
    folder = write_set(tmp_path / "pairs", pairs)
    areas = {}
    for name, identity in (("content", IdentityOptions()), ("identity", IDENTITY)):
        train = EpochConfig(epochs=8, batch_size=16, lr=1e-2, patience=0)
        run(options(folder, tmp_path / name, identity=identity, train=train))
        areas[name] = read_json(tmp_path / name / "results.json")["validation"]["auroc"]["value"]
    assert areas["identity"] > 0.95
    assert areas["content"] < 0.85


def test_a_run_begins_with_another_of_the_same_identities(trained, data, tmp_path):
    again = options(data, tmp_path / "again", init_from=trained)
    run(again)
    with pytest.raises(InputError, match="differs in identities"):
        run(replace(again, out=tmp_path / "other", identity=IdentityOptions()))
    with pytest.raises(InputError, match="identity_dropout must be at least 0 and below 1, got 1"):
        IdentityOptions(identity_dropout=1.0)
