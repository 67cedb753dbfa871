"""Tests for `dnalm interact prepare`: what it prints and replaces."""

import json
import re

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.commands.interact_prepare import SHARED, leakage_lines
from dnalm.data.pairs import open_pairs

pytest.importorskip("rdkit")


@pytest.fixture
def prepare(tmp_path, capsys):
    """Prepares 240 positives of 60 genes and 24 molecules, and rows that are dropped; returns the texts."""
    draws = np.random.default_rng(1)
    keys = draws.choice(60 * 24, 240, replace=False)
    rows = [f"{key // 24 + 1},{'C' * (key % 24 + 1)}O,1" for key in keys]
    (tmp_path / "pairs.csv").write_text("\n".join(["GeneID,SMILES,Label", *rows, rows[0], "999,CCO,1"]))
    genes = [f">{row + 1}\n{''.join(draws.choice(list('ACGT'), 60))}\n" for row in range(60)]
    (tmp_path / "genes.fa").write_text("".join(genes))

    def prepare(*flags, out="set", code=0):
        files = [f"--pairs={tmp_path}/pairs.csv", f"--genes={tmp_path}/genes.fa"]
        assert main(["interact", "prepare", *files, f"--out={tmp_path}/{out}", *flags]) == code
        return capsys.readouterr()

    return prepare


def test_the_summary_has_parts_dropped_rows_leakage_and_folder(prepare, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert prepare("--quiet", "--dry-run").err == ""
    assert sorted(tmp_path.rglob("*")) == before
    output = prepare("--split", "cold-gene", "--ratio", "30").out
    pairs = open_pairs(tmp_path / "set")
    assert pairs.meta["split"] == "cold-gene"
    assert "242 rows read, 240 pairs kept" in output
    for reason in ("the same pair again", "gene without a sequence"):
        assert re.search(rf"\b1 row dropped: {reason}", output)
    missing = pairs.meta["counts"]["negatives_missing"]
    for part, about in pairs.meta["parts"].items():
        assert f"{part}: {about['rows']:,} rows, {about['positives']} positive" in output
        assert f"{missing[part]:,} negatives fewer" in output
    leakage = json.loads((tmp_path / "set" / "leakage.json").read_text())
    assert "\n".join(leakage_lines(leakage)) in output
    assert "train and test share 0 pairs (0% of test's rows), 0 genes" in output
    assert f"written to {tmp_path / 'set'}" in output
    assert "one class" not in output
    assert "one class only" in prepare("--negatives", "none", out="other").out


def test_one_is_singular_in_the_leakage():
    entry = {f"{name}{end}": 1 for name in SHARED for end in ("", "_rows")}
    (line,) = leakage_lines({"shared": {"train, test": entry}})
    assert "1 molecule (" in line
    assert "s (" not in line.replace("molecules but", "")


def test_a_set_is_replaced_only_on_request_and_other_files_never(prepare, tmp_path):
    assert prepare("--quiet") == ("", "")
    digest = open_pairs(tmp_path / "set").digest
    assert "--overwrite" in prepare("--seed", "1", code=2).err
    assert open_pairs(tmp_path / "set").digest == digest
    prepare("--seed", "1", "--overwrite")
    assert open_pairs(tmp_path / "set").digest != digest
    for file in ("photo.jpg", "meta.json"):  # a prepared genome has a meta.json, too
        (tmp_path / file / "set").mkdir(parents=True)
        (tmp_path / file / "set" / file).write_text('{"format": "dnalm-genome"}')
        message = prepare("--overwrite", out=f"{file}/set", code=2).err
        assert "something else than a set of pairs" in message
    assert "got a file" in prepare("--overwrite", out="genes.fa", code=2).err
    (tmp_path / "genes.fa").unlink()
    error = prepare("--overwrite", code=2).err
    assert "genes.fa: there is no such file" in error
    assert "Traceback" not in error
