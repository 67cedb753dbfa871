"""Tests for dnalm/genome/meta.py and what `read_meta` refuses."""

import copy
import json

import pytest

from dnalm.commands import info
from dnalm.genome.folder import is_prepared, read_meta
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A whole meta.json of the full vocabulary."""
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(">chr1\n" + "ACGTTGCA" * 800 + "\n")
    return read_meta(prepare(Plan((folder / "g.fa",), folder / "data"))["full"])


MISSING = object()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["counts", "train_bases"], MISSING),
        (["counts", "train_bases"], "7"),
        (["counts", "train_bases"], True),
        (["counts", "other_iupac"], []),
        (["counts"], None),
        (["split"], {}),
        (["split"], []),
        (["split", "kind"], []),
        (["split", "val_fraction"], MISSING),
        (["split", "val_fraction"], "0.1"),
        (["split"], {"kind": "contigs"}),
        (["files"], None),
        (["files", "train.bin", "bytes"], MISSING),
        (["files", "train.bin"], []),
        (["contigs"], None),
        (["contigs", 0], None),
        (["contigs", 0, "name"], 3),
        (["mode"], []),
        (["mode"], None),
        (["mode"], MISSING),
        (["characters"], None),
        (["characters"], "AA"),
        (["characters"], "é"),
        (["vocab_size"], 4),
        (["published"], 0),
        (["sources"], MISSING),
        (["sources", 0, "sha256"], None),
        (["dnalm_version"], MISSING),
    ],
)
def test_a_damaged_meta_is_said_to_be(good, tmp_path, keys, value):
    meta = copy.deepcopy(good)
    *outer, last = keys
    inside = meta
    for key in outer:
        inside = inside[key]
    if value is MISSING:
        del inside[last]
    else:
        inside[last] = value
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    for reads in (read_meta, info.identify):
        with pytest.raises(ValueError, match=r"meta\.json: damaged: no .*prepare again with --overwrite"):
            reads(tmp_path)
    assert is_prepared(tmp_path)  # so that --overwrite may replace it
