"""Tests for dnalm/data/pairs.py."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from dnalm.data.pairs import PARTS, PairSet, content_digest, open_pairs, write_pairs
from dnalm.errors import InputError

TABLES = {"pairs.npz", "genes.tsv.gz", "molecules.tsv.gz"}
PART_FILES = {f"{part}.npy" for part in PARTS}
MADE = PairSet(
    gene_ids=["1", "2", "30"],
    sequences=["ACGT", "ACGA", "TTTT"],
    kinds=["CDS", "promoter", "mRNA_x"],
    clusters=np.array([0, 0, 1]),
    smiles=["CCO", "c1ccccc1", "CC"],
    scaffolds=["", "c1ccccc1", ""],
    gene=np.array([0, 1, 2, 0]),
    molecule=np.array([0, 1, 0, 2]),
    label=np.array([1, 0, 1, 1], dtype=np.uint8),
    parts={"train": np.array([0, 3]), "validation": np.array([1]), "test": np.array([2])},
    meta={"split": "random", "seed": 1, "counts": {"read": 5}},
)
DROPPED = [("p.csv", 5, "9", "C C", "no sequence")]


def written(folder, pairs=MADE):
    return write_pairs(folder, pairs, ["a", "b", ""], DROPPED, {"shared": {}})


def test_what_is_written_is_read_and_the_same_set_is_the_same_bytes(tmp_path):
    made, pairs = written(tmp_path / "set"), open_pairs(tmp_path / "set")
    for name in ("gene_ids", "sequences", "kinds", "smiles", "scaffolds"):
        assert getattr(pairs, name) == getattr(MADE, name)
    for name, kind in (("clusters", "i8"), ("gene", "i8"), ("molecule", "i8"), ("label", "u1")):
        assert getattr(pairs, name).dtype == np.dtype(kind)
        assert np.array_equal(getattr(pairs, name), getattr(MADE, name))
    assert all(np.array_equal(pairs.parts[part], MADE.parts[part]) for part in PARTS)
    assert pairs.meta["counts"] == {"read": 5}
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    assert (meta["format"], meta["format_version"]) == ("dnalm-pairs", 1)
    assert meta["digest"] == pairs.digest == made.digest == content_digest(MADE)
    names = {path.name for path in (tmp_path / "set").iterdir()}
    assert names == TABLES | PART_FILES | {"dropped.tsv.gz", "leakage.json", "meta.json"}
    dropped = gzip.decompress((tmp_path / "set" / "dropped.tsv.gz").read_bytes())
    assert dropped.decode() == "file\tline\tgene_id\tsmiles\treason\np.csv\t5\t9\tC C\tno sequence\n"
    written(tmp_path / "two")
    for path in (tmp_path / "set").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert pairs.has_transcript().tolist() == [True, False, True, True]  # genes with mRNA or CDS


@pytest.mark.parametrize(
    ("split", "name", "units"),
    [
        ("random", "molecules", [[0, 1, 0, 2]]),
        ("cold-molecule", "molecules", [[0, 1, 0, 2]]),
        ("scaffold", "scaffolds", [[1, 0, 1, 2]]),  # each molecule without a ring by itself
        ("cold-gene", "genes", [[0, 0, 1, 0]]),
        ("cold-both", "genes and molecules", [[0, 0, 1, 0], [0, 1, 0, 2]]),
    ],
)
def test_what_a_split_holds_out_together_is_resampled_together(split, name, units):
    order = np.array([3, 0, 1, 2])
    found, clusters = replace(MADE, meta={"split": split}).resampling_units(order)
    assert found == name
    assert [each.tolist() for each in clusters] == np.array(units)[:, order].tolist()


def test_the_digest_is_of_all_that_decides_a_result():
    assert content_digest(MADE) == content_digest(replace(MADE, meta={"seed": 2}))
    changed = [
        replace(MADE, gene_ids=["1", "2", "3"]),
        replace(MADE, sequences=["ACGT", "ACGA", "TTTA"]),
        replace(MADE, kinds=["CDS", "CDS", "mRNA_x"]),
        replace(MADE, clusters=np.array([0, 1, 2])),
        replace(MADE, smiles=["CCN", "c1ccccc1", "CC"]),
        replace(MADE, scaffolds=["", "", ""]),
        replace(MADE, gene=np.array([0, 1, 2, 1])),
        replace(MADE, molecule=np.array([0, 1, 0, 0])),
        replace(MADE, label=np.ones(4, dtype=np.uint8)),
        replace(MADE, parts=MADE.parts | {"train": np.array([3, 0])}),
        replace(MADE, parts=MADE.parts | {"validation": np.array([2]), "test": np.array([1])}),
    ]
    assert len({content_digest(each) for each in [MADE, *changed]}) == 1 + len(changed)


def test_a_folder_is_replaced_completely_or_not_at_all(tmp_path):
    digest = written(tmp_path / "set").digest
    with pytest.raises(KeyError):  # after the tables
        written(tmp_path / "set", replace(MADE, parts={}))
    assert open_pairs(tmp_path / "set").digest == digest
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_refuses_what_is_no_folder_of_pairs_and_unpickles_nothing(tmp_path):
    for text in ("", '{"format": "dnalm-genome"}', '{"format": "dnalm-pairs", "format_version": 2}'):
        if text:
            (tmp_path / "meta.json").write_text(text)
        with pytest.raises(InputError, match="with a meta.json"):
            open_pairs(tmp_path)
    written(tmp_path / "set")
    np.save(tmp_path / "set" / "test.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        open_pairs(tmp_path / "set")


@pytest.mark.parametrize("name", sorted(TABLES | PART_FILES))
@pytest.mark.parametrize("harm", ["gone", "short", "other"])
def test_refuses_a_folder_with_a_damaged_file(tmp_path, name, harm):
    written(tmp_path / "set")
    path = tmp_path / "set" / name
    if harm == "gone":
        path.unlink()
    elif harm == "short":
        path.write_bytes(path.read_bytes()[:-12])
    else:
        parts = {"train": np.array([0, 2]), "validation": np.array([3]), "test": np.array([1])}
        other = replace(MADE, gene_ids=["1", "2", "3"], smiles=["C", "CN", "O"], parts=parts)
        written(tmp_path / "other", replace(other, label=np.ones(4)))
        path.write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(InputError, match="the digest differs" if harm == "other" else "damaged"):
        open_pairs(tmp_path / "set")
