"""Tests for `dnalm interact train --model combined`: dnalm/train/combined.py and dnalm/models/combined.py."""

import csv
from dataclasses import replace

import numpy as np
import pytest

import dnalm
from dnalm.commands import interact_evaluate, interact_screen
from dnalm.commands.interact_train import Options, default_options, run
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.molecules import canonical_smiles
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.device import Compute, Processor
from dnalm.errors import InputError
from dnalm.evaluate.auroc import auroc
from dnalm.evaluate.baselines.ladder import ladder_scores
from dnalm.evaluate.pair_scores import probability
from dnalm.files import read_json
from dnalm.models.combined import STATES, CombinedModel
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import open_interaction
from dnalm.models.pair_knowledge import COLUMNS
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.combined import fit_knowledge, held_out
from dnalm.train.optim import EpochConfig

pytest.importorskip("rdkit")
pytest.importorskip("sklearn")
CPU = Compute(device="cpu", precision="fp32")
GENES, NEW = 60, 6


def make_set() -> PairSet:
    """60 genes and 40 molecules in blocks; degrees decide too, and the last of both are not trained on."""
    draws = np.random.default_rng(0)
    ends = ("O", "N", "F", "Cl", "S")
    rings = [f"{'C' * length}c1ccc({end})cc1" for length in range(1, 5) for end in ends]
    amides = [f"{'C' * length}C(=O)N{'C' * width}" for length in range(1, 6) for width in range(1, 5)]
    both = zip(rings, amides, strict=True)
    smiles = [str(canonical_smiles(each)) for pair in both for each in pair]
    gene, molecule = (axis.ravel() for axis in np.mgrid[:GENES, : len(smiles)])
    blocks = draws.permutation(GENES) % 2 == molecule.reshape(GENES, -1).T % 2
    often = draws.normal(size=GENES)[gene] + draws.normal(size=len(smiles))[molecule]
    chance = 1 / (1 + np.exp(-(3.0 * blocks.T.ravel() - 1.5 + often)))
    label = (draws.random(len(gene)) < chance).astype(np.uint8)
    order = draws.permutation(len(gene))
    new = (gene[order] >= GENES - NEW) | (molecule[order] >= len(smiles) - NEW)
    known, rest = order[~new], order[new]
    cut, half = int(0.6 * len(known)), len(rest) // 2
    middle = (cut + len(known)) // 2
    parts = {
        "train": known[:cut],
        "validation": np.concatenate([known[cut:middle], rest[:half]]),
        "test": np.concatenate([known[middle:], rest[half:]]),
    }
    meta = {"split": "random", "negatives": "given", "ratio": None, "seed": 0, "sources": []}
    return PairSet(
        [f"g{row}" for row in range(GENES)],
        ["".join(draws.choice(list("ACGT"), 80)) for _ in range(GENES)],
        ["mRNA"] * GENES,
        np.arange(GENES),
        smiles,
        [""] * len(smiles),
        gene,
        molecule,
        label,
        parts,
        meta,
    )


def options(data, out, *members, overwrite=False, **how):
    preset = default_options(model="combined")
    settings = RunOptions(compute=CPU, quiet=True, overwrite=overwrite)
    return replace(preset, data=data, model="combined", out=out, members=members, run=settings, **how)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from tests.commands.conftest import write_set

    return write_set(tmp_path_factory.mktemp("combined") / "pairs", make_set())


@pytest.fixture(scope="module")
def neural(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("combined") / "kmer"
    train = EpochConfig(epochs=1, batch_size=64, lr=3e-3)
    encoders = EncodersConfig("kmer", "morgan")
    run(Options(data=data, out=out, encoders=encoders, train=train, run=RunOptions(compute=CPU, quiet=True)))
    return out


@pytest.fixture(scope="module")
def combined(data, neural, tmp_path_factory):
    out = tmp_path_factory.mktemp("combined") / "all of it"
    with pytest.MonkeyPatch.context() as patch:  # neural members count where validation suffices
        patch.setattr("dnalm.train.combiner.MIN_STATE", 300)
        run(options(data, out, neural))
    return out


@pytest.fixture
def predictor(combined, data, tmp_path):
    opened = open_interaction(combined)
    return opened.predictor(InputEncoder(tmp_path, Processor("cpu", "fp32"), print), open_pairs(data))


def test_it_is_above_every_baseline_and_calibrated(predictor, data):
    pairs = open_pairs(data)
    rows = pairs.parts["test"]
    logits = predictor(pairs.gene[rows], pairs.molecule[rows])
    area = auroc(pairs.label[rows], logits)
    best = max(auroc(pairs.label[rows], score) for score in ladder_scores(pairs, rows).values())
    assert area > best + 0.01
    assert abs(probability(logits).mean() - pairs.label[rows].mean()) < 0.05


def test_contributions_add_up_to_the_logit(predictor, data):
    pairs = open_pairs(data)
    gene, molecule = pairs.gene[:500], pairs.molecule[:500]
    added = predictor.contributions(gene, molecule)
    assert [*added][-1] == "kmer"
    _, state = predictor.columns(gene, molecule)
    total = sum(added.values()) + predictor.model.combiner.intercept[state]
    np.testing.assert_allclose(total, predictor(gene, molecule), atol=1e-9)


def test_what_is_new_is_known_to_be_and_rests_on_no_count(predictor, data):
    pairs = open_pairs(data)
    columns, state = predictor.columns(pairs.gene, pairs.molecule)
    new_gene, new_molecule = pairs.gene >= GENES - NEW, pairs.molecule >= len(pairs.smiles) - NEW
    np.testing.assert_array_equal(state, 2 * new_gene + new_molecule)
    assert STATES[3] == "both new"
    counts = [COLUMNS.index(name) for name in ("log gene pairs", "common partners")]
    assert (columns[new_gene][:, counts] == 0).all()
    assert (columns[~new_gene][:, counts[0]] > 0).all()


def test_the_partners_of_similar_molecules_say_with_whom_a_new_one_interacts(predictor, data):
    pairs = open_pairs(data)
    new = np.flatnonzero((pairs.molecule >= len(pairs.smiles) - NEW) & (pairs.gene < GENES - NEW))
    columns, _ = predictor.columns(pairs.gene[new], pairs.molecule[new])
    assert auroc(pairs.label[new], columns[:, COLUMNS.index("their partners")]) > 0.65


def test_a_molecule_is_not_its_own_neighbour(predictor, data):
    rows = np.arange(len(open_pairs(data).smiles))
    similarity = predictor.model.knowledge.similarities(predictor.query, rows)
    assert (np.diag(similarity) == 0).all()
    assert (similarity.max(axis=1) > 0.2).all()


def test_no_member_has_seen_a_pair_that_the_combiner_learns_from(data):
    pairs = open_pairs(data)
    train = pairs.parts["train"]
    other = pairs.label.copy()
    other[np.setdiff1d(np.arange(len(other)), train)] ^= 1
    both = [fit_knowledge(each, train, 0).tensors() for each in (pairs, replace(pairs, label=other))]
    assert all((both[0][name] == both[1][name]).all() for name in both[0])
    fitted, held = held_out(pairs, train, 0)
    assert sorted([*fitted, *held]) == sorted(train)
    new = [~np.isin(node[held], node[fitted]) for node in (pairs.gene, pairs.molecule)]
    kinds = {(bool(one), bool(two)) for one, two in zip(*new, strict=True)}
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}


def test_a_checkpoint_predicts_the_same_on_plain_strings(combined, predictor, data):
    pairs = open_pairs(data)
    model = dnalm.load(combined, device="cpu")
    rows = np.arange(0, len(pairs.gene), 37)
    genes = [pairs.sequences[row] for row in pairs.gene[rows]]
    smiles = [pairs.smiles[row] for row in pairs.molecule[rows]]
    expected = probability(predictor(pairs.gene[rows], pairs.molecule[rows]))
    np.testing.assert_allclose(model.predict(genes, smiles), expected, atol=1e-6)
    assert 0 < model.predict(["ACGT" * 20], ["CCCCCCCCO"])[0] < 1  # neither is known


def test_an_evaluation_has_every_member_beside_it(combined, data, tmp_path, capsys):
    judging = EvaluationOptions(compute=CPU, out=tmp_path / "evaluation_test.json", quiet=True)
    interact_evaluate.run(interact_evaluate.Options((combined,), data=data, part="test", judging=judging))
    (entry,) = read_json(tmp_path / "evaluation_test.json")["models"].values()
    expected = {"node rate", "matrix factorisation", "similar molecules' partners", "nearest molecules"}
    assert entry["members"].keys() == expected | {"gradient boosting", "kmer"}
    assert all(entry["scores"]["auroc"]["value"] > each["value"] for each in entry["members"].values())
    assert entry["temperature"] == 1.0  # not fitted again to the pairs that fitted the combiner
    assert "all of it: matrix factorisation" in capsys.readouterr().out


def test_a_screen_states_what_each_rank_rests_on(combined, data, tmp_path):
    library = tmp_path / "library.smi"
    library.write_text(
        "CCCCCCCCc1ccc(O)cc1 new\nCc1ccc(O)cc1 known\nCc1ccc(O)cc1 again\nOC(C)=O.[Na] salt\n\nx\n"
        + "C" * 10_000
        + " polymer\n"
    )
    settings = {"data": data, "molecules": library, "compute": CPU, "quiet": True}
    for suffix, delimiter in ((".tsv", "\t"), (".csv", ",")):
        out = tmp_path / f"ranked{suffix}"
        interact_screen.run(interact_screen.Options(combined, gene="g3", out=out, overwrite=True, **settings))
        with out.open() as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        assert {row["name"] for row in rows} == {"new", "known", "salt"}
        by_name = {row["name"]: row for row in rows}
        assert float(by_name["known"]["from kmer"]) != 0
        assert by_name["new"]["nearest_positive"] in open_pairs(data).smiles
        assert [by_name[name]["outside"] for name in ("known", "salt")] == ["no", "yes"]
    out = tmp_path / "ranked.sdf"
    interact_screen.run(
        interact_screen.Options(combined, gene="g3", out=out, prior=0.01, overwrite=True, **settings)
    )
    chem = pytest.importorskip("rdkit.Chem")
    molecules = list(chem.SDMolSupplier(str(out)))
    assert [each.GetProp("_Name") for each in molecules] == [row["name"] for row in rows]
    for each, row in zip(molecules, rows, strict=True):
        odds = [float(p) / (1 - float(p)) for p in (each.GetProp("probability"), row["probability"])]
        prevalence = read_json(combined / "results.json")["validation"]["prevalence"]
        assert odds[0] == pytest.approx(odds[1] * 0.01 / 0.99 * (1 - prevalence) / prevalence, rel=0.01)
    assert "adds to the log-odds" in (tmp_path / "ranked_report.html").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": EpochConfig(epochs=3)}, "trains no network"),
        ({"init_from": "somewhere"}, "trains no network"),
        ({"run": RunOptions(compute=CPU, quiet=True, dry_run=True)}, "fitted in minutes"),
        ({"run": RunOptions(compute=CPU, quiet=True, resume=True)}, "fitted at once"),
    ],
)
def test_flags_that_change_nothing_are_refused(data, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        run(replace(options(data, tmp_path / "out"), **change))
    assert not (tmp_path / "out").exists()


def test_members_of_other_pairs_or_unfinished_are_refused(data, neural, combined, pair_folder, tmp_path):
    other = make_set()
    from tests.commands.conftest import write_set

    moved = dict(other.parts)
    moved["validation"], moved["test"] = moved["test"], moved["validation"]
    swapped = write_set(tmp_path / "swapped", replace(other, parts=moved))
    for folder, member, words in (
        (swapped, neural, "other pairs or another split"),
        (data, combined, "combined model itself"),
        (pair_folder, neural, "needs 100, 20 of each class"),
    ):
        with pytest.raises(InputError, match=words):
            run(options(folder, tmp_path / "out", member))
    with pytest.raises(InputError, match="--members is for --model combined"):
        run(Options(data=data, out=tmp_path / "out", members=(neural,)))
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_run_is_not_replaced_unasked(data, neural, combined):
    with pytest.raises(InputError, match="holds another run"):
        run(options(data, combined))
    assert isinstance(open_interaction(combined).model, CombinedModel)
