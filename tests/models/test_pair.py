"""Tests for dnalm/models/pair.py and pair_shape.py."""

import numpy as np
import pytest
import torch

from dnalm import checkpoint
from dnalm.data.pair_batches import PairRows
from dnalm.data.pairs import PairSet
from dnalm.evaluate.pair_scores import cross_entropy
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.gene_cnn import GeneCNNConfig
from dnalm.models.heads import PairHeadConfig
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_shape import InteractionShape
from dnalm.models.smiles_lstm import SmilesLSTMConfig
from dnalm.train.pairs import InteractionTask

SMILES = ["CCO", "CCN", "c1ccccc1", "c1ccccc1N", "CC(=O)O", "CC(=O)N", "CCCCCCO", "CCCCCCN"]
CHARACTERS = "".join(sorted(set("".join(SMILES))))
CNN = GeneCNNConfig(embedding=8, channels=(8, 8, 16), kernels=(3, 5, 7), dropout=0.2)
LSTM = SmilesLSTMConfig(embedding=8, hidden=8)
SHAPES = {
    "original": InteractionShape(CNN, LSTM, characters=CHARACTERS),
    "kmer-morgan": InteractionShape(
        KmerConfig(k=2, width=6), MorganConfig(bits=64, width=6), PairHeadConfig("mean", "mean")
    ),
}


def pair_set(genes=12) -> PairSet:
    """Every gene with every molecule; they interact when the gene has GATAAG and the molecule nitrogen."""
    draws = np.random.default_rng(0)
    sequences = ["".join(draws.choice(list("ACGT"), int(draws.integers(9, 60)))) for _ in range(genes)]
    sequences = [text[:3] + "GATAAG" + text[9:] if row % 2 else text for row, text in enumerate(sequences)]
    gene, molecule = np.divmod(np.arange(genes * len(SMILES)), len(SMILES))
    label = (gene % 2 * np.array(["N" in text for text in SMILES])[molecule]).astype(np.uint8)
    rows = np.arange(len(gene))
    parts = {"train": rows[rows % 3 > 0], "validation": rows[rows % 3 == 0], "test": rows[:0]}
    of_genes = [f"g{row}" for row in range(genes)], sequences, ["promoter"] * genes, np.arange(genes)
    of_pairs = gene, molecule, label, parts, {"digest": "d", "split": "random"}
    return PairSet(*of_genes, SMILES, [""] * len(SMILES), *of_pairs)


def model(name="original") -> InteractionModel:
    torch.manual_seed(0)
    return InteractionModel(SHAPES[name])


def task(pairs, name="original") -> InteractionTask:
    shape = SHAPES[name]
    train, validation = (PairRows.of(pairs, part) for part in ("train", "validation"))
    return InteractionTask(shape, shape.tokens(pairs), train, validation, {"kind": shape.kind})


@pytest.fixture(params=sorted(SHAPES))
def name(request):
    if "morgan" in request.param:
        pytest.importorskip("rdkit")
    return request.param


def test_genes_and_molecules_are_cut_to_what_is_read():
    shape = InteractionShape(CNN, LSTM, characters="CNO", dna_length=10, smiles_length=3)
    tokens = shape.tokens(pair_set())
    assert tokens.genes.take(np.arange(12))[0].shape == (12, 10)
    assert tokens.molecules.take(np.arange(8))[0].shape == (8, 3)
    found = tokens.molecules.take(np.array([1, 2]))[0]
    assert found.tolist() == [[1, 1, 2], [0, 0, 0]]  # CCN, and c1c unknown


def test_prediction_is_that_of_the_batch_and_leaves_the_model_as_it_was(name, monkeypatch):
    pairs, made = pair_set(), model(name).train()
    before = {key: tensor.clone() for key, tensor in made.state_dict().items()}
    job = task(pairs, name)
    rows = np.random.default_rng(1).permutation(len(pairs.label))
    given = job.tokens, pairs.gene[rows], pairs.molecule[rows]
    logits = predict(made, *given)
    assert logits.dtype == np.float64
    assert np.array_equal(predict(made, *given), logits)  # no dropout
    assert made.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in made.state_dict().items())
    for batch in (1, 5):
        monkeypatch.setattr("dnalm.models.pair.ENCODE_BATCH", batch)
        monkeypatch.setattr("dnalm.models.pair.CLASSIFY_BATCH", batch)
        np.testing.assert_allclose(predict(made, *given), logits, atol=1e-5)  # sums in another order
    batch = job.windows(200, 0).batch(0)
    with torch.no_grad():
        whole = made.eval()(*batch[:-1])
    train = job.train.take(job.windows(200, 0).rows(0))
    np.testing.assert_allclose(predict(made, job.tokens, train.gene, train.molecule), whole, atol=1e-5)
    assert len(predict(made, job.tokens, rows[:0], rows[:0])) == 0


def test_a_molecule_encoded_once_has_the_gradients_of_one_encoded_for_each_pair():
    made, pairs = model().double(), pair_set()
    made.gene.eval()  # without dropout
    made.head.eval()
    batch = task(pairs).windows(40, 0).batch(0)
    every = torch.arange(40)
    gradients = []
    for molecules, real, which in (
        (batch.molecules, batch.molecules_real, batch.molecule),
        (batch.molecules[batch.molecule], batch.molecules_real[batch.molecule], every),
    ):
        logits = made(batch.genes, batch.genes_real, molecules, real, batch.gene, which)
        gradients.append(torch.autograd.grad(logits.square().sum(), list(made.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_loss_and_scores_worked_out_by_hand():
    pairs, made = pair_set(), model().eval()
    job = task(pairs)
    logits = predict(made, job.tokens, job.train.gene, job.train.molecule)
    batch = job.windows(500, 0).batch(0)
    probability = 1 / (1 + np.exp(-logits))
    wanted = -np.log(np.where(job.train.label == 1, probability, 1 - probability)).mean()
    assert float(job.loss(made, batch).detach()) == pytest.approx(wanted, rel=1e-5)
    scores = job.evaluate(made)
    assert scores["train_loss"] == pytest.approx(wanted, rel=1e-5)
    held = predict(made, job.tokens, job.validation.gene, job.validation.molecule)
    won = held[job.validation.label == 1][:, None] - held[job.validation.label == 0]
    area = ((won > 0) + 0.5 * (won == 0)).mean()
    assert scores["val_auroc"] == pytest.approx(area, abs=1e-12)
    assert scores["val_loss"] == 1 - scores["val_auroc"]
    assert scores["val_bce"] == pytest.approx(cross_entropy(job.validation.label, held))


def test_can_learn_a_rule_that_needs_gene_and_molecule(name):
    torch.manual_seed(0)
    pairs, made = pair_set(), model(name)
    job = task(pairs, name)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    batches = job.windows(32, 0)
    for step in range(150):
        loss = job.loss(made, batches.batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = job.evaluate(made)
    assert scores["train_loss"] < 0.1  # against 0.56 for guessing the prevalence of a quarter
    assert scores["val_auroc"] > 0.9


def test_saved_and_opened_it_predicts_the_same(name, tmp_path):
    pairs, made = pair_set(), model(name)
    job = task(pairs, name)
    made.train()
    made(*job.windows(16, 0).batch(0)[:-1])  # moves the running statistics
    checkpoint.save(tmp_path / "mine" / "checkpoint", job.weights(made), job.describe())
    opened = open_interaction(tmp_path / "mine")
    assert opened.model.shape == job.shape
    assert (opened.name, opened.about) == ("mine", {"kind": job.shape.kind})
    assert not opened.model.training
    checkpoint.save(tmp_path / "lm", {"x": torch.zeros(1)}, {"kind": "language"})
    with pytest.raises(ValueError, match="expected a model of kind 'interaction', got one of kind 'langua"):
        open_interaction(tmp_path / "lm")
    wanted = predict(made, job.tokens, pairs.gene, pairs.molecule)
    assert np.array_equal(
        predict(opened.model, opened.model.shape.tokens(pairs), pairs.gene, pairs.molecule), wanted
    )


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("which", ["train", "validation"])
def test_a_part_of_one_class_is_refused(value, which):
    pairs = pair_set()
    pairs.label[pairs.parts[which]] = value
    positive = value * len(pairs.parts[which])
    part_name = "training" if which == "train" else which
    with pytest.raises(ValueError, match=f"the {part_name} part has .* pairs, {positive} of them positive"):
        task(pairs)
