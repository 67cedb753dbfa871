"""Rows of pairs and genes made clean: one sequence a gene, one spelling a molecule, one label a pair."""

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dnalm.data.molecules import Salts, canonical_smiles
from dnalm.errors import InputError
from dnalm.formats.genes import GeneRow
from dnalm.formats.pairs import PairRow

KINDS = "CDS,mRNA,promoter"
"""Kinds of sequences, the best first, of which one is taken for a gene."""
LONGEST_SMILES = 1000
"""Characters of a canonical SMILES; what is longer is a polymer or a protein."""
LEAST_READ = 0.5
"""Share of the rows whose SMILES must be molecules, and not so long: with fewer, the column is another."""


@dataclass
class Rows:
    """Pairs that are kept, and all that were not, with the reason."""

    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    """Label by gene and canonical SMILES."""
    dropped: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    """File, line, gene, SMILES as given, reason."""
    read: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """Rows that were dropped, by reason."""
        return dict(Counter(reason for *_, reason in self.dropped).most_common())


def kinds_of(text: str) -> tuple[str, ...]:
    """Return the kinds that a flag such as "CDS,mRNA" names, the best first.

    Raises:
        InputError: if it names none.
    """
    kinds = tuple(filter(None, map(str.strip, text.split(","))))
    if not kinds:
        raise InputError(f"--gene-kind needs kinds, as in {KINDS}")
    return kinds


def choose_sequences(
    rows: Iterable[GeneRow], kinds: tuple[str, ...]
) -> tuple[dict[str, GeneRow], dict[str, int]]:
    """Return one sequence for each gene, and how many of each kind were chosen.

    Args:
        rows: of all sequences; those without a base are passed over.
        kinds: in order of preference, told by how a row's kind begins, in either case; others come last. Of
            one kind the longest is taken, of equally long ones the first.
    """
    best: dict[str, tuple[tuple[int, int], GeneRow]] = {}
    for row in rows:
        if not set(row.sequence) & set("ACGT"):
            continue
        rank = next((place for place, kind in enumerate(kinds) if matches_kind(row.kind, kind)), len(kinds))
        value = (rank, -len(row.sequence))
        if row.gene_id not in best or value < best[row.gene_id][0]:
            best[row.gene_id] = (value, row)
    chosen = {gene: row for gene, (_value, row) in best.items()}
    return chosen, dict(Counter(row.kind for row in chosen.values()).most_common())


def matches_kind(kind: str, wanted: str) -> bool:
    """Whether a file's word for a sequence, such as PROM60_EPDnew, is of a wanted kind, such as promoter."""
    kind, wanted = kind.lower(), wanted.lower()
    return kind.startswith(wanted) or (wanted.startswith("prom") and kind.startswith("prom"))


def sort_rows(rows: Iterable[PairRow], genes: dict[str, GeneRow], salts: Salts) -> Rows:
    """Keep each pair of a gene with a sequence and a readable molecule once; say why any other row is not.

    Raises:
        InputError: if a label is neither 0 nor 1, no row is left, or most SMILES are no molecules.
    """
    found = Rows()
    spelled: dict[str, str | None] = {}
    first: dict[tuple[str, str], list[tuple[PairRow, int]]] = {}
    unread = 0
    for row in rows:
        found.read += 1
        if row.label not in ("0", "1", "0.0", "1.0"):
            raise InputError(f"{row.file}: line {row.line:,}: expected the label 0 or 1, got {row.label!r}")
        if row.smiles not in spelled:
            spelled[row.smiles] = canonical_smiles(row.smiles, salts)
        smiles = spelled[row.smiles]
        reason = ""
        if not row.smiles:
            reason = "no SMILES"
        elif smiles is None:
            reason = "SMILES is no molecule"
        elif len(smiles) > LONGEST_SMILES:
            reason = f"SMILES of more than {LONGEST_SMILES} characters"
        elif row.gene_id not in genes:
            reason = "gene without a sequence"
        unread += smiles is None or len(smiles) > LONGEST_SMILES
        if reason or smiles is None:
            found.dropped.append((row.file, row.line, row.gene_id, row.smiles, reason))
        else:
            first.setdefault((row.gene_id, smiles), []).append((row, int(float(row.label))))
    if found.read and unread > (1 - LEAST_READ) * found.read:
        example = next(given for given, each in spelled.items() if each is None or len(each) > LONGEST_SMILES)
        raise InputError(
            f"{unread:,} of {found.read:,} rows have no SMILES of a molecule, or one of more than "
            f"{LONGEST_SMILES:,} characters, for example {textwrap.shorten(example, 60)!r}; check the SMILES "
            "column"
        )
    for pair, same in first.items():
        labels = {label for _row, label in same}
        if len(labels) == 1:
            found.kept[pair] = labels.pop()
        reason = "the same pair again" if pair in found.kept else "the same pair with both labels"
        for row, _label in same[1 if pair in found.kept else 0 :]:
            found.dropped.append((row.file, row.line, row.gene_id, row.smiles, reason))
    if not found.kept:
        raise InputError(
            f"no pair is left of {found.read:,} rows: "
            + (
                "; ".join(f"{count:,} {reason}" for reason, count in found.reasons.items())
                or "there are none"
            )
            + "; do --pairs and --genes name genes alike?"
        )
    found.dropped.sort(key=lambda row: (row[0], row[1]))
    return found
