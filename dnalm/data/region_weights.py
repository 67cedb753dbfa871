"""Weights in the loss of pretraining for the bases of regions, such as exons or repeats.

Positions are 0-based and half-open. Shapes: R regions of one contig; E covered stretches of the training
part.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.data.epochs import Rows
from dnalm.errors import InputError, counted
from dnalm.files import sha256
from dnalm.formats.bed import read_bed
from dnalm.formats.gff import Gff
from dnalm.genome.folder import PreparedGenome

SHOWN = 5  # contigs that a message names
ANNOTATION = re.compile(r"(.+\.(?:gff3?|gtf)(?:\.gz)?)(?::([^:/]+))?")
"""A GFF3 or GTF file, and after a colon the type of its features that count."""
CONTIG_TYPES = (
    "chromosome",
    "contig",
    "region",
)  # features that are a contig: by their type alone


class RegionWeights:
    """The weight in the loss of each token of a genome's training part; 1 outside of all regions.

    Regions may overlap where their weights are the same. In full, what lies between two bases of a region,
    such as the end of a line, has its weight too.

    Args:
        genome: a prepared folder.
        given: of each file its path and the weight of its regions, `FILE.bed=0.1`, or `FILE.gff3:CDS=0.1` for
            the features of one type.

    Raises:
        InputError: if a weight is missing or below 0, a file is of another genome or has no such region,
            regions of different weights overlap, or every base would weigh nothing.
    """

    def __init__(self, genome: PreparedGenome, given: Sequence[str]) -> None:
        self.caution = ""  # Which regions are on contigs that the genome lacks, in a sentence
        self.sources = [
            {"name": path.name, "sha256": sha256(path), "weight": weight} | ({"type": kind} if kind else {})
            for path, kind, weight in map(_split, given)
        ]
        self._genome = genome
        rows: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
        for path, kind, weight in map(_split, given):
            self._read(path, kind, weight, rows)
        parts = [self._in_train(name, _merged(name, np.array(rows[name]))) for name in rows]
        stretches = np.concatenate([np.zeros((0, 3)), *parts])
        stretches = stretches[stretches[:, 0].argsort()]  # start, end and weight, [E, 3]
        bases = int(genome.meta["counts"]["train_bases"])
        silent = stretches[stretches[:, 2] == 0]
        if bases and int((silent[:, 1] - silent[:, 0]).sum()) == bases:
            raise InputError(
                f"`region_weight` 0 leaves nothing to learn: its regions hold all {bases:,} bases"
            )
        if given and not len(stretches):
            self._warn("no region is in the training part: `region_weight` has no effect")
        spans = [genome.text_span("train", int(start), int(end)) for start, end, _ in stretches]
        self._edges: Rows = np.array(spans, dtype=np.int64).reshape(-1)  # [2 E]
        # Outside a stretch an even number of edges lies before a token, inside it an odd one: [2 E + 1].
        self._weights = np.ones(len(self._edges) + 1, dtype=np.float32)
        self._weights[1::2] = stretches[:, 2]

    def weights(self, at: Rows) -> npt.NDArray[np.float32]:
        """Return the weights of the tokens at some offsets of the training part, of any shape."""
        found: npt.NDArray[np.float32] = self._weights[np.searchsorted(self._edges, at, side="right")]
        return found

    def _read(
        self, path: Path, kind: str, weight: float, rows: dict[str, list[tuple[int, int, float]]]
    ) -> None:
        """Add the regions of a file to `rows`, by contig."""
        lengths = {each["name"]: each["length"] for each in self._genome.meta["contigs"]}
        unknown, left_out, read = set(), 0, 0
        for contig, start, end in (
            self._features(path, kind) if ANNOTATION.fullmatch(path.name) else read_bed(path)
        ):
            if contig not in lengths:
                unknown.add(contig)
                left_out += 1
                continue
            if end > lengths[contig]:
                raise InputError(
                    f"{path}: a region of {contig} ends at {end:,}, and {contig} has {lengths[contig]:,} "
                    f"bases in {self._genome.folder}: this file is of another build; use that of this genome"
                )
            read += 1
            if start < end:
                rows[contig].append((start, end, weight))
        named = ", ".join(sorted(unknown)[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        missing = f"{counted(len(unknown), 'contig')} ({named})"
        if not read:
            what = f"it has regions of {missing} alone" if unknown else "it has no region"
            raise InputError(
                f"{path}: expected regions of contigs of {self._genome.folder} "
                f"({', '.join(list(lengths)[:3])}, ...), but {what}; use one of this genome, with its names"
            )
        if unknown:
            what = f"{missing} of it are not in the genome"
            self._warn(f"{path}: {what}: {counted(left_out, 'region')} left out, {read:,} read")

    def _warn(self, message: str) -> None:
        self.caution = f"{self.caution}; {message}" if self.caution else message

    def _features(self, path: Path, kind: str) -> list[tuple[str, int, int]]:
        """Return the features of an annotation, those of one type if `kind` is not empty."""
        gff, kinds, found = Gff(path), Counter[str](), []
        for feature in gff:
            kinds[feature.kind] += 1
            if kind == feature.kind or not kind and feature.kind not in CONTIG_TYPES:
                found.append((feature.contig, feature.start, feature.end))
        if kinds and not found:
            has = ", ".join(f"{name} ({count:,})" for name, count in kinds.most_common(SHOWN))
            raise InputError(f"{path}: `region_weight`: no feature of type {kind!r}; it has {has}")
        if wrong := sum(gff.left_out.values()):
            self._warn(f"{path}: {counted(wrong, 'line')} left out, which are no features")
        return found

    def _in_train(self, contig: str, regions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the base numbers of train that regions of a contig hold, with weights, [.., 3]."""
        names = [each["name"] for each in self._genome.meta["contigs"]]
        segments = self._genome.segments("train")
        found = [np.zeros((0, 3))]
        for _, start, length, number in segments[segments[:, 0] == names.index(contig)].tolist():
            low = np.searchsorted(regions[:, 1], start, side="right")
            high = np.searchsorted(regions[:, 0], start + length, side="left")
            inside = regions[low:high].copy()
            inside[:, :2] = inside[:, :2].clip(start, start + length) - start + number
            found.append(inside)
        return np.concatenate(found)


def _split(given: str) -> tuple[Path, str, float]:
    """Return the path, the type of features and the weight of one `region_weight`."""
    name, _, text = given.rpartition("=")
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not name or not 0 <= weight < float("inf"):
        wanted = "FILE.bed=WEIGHT or FILE.gff3:TYPE=WEIGHT, the weight at least 0"
        raise InputError(f"`region_weight`: expected {wanted}, got {given!r}; for example exons.bed=0.1")
    annotation = ANNOTATION.fullmatch(name)
    return (Path(annotation[1]), annotation[2] or "", weight) if annotation else (Path(name), "", weight)


def _merged(contig: str, regions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return regions of a contig, [R, 3], in order, those that overlap joined.

    Raises:
        InputError: if two of different weights overlap.
    """
    merged: list[list[float]] = []
    for start, end, weight in sorted(regions.tolist()):
        if not merged or start >= merged[-1][1]:
            merged.append([start, end, weight])
            continue
        if weight != merged[-1][2]:
            raise InputError(
                f"`region_weight`: base {int(start) + 1:,} of {contig} is in regions of weight "
                f"{merged[-1][2]:g} and of {weight:g}; give each base one weight"
            )
        merged[-1][1] = max(merged[-1][1], end)
    return np.array(merged).reshape(-1, 3)
