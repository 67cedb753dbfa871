"""Tests for dnalm/commands/interact_screen.py and dnalm/formats/smiles.py."""

import csv
import gzip
import json

import numpy as np
import pytest

from dnalm.commands.interact_screen import Options, run
from dnalm.commands.interact_train import Options as TrainOptions
from dnalm.commands.interact_train import run as train
from dnalm.commands.runs import RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.devices import Compute
from dnalm.evaluate.interaction import probability
from dnalm.formats.smiles import read_molecules
from dnalm.heads.cross_attention import CrossAttentionConfig
from dnalm.optim import EpochConfig
from dnalm.tasks.interaction import predict
from dnalm.tasks.interaction_load import open_interaction
from dnalm.tasks.interaction_model import EncodersConfig, Texts

CPU = Compute(device="cpu", precision="fp32")
LIBRARY = """# a comment
CCO ethanol
OCC	the same
nonsense what

CCCl
[Na+].CC(=O)[O-] acetate
c1ccccc1  benzene
"""


@pytest.fixture(scope="module")
def model(pair_folder, tmp_path_factory):
    pytest.importorskip("rdkit")
    out = tmp_path_factory.mktemp("runs") / "mine"
    train(
        TrainOptions(
            data=pair_folder,
            model="foundation",
            out=out,
            encoders=EncodersConfig("kmer", "morgan"),
            attention=CrossAttentionConfig(16, 2, 16),
            train=EpochConfig(epochs=3, batch_size=16, lr=3e-3),
            run=RunOptions(compute=CPU, quiet=True),
        )
    )
    return out


@pytest.fixture
def screen(model, pair_folder, tmp_path):
    """Screens, and returns the rows of the table."""

    def start(**options):
        out = tmp_path / "ranked.tsv"
        run(Options(model, data=pair_folder, out=out, compute=CPU, **options))
        with out.open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    return start


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "my lib.smi"
    path.write_text(LIBRARY)
    return path


def expected(model, genes, smiles):
    """Probabilities worked out from the parts."""
    opened = open_interaction(model)
    temperature = json.loads((model / "results.json").read_text())["temperature"]
    tokens = opened.model.shape.tokens(Texts(genes, smiles))
    pairs = [(gene, molecule) for gene in range(len(genes)) for molecule in range(len(smiles))]
    rows = np.array(pairs)
    return probability(predict(opened.model, tokens, rows[:, 0], rows[:, 1]), temperature)


def test_molecules_are_ranked_by_their_probability(screen, model, pair_folder, library, capsys):
    rows = screen(gene="g3", molecules=library)
    wanted = {"ethanol": "CCO", "CCCl": "CCCl", "acetate": "CC(=O)[O-]", "benzene": "c1ccccc1"}
    assert {row["name"]: row["gene_or_smiles"] for row in rows} == wanted
    gene = open_pairs(pair_folder).sequences[3]
    by_name = dict(zip(wanted, expected(model, [gene], list(wanted.values())), strict=True))
    for row in rows:
        assert float(row["probability"]) == pytest.approx(by_name[row["name"]], abs=1e-5)
    scores = [float(row["probability"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4]
    said = capsys.readouterr().err
    assert "my lib.smi: line 4: 'nonsense' is no molecule; left out" in said
    assert "1 molecules are there more than once" in said
    assert "node rate" in said
    assert "negatives degree-matched" in said


def test_training_pairs_are_counted(screen, pair_folder, library):
    found = {row["name"]: int(row["training_pairs"]) for row in screen(gene="g3", molecules=library)}
    pairs = open_pairs(pair_folder)
    benzene = (pairs.molecule[pairs.parts["train"]] == pairs.smiles.index("c1ccccc1")).sum()
    assert found["benzene"] == benzene > 0
    assert found["CCCl"] == found["ethanol"] == 0


def test_genes_are_ranked_for_a_molecule(screen, model, pair_folder):
    rows = screen(molecule="OCC")
    pairs = open_pairs(pair_folder)
    wanted = dict(zip(pairs.gene_ids, expected(model, pairs.sequences, ["CCO"]), strict=True))
    assert {row["name"] for row in rows} == set(wanted)
    for row in rows:
        assert float(row["probability"]) == pytest.approx(wanted[row["name"]], abs=1e-5)


def test_own_genes_may_be_given(screen, tmp_path):
    (tmp_path / "genes.fa").write_text(">new\nacgtacgtacgt\n>none\nNNNN\n>other\nGGGGCCCCAAAATTTT\n")
    assert {row["name"] for row in screen(molecule="CCO", genes=tmp_path / "genes.fa")} == {"new", "other"}


def test_one_molecule_in_the_library_is_a_ranking_of_one(screen, tmp_path):
    (tmp_path / "one.smi").write_text("CCO\n")
    assert [row["name"] for row in screen(gene="g3", molecules=tmp_path / "one.smi")] == ["CCO"]


def test_without_a_library_the_molecules_of_the_set_are_ranked(screen, pair_folder):
    assert {row["name"] for row in screen(gene="g3")} == set(open_pairs(pair_folder).smiles)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of --gene"),
        ({"gene": "g3", "molecule": "CCO"}, "give one of --gene"),
        ({"gene": "g99"}, "--gene g99: not among the 16 genes of"),
        ({"molecule": "nonsense"}, "--molecule: expected a molecule as SMILES, got 'nonsense'"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(screen, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        screen(**options)
    assert not (tmp_path / "ranked.tsv").exists()


def test_a_library_of_no_molecule_is_refused(screen, tmp_path):
    (tmp_path / "bad.smi").write_text("nonsense\nmore nonsense\n")
    with pytest.raises(ValueError, match=r"bad.smi: none of its 2 rows is a molecule"):
        screen(gene="g3", molecules=tmp_path / "bad.smi")
    (tmp_path / "none.smi").write_text("\n")
    with pytest.raises(ValueError, match=r"none.smi: none of its 0 rows is a molecule"):
        screen(gene="g3", molecules=tmp_path / "none.smi")


def test_a_file_that_is_there_is_not_replaced_unasked(screen, tmp_path):
    (tmp_path / "ranked.tsv").write_text("mine")
    with pytest.raises(ValueError, match="is there already; --overwrite replaces it"):
        screen(gene="g3")
    assert screen(gene="g3", overwrite=True)


def test_other_pairs_than_it_was_trained_on_are_refused(model, pair_set, write_set, tmp_path):
    pair_set.label[0] ^= 1
    other = write_set(tmp_path / "other", pair_set)
    with pytest.raises(ValueError, match="trained on other pairs"):
        run(Options(model, gene="g3", data=other, compute=CPU))


def test_a_table_is_read_by_its_columns(tmp_path):
    path = tmp_path / "lib.csv.gz"
    path.write_bytes(gzip.compress(b'id,mass,smiles\nA1,46,CCO\n,32,"CO"\n'))
    rows = list(read_molecules(path))
    assert [tuple(row) for row in rows] == [(2, "A1", "CCO"), (3, "CO", "CO")]
    with pytest.raises(ValueError, match="got a folder"):
        list(read_molecules(tmp_path))
