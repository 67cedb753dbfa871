"""Tests for dnalm/genome/folder.py: what `read_meta` refuses."""

import copy
import json

import pytest

from dnalm.commands import info
from dnalm.errors import InputError
from dnalm.genome.folder import is_prepared, read_meta
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The meta.json of a full vocabulary."""
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(">chr1\n" + "ACGTTGCA" * 800 + "\n")
    return read_meta(prepare(Plan((folder / "g.fa",), folder / "data"))["full"])


MISSING = object()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("counts.train_bases", value) for value in (MISSING, "7", True)),
        *(("split", value) for value in ({}, {"kind": "contigs"})),
        *((name, None) for name in ("counts", "files", "contigs.0", "mode", "split.val_fraction")),
        ("files.train_bin", []),
        ("mode", []),
        *(("characters", value) for value in ("AA", "é")),
        ("vocab_size", 4),
        ("published", 0),
        ("sources.0.sha256", MISSING),
    ],
)
def test_a_damaged_meta_is_refused(good, tmp_path, name, value):
    meta = copy.deepcopy(good)
    keys = [key.replace("train_bin", "train.bin") for key in name.split(".")]
    *outer, last = (int(key) if key.isdigit() else key for key in keys)
    inside = meta
    for key in outer:
        inside = inside[key]
    if value is MISSING:
        del inside[last]
    else:
        inside[last] = value
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    for reads in (read_meta, info.identify):
        with pytest.raises(InputError, match=r"meta\.json: damaged: no .*prepare again with --overwrite"):
            reads(tmp_path)
    assert is_prepared(tmp_path)  # so that --overwrite may replace it
