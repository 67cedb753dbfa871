"""The annotated features of a genome, base by base: which feature, which codon position, which gene.

Shapes: L bases of a stretch of a contig; P features of a contig.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.data.labels import Rename, contigs_by_name, first_names, how_to_match
from dnalm.errors import InputError, counted
from dnalm.formats.gff import Feature, Gff

FEATURES = ("intergenic", "other gene", "UTR", "tRNA", "intron", "coding", "mobile element")
"""What a base may be in; where features overlap, the last of these counts."""
INTERGENIC, OTHER, UTR, TRNA, INTRON, CODING, MOBILE = range(len(FEATURES))
KINDS = {
    **dict.fromkeys(("five_prime_utr", "three_prime_utr", "5utr", "3utr", "utr"), UTR),
    **dict.fromkeys(("trna", "trna_gene"), TRNA),
    **dict.fromkeys(("intron", "five_prime_utr_intron", "three_prime_utr_intron"), INTRON),
    **dict.fromkeys(("mobile_genetic_element", "retrotransposon", "ltr_retrotransposon"), MOBILE),
    **dict.fromkeys(("transposable_element", "transposable_element_gene", "long_terminal_repeat"), MOBILE),
    **dict.fromkeys(("gene", "pseudogene"), OTHER),
}
"""Column 3 in lower case; any other kind that ends in _gene is another gene. CDS and exon: see below."""
SHORTEST_INTRON = 10
"""Bases: a shorter gap between exons is a frameshift."""
STANDARD_CODE = ("", "1", "11")
"""Values of transl_table with the codons of the standard code (11 has other starts)."""
MITOCHONDRIA = ("m", "mt", "mito", "chrm", "chrmt", "mitochondrion")
NO_FRAME, CONFLICT = 0, 7
DUBIOUS = "an open reading frame that is marked as dubious (orf_classification=Dubious)"
UNFIT = "without codon positions, the phases do not fit the length of the CDS"
OTHER_CODE = "without codon positions, of another genetic code, as in mitochondria"


class Painted(NamedTuple):
    """What each base of a stretch is in, [L] each."""

    feature: npt.NDArray[np.uint8]  # Index in FEATURES
    frame: npt.NDArray[np.uint8]  # Codon position 1 to 3 on +, 4 to 6 for 1 to 3 on -; NO_FRAME, CONFLICT
    gene: npt.NDArray[np.int64]  # Index in `Annotation.genes` where there is a frame


class Annotation:
    """The features of a GFF3 or GTF file on the contigs of a genome.

    UTRs and introns are those of the file; where it has exons and no introns, the gaps between the exons of a
    transcript with CDS are introns, and what of its exons is no CDS is UTR.

    Args:
        gff: the file; what is not used is counted there.
        lengths: bases of each contig of the genome.
        rename: how its contigs are called in the file, see `dnalm.data.labels.rename_rule`.
        keep_dubious: use open reading frames that are marked as dubious too.

    Raises:
        InputError: if the file holds no feature, or none on a contig of the genome.
    """

    def __init__(
        self, gff: Gff, lengths: Mapping[str, int], rename: Rename, *, keep_dubious: bool = False
    ) -> None:
        self.gff, self.genes = gff, list[str]()
        """Names of genes with CDS: of the gene, or else of the transcript."""
        self.used = 0
        """Lines of the file that mark bases."""
        self.frameless: Counter[str] = Counter()
        """Transcripts whose codons are not known, by reason."""
        self._rows: dict[str, list[tuple[int, int, int, int, int, int]]] = {}
        self._sorted: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        contigs = contigs_by_name(lengths, rename)
        transcripts: dict[tuple[str, str], list[Feature]] = {}
        parents: dict[str, str] = {}
        seen: dict[str, None] = {}
        for feature in gff:
            seen.setdefault(feature.contig)
            contig, lower = contigs.get(feature.contig, ""), feature.kind.lower()
            if "ID" in feature.attributes and "Parent" in feature.attributes:
                parents[feature.first("ID")] = feature.first("Parent")
            if not contig:
                gff.leave_out("on a contig that the genome lacks", feature.line)
            elif feature.end > lengths[contig]:
                gff.leave_out("beyond the end of its contig", feature.line)
            elif not keep_dubious and feature.first("orf_classification") == "Dubious":
                gff.leave_out(DUBIOUS, feature.line)
            elif lower in ("cds", "exon", "stop_codon"):
                key = (contig, feature.first("transcript_id", "Parent", "ID") or f"line {feature.line}")
                transcripts.setdefault(key, []).append(feature)
            elif (label := _label(feature)) is None:
                gff.leave_out("of a kind that marks no bases", feature.line)
            else:
                self.used += 1
                self._add(contig, feature.start, feature.end, label)
        if not seen.keys() & contigs.keys():
            got = f"its contigs are {first_names(seen)}" if seen else "it has no feature"
            own, advice = first_names(lengths), how_to_match(seen, list(lengths))
            raise InputError(f"{gff.path}: expected features of the genome ({own}), and {got}; {advice}")
        numbers: dict[str, int] = {}
        for (contig, name), parts in transcripts.items():
            gene = parts[0].first("gene_id") or parents.get(name, name)
            self._add_transcript(contig, parts, numbers.setdefault(gene, len(numbers)))
        self.genes = list(numbers)
        self._finish()

    def paint(self, contig: str, start: int, end: int) -> Painted:
        """Return what the bases of a contig from `start` to before `end` are in."""
        painted = Painted(
            np.zeros(end - start, np.uint8), np.zeros(end - start, np.uint8), np.zeros(end - start, np.int64)
        )
        rows, reach = self._sorted.get(contig, (np.zeros((0, 6), np.int64), np.zeros(0, np.int64)))
        first, last = np.searchsorted(reach, start, side="right"), np.searchsorted(rows[:, 0], end)
        for begin, stop, label, strand, anchor, gene in rows[first:last].tolist():
            begin, stop = max(begin, start), min(stop, end)
            if begin >= stop:
                continue
            inside = slice(begin - start, stop - start)
            np.maximum(painted.feature[inside], label, out=painted.feature[inside])
            if strand:
                at = np.arange(begin, stop)
                frame = 1 + (at - anchor) % 3 if strand > 0 else 4 + (anchor - at) % 3
                old = painted.frame[inside]
                same = (old == NO_FRAME) | (old == frame)
                painted.frame[inside] = np.where(same, frame, CONFLICT)
                painted.gene[inside] = gene
        painted.frame[painted.feature != CODING] = NO_FRAME
        return painted

    def summary(self) -> list[str]:
        """Return a sentence for each reason why lines of the file were not used."""
        lines = [(f"{counted(count, 'line')} not used", why) for why, count in self.gff.left_out.items()]
        lines += [(counted(count, "transcript"), why) for why, count in self.frameless.items()]
        return [f"{what}: {why} (the first is {self.gff.examples[why]})" for what, why in lines]

    def _add(
        self, contig: str, start: int, end: int, label: int, strand: int = 0, anchor: int = 0, gene: int = 0
    ) -> None:
        """Add a feature; `anchor` is a first base of a codon on `strand`, 1 or -1; 0 without a frame."""
        self._rows.setdefault(contig, []).append((start, end, label, strand, anchor, gene))

    def _add_transcript(self, contig: str, parts: Sequence[Feature], gene: int) -> None:
        """Add the CDS of a transcript with their frames, and its exons where it has CDS."""
        coding = sorted((p for p in parts if p.kind.lower() == "cds"), key=lambda part: part.start)
        exons = sorted((p.start, p.end) for p in parts if p.kind.lower() == "exon")
        if not coding:
            self.gff.leave_out("exon of a transcript without CDS", parts[0].line, len(parts))
            return
        self.used += len(parts)
        for start, end in exons:
            self._add(contig, start, end, UTR)
        for (_, one_end), (other_start, _) in zip(exons, exons[1:], strict=False):
            if other_start - one_end >= SHORTEST_INTRON:
                self._add(contig, one_end, other_start, INTRON)
        for part in parts:  # of GTF, where it is no part of the CDS
            if part.kind.lower() == "stop_codon":
                self._add(contig, part.start, part.end, CODING)
        phases, is_standard = _phases(coding), _is_standard(contig, coding[0])
        if reason := UNFIT if phases is None else "" if is_standard else OTHER_CODE:
            self.frameless[reason] += 1
            self.gff.examples.setdefault(reason, f"line {coding[0].line:,}")
        strand = 0 if reason else -1 if coding[0].strand == "-" else 1
        for part, phase in zip(coding, phases or [0] * len(coding), strict=True):
            anchor = part.start + phase if strand > 0 else part.end - 1 - phase
            self._add(contig, part.start, part.end, CODING, strand, anchor, gene)

    def _finish(self) -> None:
        """Sort the features of each contig by their starts, with the furthest end up to each of them."""
        for contig, rows in self._rows.items():
            table = np.array(sorted(rows), dtype=np.int64)
            self._sorted[contig] = table, np.maximum.accumulate(table[:, 1])
        self._rows.clear()


def _label(feature: Feature) -> int | None:
    """Return the index in FEATURES of what a feature marks by itself; None if it marks nothing."""
    lower = feature.kind.lower()
    label = KINDS.get(lower, OTHER if lower.endswith("_gene") else None)
    biotype = feature.first("gene_biotype", "gene_type", "biotype")
    return TRNA if label == OTHER and biotype == "tRNA" else label


def _is_standard(contig: str, coding: Feature) -> bool:
    """Return whether a CDS has the codons of the standard genetic code."""
    return coding.first("transl_table") in STANDARD_CODE and contig.lower() not in MITOCHONDRIA


def _phases(coding: Sequence[Feature]) -> list[int] | None:
    """Return the phase of each part of a CDS, in the order of the genome.

    None if a phase of the file is not what the lengths of the parts before it leave, if the last codon is not
    complete, or if the parts are on both strands or none.
    """
    strands = {part.strand for part in coding}
    if len(strands) > 1 or "." in strands:
        return None
    order = coding[::-1] if coding[0].strand == "-" else coding
    phase, phases = order[0].phase or 0, list[int]()
    for part in order:
        if part.phase not in (None, phase):
            return None
        phases.append(phase)
        phase = (phase - (part.end - part.start)) % 3
    if phase:
        return None
    return phases[::-1] if coding[0].strand == "-" else phases
