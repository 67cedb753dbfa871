"""Tests for `dnalm interact prepare`: what it prints and replaces."""

import json
import re

import numpy as np
import pytest

from dnalm import cli
from dnalm.commands.interact_prepare import Options, leakage_lines, run
from dnalm.data.pairs import open_pairs
from dnalm.data.prepare_pairs import PrepareConfig
from dnalm.errors import InputError

pytest.importorskip("rdkit")


@pytest.fixture
def inputs(tmp_path):
    """240 positives of 60 genes and 24 molecules, and rows that are dropped."""
    draws = np.random.default_rng(1)
    keys = draws.choice(60 * 24, 240, replace=False)
    rows = [f"{key // 24 + 1},{'C' * (key % 24 + 1)}O,1" for key in keys]
    (tmp_path / "pairs.csv").write_text("\n".join(["GeneID,SMILES,Label", *rows, rows[0], "999,CCO,1"]))
    genes = [f">{row + 1}\n{''.join(draws.choice(list('ACGT'), 60))}\n" for row in range(60)]
    (tmp_path / "genes.fa").write_text("".join(genes))
    return tmp_path


def prepared(folder, out="set", overwrite=False, dry_run=False, quiet=False, **config):
    how = {"overwrite": overwrite, "dry_run": dry_run, "quiet": quiet}
    run(Options(folder / "pairs.csv", folder / "genes.fa", folder / out, PrepareConfig(**config), **how))
    return None if dry_run else open_pairs(folder / out)


def test_the_summary_has_parts_dropped_rows_leakage_and_folder(inputs, capsys):
    pairs = prepared(inputs, split="cold-gene", ratio=30)
    output = capsys.readouterr().out
    assert "242 rows read, 240 pairs kept" in output
    for reason in ("the same pair again", "gene without a sequence"):
        assert re.search(rf"\b1 rows dropped: {reason}", output)
    missing = pairs.meta["counts"]["negatives_missing"]
    for part, about in pairs.meta["parts"].items():
        assert f"{part}: {about['rows']:,} rows, {about['positives']} positive" in output
        assert f"{missing[part]:,} negatives fewer" in output
    leakage = json.loads((inputs / "set" / "leakage.json").read_text())
    assert "\n".join(leakage_lines(leakage)) in output
    assert "train and test share 0 pairs (0% of test's rows), 0 genes" in output
    assert f"written to {inputs / 'set'}" in output
    assert "one class" not in output


def test_quiet_prints_nothing_and_one_class_is_reported(inputs, capsys):
    prepared(inputs, quiet=True)
    assert capsys.readouterr() == ("", "")
    prepared(inputs, "other", negatives="none")
    assert "one class only" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(inputs):
    before = sorted(inputs.rglob("*"))
    prepared(inputs, dry_run=True, quiet=True)
    assert sorted(inputs.rglob("*")) == before


def test_a_set_is_replaced_only_on_request_and_other_files_never(inputs):
    digest = prepared(inputs).digest
    with pytest.raises(InputError, match="exists already"):
        prepared(inputs, seed=1)
    assert open_pairs(inputs / "set").digest == digest
    assert prepared(inputs, seed=1, overwrite=True).digest != digest
    for file in ("photo.jpg", "meta.json"):  # a prepared genome has a meta.json, too
        (inputs / file / "set").mkdir(parents=True)
        (inputs / file / "set" / file).write_text('{"format": "dnalm-genome"}')
        with pytest.raises(InputError, match="something else than a set of pairs"):
            prepared(inputs, f"{file}/set", overwrite=True)
    with pytest.raises(InputError, match="got a file"):
        prepared(inputs, "genes.fa", overwrite=True)


def test_the_command_line_and_its_exit_codes(inputs, capsys):
    words = ["interact", "prepare", "--pairs", f"{inputs}/pairs.csv", "--genes", f"{inputs}/genes.fa"]
    words += ["--out", f"{inputs}/set", "--split", "cold-gene", "--quiet"]
    assert cli.main(words) == cli.DONE
    assert open_pairs(inputs / "set").meta["split"] == "cold-gene"
    assert cli.main(words) == cli.MISTAKE
    assert "--overwrite" in capsys.readouterr().err
    (inputs / "genes.fa").unlink()
    assert cli.main([*words, "--overwrite"]) == cli.MISTAKE
    error = capsys.readouterr().err
    assert "genes.fa: there is no such file" in error
    assert "Traceback" not in error
