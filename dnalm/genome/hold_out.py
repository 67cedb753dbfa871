"""What is alike to the validation contigs in other genomes: found by shared k-mers, and left out of training.

A window of a training contig is alike if `shared` or more of its k-mers are also in one area of validation,
twice as long as the window, on either strand. `shared` is how many two sequences of 78 % identity have in
common on average (k-mers without a difference; Ondov et al. 2016), so that a copy of 85 % identity is nearly
always found, one of 75 % partly. k-mers that recur in an area (tandem repeats, low complexity) or are common
in validation do not count. The alike stretch ends with its first and last shared k-mer; those shorter than
`length` do not count, and two that are nearer than a window are joined.

Shapes: L bases; K k-mers; H shared k-mers ("hits"); R stretches, half-open. A place is a position in the
validation contigs: that in its contig, and the contig's number in the bits above.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm.config import nearest
from dnalm.dna import BASE_CODES
from dnalm.errors import InputError
from dnalm.formats import read_blocks
from dnalm.formats.fasta import Source
from dnalm.genome.folder import Int64
from dnalm.genome.kmers import Keys, Letters, hashed, kmers_of
from dnalm.genome.plan import Plan
from dnalm.genome.stream import OnRead

IDENTITY, WINDOW, LENGTH = 0.78, 1000, 250
LEAST_K = 16
SPACE = 2000
"""Possible k-mers for each base of validation, at least: of 1,000 random k-mers one is there by chance."""
MOST_KMERS = 1 << 23
"""k-mers of validation that are compared; of more, a fixed sample, in proportionally longer windows."""
COMMON = 8  # a k-mer in more places of a genome's validation contigs, as of Alu, does not count
CONTIG_BITS = 40  # of a place: the position; above it the number of the contig
SLOT_BITS = 26  # of a hash: a table of 2^26 flags shows quickly that most k-mers are not there
CHUNK = 1 << 16  # k-mers computed at a time

ContigKey = tuple[int, str]
"""Number of a genome, and a contig's name in its file."""


class Rule(NamedTuple):
    """What counts as alike; see the top of this file."""

    k: int
    one_in: int  # of so many k-mers one is compared
    window: int  # bases
    shared: int
    length: int  # bases

    @property
    def reach(self) -> int:
        """Bases of validation within which the places of the shared k-mers lie."""
        return 2 * self.window

    @classmethod
    def of(cls, bases: int) -> "Rule":
        """Return the rule for validation contigs of so many bases."""
        k = max(LEAST_K, math.ceil(math.log(SPACE * max(bases, 1), 4)))
        one_in = max(1, -(-bases // MOST_KMERS))
        return cls(k, one_in, WINDOW * one_in, max(2, int(WINDOW * IDENTITY**k)), LENGTH)


class HoldOut(NamedTuple):
    """The validation contigs, and what is alike to them, by contig as `Plan.contig_name` has them."""

    val_contigs: tuple[str, ...]
    rule: dict[str, Any]  # as in meta.json
    left_out: Mapping[str, Int64]  # stretches of training contigs, [R, 2]


def hold_out(plan: Plan, on_read: OnRead | None = None) -> HoldOut:
    """Find the validation contigs of a plan among its genomes, and what is alike to them.

    Memory: about 100 bytes for each k-mer of validation that is compared, 16 for each hit of a genome, and
    64 MB.

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
    numbers: list[dict[str, int]] = [{} for _ in lengths]
    for number, (genome, contig) in enumerate(sorted(held_out)):
        numbers[genome][contig] = number  # of all genomes together, so that no two have the same places
    validation = {
        genome: _validation(path, rule, numbers[genome])
        for genome, path in enumerate(plan.genomes)
        if numbers[genome]
    }
    left_out: dict[str, Int64] = {}
    for genome, path in enumerate(plan.genomes):
        others = [kmers for number, kmers in validation.items() if plan.hold_out == "all" or number != genome]
        if others:
            found = _alike(path, Shared(others, rule), rule, excluded[genome], on_read)
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


class Shared:
    """Where k-mers are in the validation contigs of some genomes.

    Args:
        genomes: of each genome the hashed k-mers and their places, [K, 2], ascending.
        rule: a k-mer that recurs within its `reach` does not count, nor one in more than `COMMON` places.
    """

    def __init__(self, genomes: Sequence[Keys], rule: Rule) -> None:
        rare = [_rare(kmers, rule) for kmers in genomes]
        kmers = np.concatenate([np.empty((0, 2), dtype=np.uint64), *rare])
        self._kmers, self._places = kmers[np.argsort(kmers[:, 0], kind="stable")].T.copy()
        self._slots = np.zeros(1 << SLOT_BITS, dtype=np.bool_)
        self._slots[self._slot(self._kmers)] = True

    def hits(self, kmers: Keys, positions: Int64) -> Int64:
        """Return the k-mers that are shared, as position and place in validation, [H, 2], from all [K]."""
        likely = np.flatnonzero(self._slots[self._slot(kmers)])
        first = np.searchsorted(self._kmers, kmers[likely])
        counts = np.searchsorted(self._kmers, kmers[likely], side="right") - first
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._places[np.repeat(first, counts) + nth].astype(np.int64)
        return np.stack([np.repeat(positions[likely], counts), places], axis=1)

    @staticmethod
    def _slot(kmers: Keys) -> Int64:
        slots: Int64 = (kmers >> np.uint64(64 - SLOT_BITS)).astype(np.int64)
        return slots


def _rare(kmers: Keys, rule: Rule) -> Keys:
    """Return the rows of k-mers and places, [K, 2], that are neither common nor tandem repeats."""
    kmers = kmers[np.lexsort((kmers[:, 1], kmers[:, 0]))]
    _, group, counts = np.unique(kmers[:, 0], return_inverse=True, return_counts=True)
    near = (np.diff(kmers[:, 0]) == 0) & (np.diff(kmers[:, 1]) < rule.reach)
    recurs = np.append(near, False) | np.append(False, near)
    rare: Keys = kmers[(counts[group] <= COMMON) & ~recurs]
    return rare


def alike_stretches(hits: Int64, rule: Rule) -> Int64:
    """Return the alike stretches, [R, 2], of a contig with these hits, [H, 2]."""
    runs = [np.empty((0, 2), dtype=np.int64)]
    for shift in (0, rule.reach // 2):  # areas overlap, so that a window of validation is within one
        area = (hits[:, 1] + shift) // rule.reach
        order = np.lexsort((hits[:, 0], area))
        position, area, others = hits[order, 0], area[order], rule.shared - 1
        first, last = position[: max(0, len(position) - others)], position[others:]
        dense = (last - first < rule.window) & (area[: len(first)] == area[others:])
        runs.append(np.stack([first[dense], last[dense] + rule.k], axis=1))
    joined = _join(np.concatenate(runs), 1)
    return _join(joined[joined[:, 1] - joined[:, 0] >= rule.length], rule.window)


def _join(runs: Int64, gap: int) -> Int64:
    """Join runs, [R, 2], in rising order where less than `gap` lies between."""
    if not len(runs):
        return runs
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    ends = np.maximum.accumulate(runs[:, 1])
    apart = runs[1:, 0] - ends[:-1] >= gap
    return np.stack([runs[np.append(True, apart), 0], ends[np.append(apart, True)]], axis=1)


def _validation(path: Path, rule: Rule, numbers: Mapping[str, int]) -> Keys:
    """Return the hashed k-mers of the validation contigs of a genome, by number, and their places, [K, 2]."""
    pieces = [
        np.stack([kmers, (positions + (numbers[contig] << CONTIG_BITS)).astype(np.uint64)], axis=1)
        for contig, positions, kmers in _kmers(path, rule, numbers.__contains__)
    ]
    return np.concatenate([np.empty((0, 2), dtype=np.uint64), *pieces])


def _alike(
    path: Path, validation: Shared, rule: Rule, excluded: set[str], on_read: OnRead | None
) -> dict[str, Int64]:
    """Return the alike stretches of each contig of a genome file but the `excluded`, [R, 2] each."""
    hits: dict[str, list[Int64]] = {}
    for contig, positions, kmers in _kmers(path, rule, lambda contig: contig not in excluded, on_read):
        hits.setdefault(contig, []).append(validation.hits(kmers, positions))
    found = {contig: alike_stretches(np.concatenate(pieces), rule) for contig, pieces in hits.items()}
    return {contig: stretches for contig, stretches in found.items() if len(stretches)}


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
