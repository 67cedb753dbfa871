"""The best Markov model of a language model's training genome: the baseline beside its scores."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm import checkpoint
from dnalm.dna import encode
from dnalm.errors import InputError
from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, MarkovModel
from dnalm.files import sha256
from dnalm.formats.indexed import IndexedGenome
from dnalm.record import read_record

PIECE = 1 << 22  # bases counted at a time


class Baseline(NamedTuple):
    """A Markov model, and in words what it counted."""

    model: MarkovModel
    origin: str
    held_out: dict[str, int]
    """The first base of each contig that was held out in training, which is not counted; empty if unknown."""


def training_markov(path: Path, genome: IndexedGenome, order: int | None = None) -> Baseline:
    """Count the Markov model that was best when a language model was pretrained, on its training part.

    Order, strands and the part held out are those of the run.json beside the model. Without one, as for a
    published file, the order goes by the number of bases (8 for a yeast's 12 million, one more or less for
    every four times as many), both strands are counted, and the full genome.

    Args:
        path: of the language model.
        genome: that it was trained on, or that is scored.
        order: another order, 0 to 12.

    Raises:
        InputError: if `order` is out of range.
    """
    if order is not None and not 0 <= order <= HIGHEST_ORDER:
        raise InputError(f"`markov_order` must be 0 to {HIGHEST_ORDER}, got {order}")
    record = _record(path)
    best = record.get("metrics", {}).get("ladder", {}).get("best", {})
    data = record.get("data", {})
    excluded = _held_out(data, genome)
    if order is None:
        bases = sum(genome.lengths.values())
        order = best.get("order", min(max(int(math.log(bases, 4)) - 3, 0), HIGHEST_ORDER))
    both_strands = best.get("strands", 2) == 2
    model = MarkovModel(_stretches(genome, excluded), order, both_strands=both_strands)
    sources = data.get("sources", [])
    what = "which need not be the genome of its training"
    if _source_of(genome.path, sources):
        what = "the genome of its training" if len(sources) == 1 else "one of the genomes of its training"
    if excluded:
        what += f", without the part held out there ({', '.join(excluded)})"
    strands = "both strands" if both_strands else "one strand"
    return Baseline(model, f"order {order}, {strands}, of {genome.path.name}, {what}", excluded)


def _record(path: Path) -> dict[str, Any]:
    """Return the run.json beside a model; empty where there is none."""
    try:
        return read_record(checkpoint.locate(path).parent / "run.json")
    except (OSError, InputError):
        return {}


def _held_out(data: dict[str, Any], genome: IndexedGenome) -> dict[str, int]:
    """Return from which base on each contig was held out, by contig; empty if they are not of this genome."""
    split, sources = data.get("split") or {}, data.get("sources", [])
    prefix = ""  # of its contigs in the record, where several genomes have names
    if len(sources) > 1 and "genome" in (source := _source_of(genome.path, sources)):
        prefix = f"{source['genome']}:"
    if split.get("kind") == "contigs":
        named = [name.removeprefix(prefix) for name in split["val_contigs"] if name.startswith(prefix)]
        return dict.fromkeys(named, 0) if set(named) <= genome.lengths.keys() else {}
    contig = split.get("contig", "").removeprefix(prefix)
    if contig not in genome.lengths or split["position"] > genome.lengths[contig]:
        return {}
    names = list(genome.lengths)
    after = names[names.index(contig) + 1 :]
    return {contig: int(split["position"])} | dict.fromkeys(after, 0)


def _stretches(genome: IndexedGenome, excluded: dict[str, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the unbroken stretches of bases that are counted."""
    for contig, length in genome.lengths.items():
        end = excluded.get(contig, length)
        for start in range(0, end, PIECE):
            codes = encode(genome.letters(contig, start, min(start + PIECE, end)))
            edges = np.flatnonzero(np.diff(np.concatenate([[False], codes < 4, [False]]).view(np.int8)))
            for first, last in edges.reshape(-1, 2).tolist():
                yield codes[first:last]


def _source_of(path: Path, sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return which source of a training a genome file is; empty if it is none."""
    for source in sources:
        if source["bytes"] == path.stat().st_size and source["sha256"] == sha256(path):
            return source
    return {}
