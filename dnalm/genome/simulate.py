"""A simulated genome with sites of one motif, and simulated pairs with a rule, for demonstrations and tests.

Genome: the background is a Markov chain, poor in CpG, whose GC content changes along the contigs. In slots
that never overlap lie soft-masked copies of repeat families, tandem repeats, runs of N, and sites.

Pairs: every gene holds one of two motifs and every molecule one of two fragments; a pair matches if both are
of one couple. Of matching pairs nine in ten are positive, of others one in ten, and both kinds are equally
frequent, so that neither end predicts anything without the other.

The same arguments give the same bytes: one PCG64 stream, of which only uniform numbers are used.

Shapes used below
    G  bases of the genome           W  width of the motif
    S  bases of a slot               R  items of one kind, each in a slot
    P  pairs of a gene and a molecule
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASES
from dnalm.errors import InputError
from dnalm.files import atomic_file, write_text

Codes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LINE = 60  # bases on a line of the FASTA
SLOT = 500  # S: every repeat, site and inner gap lies within one slot of its own
SHARES = (0.45, 0.25, 0.03, 0.005)
"""Of the slots that hold a repeat copy, a site, a tandem repeat, a run of N; the rest hold none."""
LEADING_GAP = 2 * SLOT  # N at the start of each contig
SHORTEST_CONTIG = 10_000

LANE = 1_000  # bases between two changes of the GC content
ISOCHORE_LANES = 30  # lanes in an isochore, on average; inside one the GC content only wavers
GC_RANGE, GC_WAVER = (0.38, 0.60), 0.02
"""GC content before CpG is made rare, which leaves about 36 to 54 %."""
FOLLOWS = np.array(
    [[1.15, 0.90, 1.05, 0.90], [1.15, 1.10, 0.25, 1.05], [1.00, 1.00, 1.10, 0.90], [0.75, 1.00, 1.15, 1.15]]
)
"""[4, 4]: how much more often a base (column) follows another (row) than by chance; equal on both strands."""

FAMILY_LENGTHS = (480, 420, 330, 300, 220, 150)  # of each repeat family's consensus
DIVERGENCE = (0.05, 0.20)  # share of the bases of a copy that were substituted
TRUNCATED = 0.3  # share of copies that lost their 5' part, 30 to 90 % of the consensus
TANDEM_UNITS, TANDEM_LENGTHS, TANDEM_ERRORS = (2, 6), (40, 240), 0.03
GAP_LENGTHS = (50, SLOT)

MOTIF_NAME = "SIM1"
BEST_SITE = "GCATTAGACC"
_BEST = zip(BEST_SITE, (0.91, 0.97, 0.91, 0.85, 0.97, 0.97, 0.85, 0.91, 0.91, 0.70), strict=True)
MOTIF: Numbers = np.array(
    [[p if base == best else round((1 - p) / 3, 2) for base in BASES] for best, p in _BEST]
)
"""[W, 4]: probability of A C G T at each position of a site; invented, 13.9 bits."""

CONTROL, FLANK = 60, 150
"""Bases from a site's end to the variant that is in no site, and from a site to the edges of its region."""

GENES, MOLECULES, PAIRS = 120, 300, 6_000
GENE_LENGTHS = (300, 600)
MOTIFS = ("GATTACAGGC", "CCTGAGTCAT")  # of the two couples: by chance, in one gene of a thousand
COPIES = 3  # of its motif in each gene
FRAGMENTS = ("C(Br)(Br)", "S(=O)(=O)N")
"""Of the two couples; each is text that may stand in a SMILES after one atom and before another."""
FILLERS = ("C", "CC", "CO", "CN", "C(C)", "C(=O)", "c1ccccc1", "C1CCCC1", "c1ccncc1")
"""The rest of a molecule; none holds a part of a planted fragment."""
FILLER_COUNTS = (3, 6)
MATCH_POSITIVE, OTHER_POSITIVE = 0.9, 0.1  # how probable a positive pair is, if it matches and if not
BEST_AUROC = (1 + MATCH_POSITIVE - OTHER_POSITIVE) / 2
"""AUROC of the rule itself: it finds 0.9 of the positives at the cost of 0.1 of the negatives."""


class Site(NamedTuple):
    """One planted site."""

    contig: str
    start: int  # 0-based, in the contig; the site covers W bases from here, on either strand
    strand: str  # + or -
    sequence: str  # its W bases, read along its own strand


class GenomeTruth(NamedTuple):
    """The files that were written, and the planted sites."""

    genome: Path  # FASTA
    sites_bed: Path  # BED6; a site's name is its sequence along its own strand
    motif_file: Path  # in MEME's text format
    contigs: tuple[tuple[str, int], ...]  # name and length, N counted
    sites: tuple[Site, ...]  # in the order of the genome


def simulate_genome(path: Path, *, bases: int = 2_000_000, contigs: int = 4, seed: int = 0) -> GenomeTruth:
    """Write a genome of `bases` letters as FASTA, and beside it NAME.sites.bed and motif.meme.

    Args:
        path: the FASTA to write, not compressed.
        bases: G, letters in all, N counted.
        contigs: how many; chr1 is the longest, the last a `contigs`-th of it.
        seed: another seed, another genome, families and sites; the motif stays.

    Raises:
        InputError: if an argument is out of range.
    """
    parts = contigs * (contigs + 1) // 2  # lengths are in the ratio contigs : ... : 2 : 1
    if contigs < 1 or bases < SHORTEST_CONTIG * parts:
        raise InputError(
            f"expected 1 contig or more, and {SHORTEST_CONTIG * parts:,} bases or more for {contigs}; got "
            f"{bases:,}"
        )
    random = _generator(seed)
    lengths = [bases * weight // parts for weight in range(contigs, 0, -1)]
    lengths[0] += bases - sum(lengths)
    starts = np.cumsum([0, *lengths[:-1]])
    bounds = zip(starts + LEADING_GAP, starts + lengths - SLOT + 1, strict=True)
    slots = np.concatenate([np.arange(first, last, SLOT) for first, last in bounds])
    slots = slots[_shuffled(random, len(slots))]
    counts = [max(1, int(len(slots) * share)) for share in SHARES]
    in_masked, in_site, in_tandem, in_gap, _ = np.split(slots, np.cumsum(counts))

    genome = _background(random, bases)  # [G]
    masked = np.zeros(bases, dtype=np.bool_)  # [G]
    _lay_families(random, genome, masked, in_masked)
    _lay_tandems(random, genome, masked, in_tandem)
    at, forward, sampled = _lay_sites(random, genome, np.sort(in_site))
    text = np.frombuffer(BASES.encode(), dtype=np.uint8)[genome] | (masked * np.uint8(ord("a") - ord("A")))
    for start in starts:
        text[start : start + LEADING_GAP] = ord("N")
    for slot, length in zip(in_gap, _integers(random, GAP_LENGTHS, len(in_gap)), strict=True):
        text[slot : slot + length] = ord("N")

    names = [f"chr{i + 1}" for i in range(contigs)]
    _write_fasta(path, names, np.split(text, starts[1:]))
    contig = np.searchsorted(starts, at, side="right") - 1
    sites = tuple(
        Site(names[c], int(a - starts[c]), "+" if f else "-", "".join(BASES[b] for b in s))
        for c, a, f, s in zip(contig, at, forward, sampled, strict=True)
    )
    bed, meme = path.with_suffix(".sites.bed"), path.with_name("motif.meme")
    rows = (f"{s.contig}\t{s.start}\t{s.start + len(MOTIF)}\t{s.sequence}\t0\t{s.strand}\n" for s in sites)
    write_text(bed, "".join(rows))
    write_text(meme, _meme(len(sites)))
    return GenomeTruth(path, bed, meme, tuple(zip(names, lengths, strict=True)), sites)


def simulate_variants(truth: GenomeTruth, vcf: Path, bed: Path, count: int = 20) -> None:
    """Write a VCF of single-base changes, half of which break a planted site, and the regions around them.

    A change in a site is at the motif's most certain position; the other one is `CONTROL` bases beyond the
    site's end, in no site. INFO has SITE, 1 or 0. A region of BED4 is `FLANK` bases to each side of a site.

    Args:
        truth: of `simulate_genome`.
        vcf: to write, not compressed.
        bed: to write.
        count: variants at most; only sites of the best word are used, without N, another site or a contig's
            end near them.
    """
    texts = truth.genome.read_text(encoding="ascii").split(">")[1:]
    contigs = {text.split("\n", 1)[0]: text.split("\n", 1)[1].replace("\n", "").upper() for text in texts}
    width, certain = len(MOTIF), int(MOTIF.max(axis=1).argmax())
    near = {(site.contig, site.start // SLOT) for site in truth.sites}
    rows: list[str] = []
    regions: list[str] = []
    for site in (site for site in truth.sites if site.sequence == BEST_SITE):
        start, end = site.start - FLANK, site.start + width + FLANK
        letters = contigs[site.contig]
        alone = (site.contig, site.start // SLOT + 1) not in near
        if start < 0 or end > len(letters) or "N" in letters[start:end] or not alone or len(rows) >= count:
            continue
        inside = site.start + (certain if site.strand == "+" else width - 1 - certain)
        for at, in_site in ((inside, 1), (site.start + width + CONTROL, 0)):
            ref = letters[at]
            alt = BASES[(BASES.index(ref) + 2) % 4]  # a transition: A and G, C and T
            rows.append(f"{site.contig}\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\tSITE={in_site}\n")
        regions.append(f"{site.contig}\t{start}\t{end}\tsite{len(regions) + 1}\n")
    lengths = "".join(f"##contig=<ID={name},length={length}>\n" for name, length in truth.contigs)
    info = '##INFO=<ID=SITE,Number=1,Type=Integer,Description="In a planted site">'
    head = f"##fileformat=VCFv4.3\n{lengths}{info}\n"
    write_text(vcf, f"{head}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{''.join(rows)}")
    write_text(bed, "".join(regions))


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more, got {seed}")
    return np.random.Generator(np.random.PCG64(seed))


def _integers(random: np.random.Generator, bounds: tuple[int, int], count: int) -> Positions:
    """Return `count` random integers within `bounds`, both included."""
    low, high = bounds
    return low + (random.random(count) * (high - low + 1)).astype(np.int64)


def _integer(random: np.random.Generator, low: int, high: int) -> int:
    return int(_integers(random, (low, high), 1)[0])


def _codes(random: np.random.Generator, shape: tuple[int, ...], count: int = 4) -> Codes:
    """Return random codes below `count`."""
    return (random.random(shape) * count).astype(np.uint8)


def _shuffled(random: np.random.Generator, count: int) -> Positions:
    """Return 0 to `count` - 1 in random order."""
    return np.argsort(random.random(count), kind="stable")


def _background(random: np.random.Generator, bases: int) -> Codes:
    """Return base codes, [G]: chains of LANE bases, run side by side, each with a GC content of its own."""
    lanes = -(-bases // LANE)
    isochore = np.cumsum(random.random(lanes) < 1 / ISOCHORE_LANES)
    low, high = GC_RANGE
    gc = low + (high - low) * random.random(lanes + 1)[isochore] + GC_WAVER * (2 * random.random(lanes) - 1)
    shares = np.stack([1 - gc, gc, gc, 1 - gc], axis=1) / 2  # [lanes, 4]
    weights = shares[:, None, :] * FOLLOWS  # [lanes, 4, 4]
    # The probability of a sequence is the product of its weights, the same on both strands: a step's is its
    # weight times what may still follow (the right eigenvector, by power iteration).
    ahead = np.ones((lanes, 1, 4))
    for _ in range(20):
        ahead = (weights * ahead).sum(axis=2)[:, None, :]
        ahead /= ahead.sum(axis=2, keepdims=True)
    chances = weights * ahead
    steps = (chances / chances.sum(axis=2, keepdims=True)).cumsum(axis=2)[:, :, :3]  # [lanes, 4, 3]
    genome = np.empty((LANE, lanes), dtype=np.uint8)
    lane = np.arange(lanes)
    state = (random.random((lanes, 1)) > shares.cumsum(axis=1)[:, :3]).sum(axis=1)
    for row in genome:
        state = (random.random((lanes, 1)) > steps[lane, state]).sum(axis=1)
        row[:] = state
    return genome.T.reshape(-1)[:bases]


def _substitute(random: np.random.Generator, codes: Codes, share: Numbers | float) -> Codes:
    """Return `codes`, [R, length], with a `share` of the bases changed into one of the three others."""
    changed = random.random(codes.shape) < share
    return np.where(changed, (codes + 1 + _codes(random, codes.shape, 3)) % 4, codes).astype(np.uint8)


def _lay_families(random: np.random.Generator, genome: Codes, masked: Flags, slots: Positions) -> None:
    """Overwrite part of each slot with a diverged copy of a family's consensus, on either strand."""
    count, longest = len(slots), max(FAMILY_LENGTHS)
    consensus = _codes(random, (len(FAMILY_LENGTHS), longest))
    family = _integers(random, (0, len(FAMILY_LENGTHS) - 1), count)
    full = np.array(FAMILY_LENGTHS)[family]
    cut = random.random(count) < TRUNCATED
    lost = np.where(cut, full * (0.1 + 0.6 * random.random(count)), 0).astype(np.int64)
    low, high = DIVERGENCE
    share = low + (high - low) * random.random(count)
    copies = _substitute(random, consensus[family], share[:, None])  # [R, longest]
    start = _inside(random, slots, full - lost)
    forward = random.random(count)[:, None] < 0.5
    column = np.arange(longest)
    kept = (column >= lost[:, None]) & (column < full[:, None])  # [R, longest]
    at = np.where(forward, column - lost[:, None], full[:, None] - 1 - column) + start[:, None]
    genome[at[kept]] = np.where(forward, copies, 3 - copies)[kept]
    masked[at[kept]] = True


def _lay_tandems(random: np.random.Generator, genome: Codes, masked: Flags, slots: Positions) -> None:
    """Overwrite part of each slot with a short unit repeated head to tail, with a few errors."""
    count = len(slots)
    units = _codes(random, (count, TANDEM_UNITS[1]))
    width = _integers(random, TANDEM_UNITS, count)
    length = _integers(random, TANDEM_LENGTHS, count)
    column = np.arange(TANDEM_LENGTHS[1])
    copies = _substitute(random, np.take_along_axis(units, column % width[:, None], axis=1), TANDEM_ERRORS)
    kept = column < length[:, None]
    at = (_inside(random, slots, length)[:, None] + column)[kept]
    genome[at], masked[at] = copies[kept], True


def _inside(random: np.random.Generator, slots: Positions, length: Positions | int) -> Positions:
    """Return where in each slot what has `length` bases begins, [R]."""
    return slots + (random.random(len(slots)) * (SLOT - length + 1)).astype(np.int64)


def _lay_sites(
    random: np.random.Generator, genome: Codes, slots: Positions
) -> tuple[Positions, Flags, Codes]:
    """Overwrite W bases of each slot with a random site of the motif.

    Returns:
        Start of each site in the genome, [R]; True on the forward strand, [R]; its base codes along its own
        strand, [R, W].
    """
    width = len(MOTIF)
    at = _inside(random, slots, width)
    forward = random.random(len(slots)) < 0.5
    uniform = random.random((len(slots), width, 1))
    sampled = (uniform > MOTIF.cumsum(axis=1)[:, :3]).sum(axis=2).astype(np.uint8)  # [R, W]
    genome[at[:, None] + np.arange(width)] = np.where(forward[:, None], sampled, 3 - sampled[:, ::-1])
    return at, forward, sampled


def _write_fasta(path: Path, names: list[str], contigs: list[Codes]) -> None:
    """Write contigs as FASTA, `LINE` bases on a line."""
    with atomic_file(path) as file:
        for name, letters in zip(names, contigs, strict=True):
            lines = (letters[start : start + LINE].tobytes() for start in range(0, len(letters), LINE))
            file.write(b"\n".join([f">{name}".encode(), *lines, b""]))


def _meme(sites: int) -> str:
    """Return the motif in MEME's minimal text format, version 4."""
    rows = "".join(" " + " ".join(f"{p:.6f}" for p in row) + "\n" for row in MOTIF)
    return (
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
        "Background letter frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n\n"
        f"MOTIF {MOTIF_NAME}\n"
        f"letter-probability matrix: alength= 4 w= {len(MOTIF)} nsites= {sites} E= 0\n{rows}"
    )


class PairTruth(NamedTuple):
    """The files that were written, and their truth."""

    pairs: Path  # CSV of GeneID, SMILES and Label
    genes: Path  # FASTA; a record's name is the GeneID
    matches: Flags  # whether each pair matches, in the order of the file, [P]: the best score there is
    labels: Flags  # [P]


def simulate_pairs(folder: Path, seed: int = 0) -> PairTruth:
    """Write pairs.csv and genes.fa: 6,000 labelled pairs of 120 genes and 300 molecules.

    A model that knows the rule has an AUROC of 0.9 (`BEST_AUROC`); one that knows only the share of
    positives of each gene and each molecule has about 0.5.

    Args:
        folder: made if it is not there; files of these names in it are replaced.
        seed: another seed, other genes, molecules and pairs; motifs and fragments stay.

    Raises:
        InputError: if the seed is negative.
    """
    random = _generator(seed)
    genes = [_gene(random, row % 2) for row in range(GENES)]
    molecules: list[str] = []
    while len(molecules) < MOLECULES:
        smiles = _molecule(random, len(molecules) % 2)
        if smiles not in molecules:
            molecules.append(smiles)
    # Distinct pairs in random order, half of them matches.
    every = np.arange(GENES * MOLECULES)
    match = every // MOLECULES % 2 == every % MOLECULES % 2
    order = _shuffled(random, len(every))
    chosen = np.concatenate([order[match[order]][: PAIRS // 2], order[~match[order]][: PAIRS - PAIRS // 2]])
    chosen = chosen[_shuffled(random, PAIRS)]
    labels = random.random(PAIRS) < np.where(match[chosen], MATCH_POSITIVE, OTHER_POSITIVE)
    names = [str(1000 + row) for row in range(GENES)]
    rows = (
        f"{names[pair // MOLECULES]},{molecules[pair % MOLECULES]},{int(label)}\n"
        for pair, label in zip(chosen, labels, strict=True)
    )
    truth = PairTruth(folder / "pairs.csv", folder / "genes.fa", match[chosen], labels)
    write_text(truth.pairs, "GeneID,SMILES,Label\n" + "".join(rows))
    _write_fasta(truth.genes, names, [np.frombuffer(gene.encode(), dtype=np.uint8) for gene in genes])
    return truth


def _gene(random: np.random.Generator, couple: int) -> str:
    """Return random bases with `COPIES` of the couple's motif and none of the other's."""
    motif, other = MOTIFS[couple], MOTIFS[1 - couple]
    while True:
        length = _integer(random, *GENE_LENGTHS)
        gene = "".join(BASES[code] for code in _codes(random, (length,)))
        third = length // COPIES  # one copy in each third, so that none lies on another
        for copy in range(COPIES):
            at = copy * third + _integer(random, 0, third - len(motif))
            gene = gene[:at] + motif + gene[at + len(motif) :]
        if gene.count(motif) == COPIES and other not in gene:
            return gene


def _molecule(random: np.random.Generator, couple: int) -> str:
    """Return a chain of fillers with the couple's fragment between two of them."""
    count = _integer(random, *FILLER_COUNTS)
    parts = [FILLERS[_integer(random, 0, len(FILLERS) - 1)] for _ in range(count)]
    parts.insert(_integer(random, 1, count - 1), FRAGMENTS[couple])
    return "".join(parts)
