"""Tests for dnalm/use/markov.py."""

import json

import numpy as np
import pytest

from dnalm.dna import BASES, encode
from dnalm.errors import InputError
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.files import sha256
from dnalm.formats.indexed import IndexedGenome
from dnalm.use.markov import training_markov
from tests.use.test_load import save_language


@pytest.fixture
def genome(tmp_path):
    """A genome of three contigs, one with N."""
    draws = np.random.default_rng(1)
    texts = {name: "".join(draws.choice(list(BASES), 120)) for name in ("a", "b", "c")}
    texts["a"] = texts["a"][:50] + "NN" + texts["a"][52:]
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return IndexedGenome(tmp_path / "g.fa"), texts


def write_run(folder, genome, split, best=None):
    save_language(folder / "checkpoint")
    source = {"name": "g.fa", "bytes": genome.path.stat().st_size, "sha256": sha256(genome.path)}
    sources = [source]
    if "one:" in str(split) or "two:" in str(split):
        sources = [{"name": "h.fa", "bytes": 9, "sha256": "", "genome": "two"}, source | {"genome": "one"}]
    about = {"format": "dnalm-run", "format_version": 1, "data": {"sources": sources, "split": split}}
    about["metrics"] = {"ladder": {"best": best}} if best else {}
    (folder / "run.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("split", "held_out"),
    [
        ({"kind": "contigs", "val_contigs": ["b"]}, {"b": 0}),
        ({"kind": "fraction", "contig": "b", "position": 40}, {"b": 40, "c": 0}),
        ({"kind": "contigs", "val_contigs": ["elsewhere"]}, {}),
        ({"kind": "fraction", "contig": "b", "position": 121}, {}),
        ({"kind": "contigs", "val_contigs": ["one:b", "two:a"]}, {"b": 0}),
        ({"kind": "contigs", "val_contigs": ["two:a"]}, {}),
        ({"kind": "fraction", "contig": "one:b", "position": 40}, {"b": 40, "c": 0}),
        (None, {}),
    ],
)
def test_only_the_training_part_is_counted(tmp_path, genome, split, held_out):
    opened, texts = genome
    write_run(tmp_path / "run", opened, split, {"order": 2, "strands": 1, "bits": 1.9})
    found = training_markov(tmp_path / "run", opened)
    parts = [text[: held_out.get(name, 120)] for name, text in texts.items()]
    counted = [encode(piece) for part in parts for piece in part.split("NN") if piece]
    expected = MarkovModel(counted, 2, both_strands=False)
    assert found.held_out == held_out
    assert (found.model.order, found.model.both_strands, found.model.bases) == (2, False, expected.bases)
    text = [encode(texts["c"])]
    np.testing.assert_array_equal(found.model.bits(text), expected.bits(text))
    assert found.origin.startswith("order 2, one strand, of g.fa, ")
    assert ("the genome of its training" in found.origin) != ("one of the genomes of its" in found.origin)


def test_without_a_record_the_order_goes_by_the_bases(tmp_path, genome):
    save_language(tmp_path / "model")
    found = training_markov(tmp_path / "model", genome[0])
    assert (found.model.order, found.model.both_strands, found.held_out) == (1, True, {})  # 4^4 < 360 < 4^5
    assert "need not be the genome of its training" in found.origin
    assert training_markov(tmp_path / "model", genome[0], 3).model.order == 3
    with pytest.raises(InputError, match="`markov_order`"):
        training_markov(tmp_path / "model", genome[0], 13)
