"""Tests for dnalm/data/pairs.py."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from dnalm.data.pairs import PARTS, PairSet, content_digest, open_pairs, write_pairs

TABLES = {"pairs.npz", "genes.tsv.gz", "molecules.tsv.gz"}
FILES = TABLES | {"dropped.tsv.gz", "leakage.json", "meta.json"}


def make_set():
    return PairSet(
        gene_ids=["1", "2", "30"],
        sequences=["ACGT", "ACGA", "TTTT"],
        kinds=["CDS", "promoter", "mRNA_x"],
        clusters=np.array([0, 0, 1]),
        smiles=["CCO", "c1ccccc1"],
        scaffolds=["", "c1ccccc1"],
        gene=np.array([0, 1, 2, 0]),
        molecule=np.array([0, 1, 0, 1]),
        label=np.array([1, 0, 1, 1], dtype=np.uint8),
        parts={"train": np.array([0, 3]), "validation": np.array([1]), "test": np.array([2])},
        meta={"split": "random", "seed": 1, "counts": {"read": 5}},
    )


def written(folder):
    return write_pairs(
        folder, make_set(), ["a", "b", ""], [("p.csv", 5, "9", "C C", "no sequence")], {"shared": {}}
    )


def test_what_is_written_is_read(tmp_path):
    written(tmp_path / "set")
    pairs, wanted = open_pairs(tmp_path / "set"), make_set()
    for name in ("gene_ids", "sequences", "kinds", "smiles", "scaffolds"):
        assert getattr(pairs, name) == getattr(wanted, name)
    for name in ("clusters", "gene", "molecule"):
        assert getattr(pairs, name).dtype == np.int64
        assert np.array_equal(getattr(pairs, name), getattr(wanted, name))
    assert pairs.label.dtype == np.uint8
    assert np.array_equal(pairs.label, wanted.label)
    assert all(np.array_equal(pairs.parts[part], wanted.parts[part]) for part in PARTS)
    assert pairs.meta["counts"] == {"read": 5}
    assert {path.name for path in (tmp_path / "set").iterdir()} == FILES | {f"{part}.npy" for part in PARTS}
    dropped = gzip.decompress((tmp_path / "set" / "dropped.tsv.gz").read_bytes())
    assert dropped.decode() == "file\tline\tgene_id\tsmiles\treason\np.csv\t5\t9\tC C\tno sequence\n"


def test_the_same_set_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_sequenced_pairs_are_those_whose_gene_has_mrna_or_cds():
    assert make_set().has_transcript().tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("split", "words", "units"),
    [
        ("random", "molecules", [[0, 1, 0, 1]]),
        ("cold-molecule", "molecules", [[0, 1, 0, 1]]),
        ("cold-gene", "genes", [[0, 0, 1, 0]]),
        ("cold-both", "genes and molecules", [[0, 0, 1, 0], [0, 1, 0, 1]]),
    ],
)
def test_what_a_split_holds_out_is_what_a_bootstrap_draws(split, words, units):
    pairs = replace(make_set(), meta={"split": split})
    told, drawn = pairs.resampling_units(np.array([3, 0, 1, 2]))
    assert told == words
    assert [each.tolist() for each in drawn] == [[unit[row] for row in (3, 0, 1, 2)] for unit in units]


def test_of_scaffolds_molecules_without_a_ring_are_drawn_each_by_itself():
    pairs = replace(
        make_set(), smiles=["C", "CC", "c", "cc"], scaffolds=["", "", "ring", "ring"],
        molecule=np.array([0, 1, 2, 3]), meta={"split": "scaffold"},
    )  # fmt: skip
    told, (drawn,) = pairs.resampling_units(np.arange(4))
    assert told == "scaffolds"
    assert len(set(drawn.tolist())) == 3
    assert drawn[2] == drawn[3]


def test_the_digest_is_of_all_that_decides_a_result():
    one = make_set()
    assert content_digest(one) == content_digest(replace(make_set(), meta={"seed": 2}))
    changed = [
        replace(one, gene_ids=["1", "2", "3"]),
        replace(one, sequences=["ACGT", "ACGA", "TTTA"]),
        replace(one, kinds=["CDS", "CDS", "mRNA_x"]),
        replace(one, clusters=np.array([0, 1, 2])),
        replace(one, smiles=["CCN", "c1ccccc1"]),
        replace(one, scaffolds=["", ""]),
        replace(one, gene=np.array([0, 1, 2, 1])),
        replace(one, molecule=np.array([0, 1, 0, 0])),
        replace(one, label=np.array([1, 1, 1, 1], dtype=np.uint8)),
        replace(one, parts=one.parts | {"train": np.array([3, 0])}),
        replace(one, parts=one.parts | {"validation": np.array([2]), "test": np.array([1])}),
    ]
    assert len({content_digest(each) for each in [one, *changed]}) == 1 + len(changed)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    written(tmp_path / "set")
    digest = open_pairs(tmp_path / "set").digest

    def failing():
        yield ("p.csv", 1, "1", "C", "why")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_pairs(tmp_path / "set", replace(make_set(), kinds=["x"] * 3), ["", "", ""], failing(), {})
    assert open_pairs(tmp_path / "set").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_refuses_what_is_no_folder_of_pairs(tmp_path):
    with pytest.raises(ValueError, match="run dnalm interact prepare"):
        open_pairs(tmp_path)
    (tmp_path / "meta.json").write_text('{"format": "dnalm-genome"}')
    with pytest.raises(ValueError, match="expected format dnalm-pairs version 1"):
        open_pairs(tmp_path)


@pytest.mark.parametrize("name", [*sorted(TABLES), *(f"{part}.npy" for part in PARTS)])
@pytest.mark.parametrize("harm", ["gone", "short", "other"])
def test_refuses_a_folder_with_a_damaged_file(tmp_path, name, harm):
    folder = tmp_path / "set"
    written(folder)
    path = folder / name
    if harm == "gone":
        path.unlink()
    elif harm == "short":
        path.write_bytes(path.read_bytes()[:-12])
    else:
        other = replace(
            make_set(),
            gene_ids=["1", "2", "31"],
            smiles=["CCN", "c1ccccc1"],
            label=np.array([1, 1, 1, 1]),
            parts={"train": np.array([0, 2]), "validation": np.array([3]), "test": np.array([1])},
        )
        write_pairs(tmp_path / "other", other, ["", "", ""], [], {})
        path.write_bytes((tmp_path / "other" / name).read_bytes())
    said = "the digest differs" if harm == "other" else "damaged"
    with pytest.raises(ValueError, match=f"{said}.* interact prepare again"):
        open_pairs(folder)


def test_nothing_is_unpickled(tmp_path):
    written(tmp_path / "set")
    np.save(tmp_path / "set" / "test.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="damaged"):
        open_pairs(tmp_path / "set")


def test_meta_tells_format_and_digest(tmp_path):
    pairs = written(tmp_path / "set")
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    assert (meta["format"], meta["format_version"]) == ("dnalm-pairs", 1)
    assert meta["digest"] == pairs.digest == content_digest(make_set())
