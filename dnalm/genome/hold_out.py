"""What is alike to the validation contigs in other genomes: found by shared k-mers, and left out of training.

A stretch of a training contig is alike if `shared` or more of the k-mers that begin within `window` bases of
it are also in the validation contigs, on either strand. `shared` is how many two sequences of 78 % identity
have in common on average (k-mers without a difference; Ondov et al. 2016), so that a copy of 85 % identity is
nearly always found (99.9 % of its bases in simulations with evenly spread substitutions), one of 75 % partly.
The alike stretch ends with its first and last shared k-mer; two that are nearer than `window` are joined.

Shapes: L bases; K distinct k-mers; H shared k-mers ("hits"); R stretches, half-open.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.config import nearest
from dnalm.dna import BASE_CODES
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source
from dnalm.genome.folder import Int64
from dnalm.genome.kmers import Keys, Letters, hashed, kmers_of
from dnalm.genome.plan import Plan
from dnalm.genome.stream import OnRead

IDENTITY, WINDOW = 0.78, 1000
LEAST_K = 16
SPACE = 2000
"""Possible k-mers for each base of validation, at least: of 1,000 random k-mers one is there by chance."""
MOST_KMERS = 1 << 23
"""k-mers of validation that are compared; of more, a fixed sample, in proportionally longer windows."""
COMMON = 100  # a k-mer in more places of validation than this, as of Alu or a satellite, does not count
SLOT_BITS = 26  # of a hash: a table of 2^26 flags shows quickly that most k-mers are not there
CHUNK = 1 << 16  # k-mers computed at a time

ContigKey = tuple[int, str]
"""Number of a genome, and a contig's name in its file."""


class Rule(NamedTuple):
    """What counts as alike; see the top of this file."""

    k: int
    one_in: int  # of so many k-mers one is compared
    window: int
    shared: int

    @classmethod
    def of(cls, bases: int) -> "Rule":
        """Return the rule for validation contigs of so many bases."""
        k = max(LEAST_K, math.ceil(math.log(SPACE * max(bases, 1), 4)))
        one_in = max(1, -(-bases // MOST_KMERS))
        return cls(k, one_in, WINDOW * one_in, max(2, int(WINDOW * IDENTITY**k)))


class HoldOut(NamedTuple):
    """The validation contigs, and what is alike to them, by contig as `Plan.contig_name` has them."""

    val_contigs: tuple[str, ...]
    rule: dict[str, Any]  # as in meta.json
    left_out: Mapping[str, Int64]  # stretches of training contigs, [R, 2]


def hold_out(plan: Plan, on_read: OnRead | None = None) -> HoldOut:
    """Find the validation contigs of a plan among its genomes, and what is alike to them.

    Memory: about 40 bytes for each k-mer of validation that is compared, and 64 MB; whatever the genomes.

    Raises:
        InputError: if a validation contig is in no genome, or in several; or a genome cannot be read.
    """
    lengths = [_lengths(path, on_read) for path in plan.genomes]
    held_out = _resolve(plan, lengths)
    names = tuple(plan.contig_name(*contig) for contig in held_out)
    if not plan.finds_alike:
        return HoldOut(names, {"genomes": "none"}, {})
    rule = Rule.of(sum(lengths[genome][contig] for genome, contig in held_out))
    excluded = [{contig for number, contig in held_out if number == genome} for genome in range(len(lengths))]
    validation = [  # hashed k-mers of each genome, as often as they occur
        [kmers for _, _, kmers in _kmers(path, rule, names_.__contains__)] if names_ else []
        for path, names_ in zip(plan.genomes, excluded, strict=True)
    ]
    left_out: dict[str, Int64] = {}
    for genome, path in enumerate(plan.genomes):
        every = [np.empty(0, dtype=np.uint64)]
        for number, pieces in enumerate(validation):
            every += pieces if plan.hold_out == "all" or number != genome else []
        kmers, counts = np.unique(np.concatenate(every), return_counts=True)
        if len(kmers := kmers[counts <= COMMON]):
            found = _alike(path, KmerSet(kmers), rule, excluded[genome], on_read)
            left_out |= {plan.contig_name(genome, contig): stretches for contig, stretches in found.items()}
    return HoldOut(names, {"genomes": plan.hold_out, "identity": IDENTITY, **rule._asdict()}, left_out)


def _lengths(path: Path, on_read: OnRead | None) -> dict[str, int]:
    """Return the length of each contig of a genome file."""
    lengths: dict[str, int] = {}
    with closing(Source(path, on_read)) as source:
        for name, text in read_blocks(source):
            if name is not None:
                contig = name
            lengths[contig] = lengths.get(contig, 0) + len(text) - text.count(b"\n")
    return lengths


def _resolve(plan: Plan, contigs: Sequence[Mapping[str, int]]) -> list[ContigKey]:
    """Return where the validation contigs of a plan are, given as CONTIG or GENOME:CONTIG."""
    every = {
        f"{plan.genome_names[genome]}:{contig}": (genome, contig)
        for genome, names in enumerate(contigs)
        for contig in names
    }
    found: dict[ContigKey, None] = {}
    for name in plan.val_contigs:
        matches = [every[name]] if name in every else [place for place in every.values() if place[1] == name]
        if len(matches) > 1:
            genomes = [plan.genome_names[genome] for genome, _ in matches]
            raise InputError(
                f"`val_contigs`: contig {name!r} is in several genomes ({', '.join(genomes)}); name the "
                f"genome too, as in {genomes[0]}:{name}"
            )
        if not matches:
            known = ", ".join(list(every)[:30]) + (", ..." if len(every) > 30 else "")
            near = nearest(name, [*every, *(contig for _, contig in every.values())])
            raise InputError(f"`val_contigs`: no contig {name!r} in any genome{near}; there are: {known}")
        found[matches[0]] = None
    return list(found)


class KmerSet:
    """A set of hashed k-mers, [K], distinct and ascending."""

    def __init__(self, kmers: Keys) -> None:
        self._kmers = kmers
        self._slots = np.zeros(1 << SLOT_BITS, dtype=np.bool_)
        self._slots[self._slot(kmers)] = True

    def find(self, kmers: Keys) -> npt.NDArray[np.intp]:
        """Return which of some hashed k-mers are in the set, as their indices, ascending, [H]."""
        likely = np.flatnonzero(self._slots[self._slot(kmers)])
        wanted = kmers[likely]
        found: npt.NDArray[np.intp] = likely[
            self._kmers[np.searchsorted(self._kmers, wanted, side="right") - 1] == wanted
        ]
        return found

    @staticmethod
    def _slot(kmers: Keys) -> Int64:
        slots: Int64 = (kmers >> np.uint64(64 - SLOT_BITS)).astype(np.int64)
        return slots


def _alike(
    path: Path, validation: KmerSet, rule: Rule, excluded: set[str], on_read: OnRead | None
) -> dict[str, Int64]:
    """Return the alike stretches of each contig of a genome file but the `excluded`, [R, 2] each."""
    found: dict[str, _Stretches] = {}
    for contig, positions, kmers in _kmers(path, rule, lambda contig: contig not in excluded, on_read):
        found.setdefault(contig, _Stretches(rule)).add(positions[validation.find(kmers)])
    return {contig: runs for contig, each in found.items() if len(runs := each.joined())}


def _kmers(
    path: Path, rule: Rule, is_wanted: Callable[[str], bool], on_read: OnRead | None = None
) -> Iterator[tuple[str, Int64, Keys]]:
    """Yield the k-mers of wanted contigs that are compared, some at a time: contig, positions and hashes."""
    for contig, start, codes in _pieces(path, rule.k, on_read):
        if not is_wanted(contig):
            continue
        kmers, real = kmers_of(codes[None], rule.k, both_strands=True)
        hashes, compared = hashed(kmers[0]), real[0]
        if rule.one_in > 1:
            compared = compared & (hashes % np.uint64(rule.one_in) == 0)
        positions = np.flatnonzero(compared)
        yield contig, positions + start, hashes[positions]


def _pieces(path: Path, k: int, on_read: OnRead | None) -> Iterator[tuple[str, int, Letters]]:
    """Yield contig, position and base codes of pieces that overlap by k - 1 bases: each k-mer once."""
    table = BASE_CODES.tobytes()
    with closing(Source(path, on_read)) as source:
        for name, text in read_blocks(source):
            if name is not None:
                contig, position, codes = name, 0, np.empty(0, dtype=np.uint8)
            codes = np.concatenate([codes, np.frombuffer(text.translate(table, b"\n"), dtype=np.uint8)])
            complete = max(0, len(codes) - k + 1)  # k-mers
            for start in range(0, complete, CHUNK):
                yield contig, position + start, codes[start : start + CHUNK + k - 1]
            position, codes = position + complete, codes[complete:]


class _Stretches:
    """The alike stretches of one contig, from its hits as they come."""

    def __init__(self, rule: Rule) -> None:
        self._rule, self._runs = rule, [np.empty((0, 2), dtype=np.int64)]
        self._before = np.empty(0, dtype=np.int64)  # the last hits, of which a stretch may begin

    def add(self, hits: Int64) -> None:
        """Take the positions of hits, [H], all after those before."""
        hits, others = np.concatenate([self._before, hits]), self._rule.shared - 1
        first, last = hits[: max(0, len(hits) - others)], hits[others:]
        dense = last - first < self._rule.window
        runs = np.stack([first[dense], last[dense] + self._rule.k], axis=1)
        self._runs.append(_join(runs, self._rule.window))
        self._before = hits[max(0, len(hits) - others) :]

    def joined(self) -> Int64:
        """Return the stretches, [R, 2]."""
        return _join(np.concatenate(self._runs), self._rule.window)


def _join(runs: Int64, gap: int) -> Int64:
    """Join runs whose starts and ends both rise, [R, 2], where less than `gap` lies between."""
    if not len(runs):
        return runs
    apart = runs[1:, 0] - runs[:-1, 1] >= gap
    return np.stack([runs[np.append(True, apart), 0], runs[np.append(apart, True), 1]], axis=1)
