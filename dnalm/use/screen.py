"""Ranking a library of molecules for one gene, or genes for one molecule, with a trained model.

Shapes: N pairs that are ranked.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.data.molecules import Salts, atom_symbols
from dnalm.data.pair_batches import PairTokens
from dnalm.data.pairs import PairSet
from dnalm.data.prepare_pairs import (
    DEFAULT_KINDS,
    MAX_SMILES,
    MIN_READABLE,
    choose_sequences,
    match_names,
    parse_kinds,
    stable_name,
)
from dnalm.errors import InputError, counted, shortened
from dnalm.evaluate import attention as attending
from dnalm.evaluate.pair_scores import probability
from dnalm.formats.genes import read_gene_rows
from dnalm.formats.pairs import plain_gene_id
from dnalm.formats.smiles import read_molecules
from dnalm.models.combined import CombinedPredictor
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.open import OpenedInteraction
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import PairTexts
from dnalm.models.pretrained import PretrainedConfig, Spans
from dnalm.process import Say, silent

Rows = npt.NDArray[np.int64]
UnreadRow = tuple[str, str, str]  # where a row of a library is, its text, and why it could not be read

SEQUENCE_START = 30  # bases of a gene that describe it in the table
EXAMPLES = 3  # rows of a library that could not be read and are reported one by one
CHUNK = 10_000  # molecules encoded at a time
UNKNOWN_PAIR = "no"  # status of a pair that the prepared set does not hold


@dataclass(frozen=True)
class Candidates:
    """Pairs to rank: one gene with many molecules, or one molecule with many genes."""

    names: list[str]  # Of what is ranked, N
    texts: PairTexts
    gene: Rows  # Row of each pair's gene in `texts`, [N]
    molecule: Rows  # Row of its molecule, [N]
    descriptions: list[str]  # The beginning of each gene's sequence, or each SMILES, N
    training_pairs: list[int]  # Number of training pairs of each gene or molecule, N
    known: list[str]
    """The status of each pair in the prepared set, as in "positive in training"; else `UNKNOWN_PAIR`."""
    query_pairs: int  # Number of training pairs of the one gene or molecule
    query_gene: str | None  # Id of the one gene, where molecules are ranked
    unread: list[UnreadRow]
    repeated: int  # Rows of the library whose molecule is in it more than once


@dataclass(frozen=True)
class HitAttention:
    """A pair of the ranking, and what is attended to in it."""

    rank: int  # From 1
    name: str  # Of the molecule or gene that is ranked
    probability: float
    sequence: str
    smiles: str
    attention: attending.PairAttention

    def table_rows(self) -> list[tuple[object, ...]]:
        """Return side, begin, end, atoms, letters and weight of each range of bases and group of atoms."""
        symbols = atom_symbols(self.smiles)
        rows: list[tuple[object, ...]] = [
            ("gene", begin, end, "", self.sequence[begin:end], f"{weight:.6g}")
            for (begin, end), weight in self.attention.gene.items()
        ]
        for atoms, weight in self.attention.molecule.items():
            letters = ",".join(symbols[atom] for atom in atoms)
            rows.append(("molecule", "", "", ",".join(map(str, atoms)), letters, f"{weight:.6g}"))
        return rows


@dataclass(frozen=True)
class Ranking:
    """Candidates with their probabilities."""

    candidates: Candidates
    probability: npt.NDArray[np.float64]  # Calibrated probability of an interaction, [N]
    order: Rows  # Rows of the candidates, the most likely first, [N]
    contributions: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Of a combined model: what each member adds to the log-odds, in nats, [N]."""
    attention: list[HitAttention] = field(default_factory=list)  # Of the first pairs, where requested


def candidates_of(
    pairs: PairSet,
    gene: str | None = None,
    molecules: Path | None = None,
    molecule: str | None = None,
    genes: Path | None = None,
    *,
    salts: Salts | None = None,
    gene_kind: str | None = None,
    say: Say = silent,
) -> Candidates:
    """Return one gene with each molecule of a library, or one molecule with each gene.

    Args:
        pairs: that the model was trained on; what is not given is as in them.
        gene: GeneID; either it or `molecule`.
        molecules: library.
        molecule: SMILES.
        genes: file of sequences.
        salts: how molecules are cleaned.
        gene_kind: which sequence of a gene is used, as in CDS,mRNA.
        say: called with the rows that could not be read.

    Raises:
        InputError: if the gene is unknown, the molecule is none, or nothing in the library can be read.
    """
    if (gene is None) == (molecule is None) or (molecule is not None and molecules is not None):
        raise InputError("give either `gene`, to rank `molecules`, or `molecule`, to rank `genes`")
    sequences, repeated = dict(zip(pairs.gene_ids, pairs.sequences, strict=True)), 0
    unread: list[UnreadRow] = []
    if genes is not None:
        kinds = gene_kind or str(pairs.meta.get("gene_kind", DEFAULT_KINDS))
        sequences, unread = _read_genes(genes, kinds, pairs.gene_ids)
    if gene is None:
        smiles = pairs.canonical_smiles(molecule or "", salts)
        if smiles is None:
            raise InputError(f"`molecule`: expected a molecule as SMILES, got {molecule!r}")
        _report_unread(str(genes), unread, say)
        return _candidates(pairs, sequences, [smiles], None, unread, 0)
    name = plain_gene_id(gene)
    if name not in sequences:
        name = next((each for each in sequences if stable_name(each) == stable_name(name)), name)
    if name not in sequences:
        known = f"not among the {counted(len(sequences), 'gene')} of {genes or 'the pairs'}"
        shown = ", ".join([*sequences][:EXAMPLES])
        raise InputError(
            f"`gene` {name}: {known}, which are called {shown}; name one of them, or give its sequence with "
            "`genes`"
        )
    names, unread = {each: each for each in pairs.smiles}, []
    if molecules is not None:
        names, unread, repeated = _read_library(molecules, pairs, salts, say)
    return _candidates(pairs, {name: sequences[name]}, list(names), list(names.values()), unread, repeated)


def _candidates(
    pairs: PairSet,
    sequences: dict[str, str],
    smiles: list[str],
    names: list[str] | None,
    unread: list[UnreadRow],
    repeated: int,
) -> Candidates:
    """Return each gene with each molecule, of either of which there is one; no `names` rank genes."""
    gene, molecule = np.divmod(np.arange(len(sequences) * len(smiles)), len(smiles))
    train = pairs.parts["train"]
    genes = Counter(pairs.gene_ids[row] for row in pairs.gene[train])
    molecules = Counter(pairs.smiles[row] for row in pairs.molecule[train])
    of_gene, of_molecule = [genes[each] for each in sequences], [molecules[each] for each in smiles]
    starts = [each[:SEQUENCE_START] for each in sequences.values()]
    ranks_genes, status = names is None, _status(pairs)
    return Candidates(
        names=names or list(sequences),
        texts=PairTexts(list(sequences.values()), smiles),
        gene=gene,
        molecule=molecule,
        descriptions=starts if ranks_genes else smiles,
        training_pairs=of_gene if ranks_genes else of_molecule,
        known=[status.get((name, each), UNKNOWN_PAIR) for name in sequences for each in smiles],
        query_pairs=(of_molecule if ranks_genes else of_gene)[0],
        query_gene=None if ranks_genes else next(iter(sequences)),
        unread=unread,
        repeated=repeated,
    )


def rank(
    opened: OpenedInteraction,
    encoder: InputEncoder,
    candidates: Candidates,
    top: int = 0,
    *,
    prevalence: float = 0.5,
    prior: float | None = None,
) -> Ranking:
    """Rank candidates by their calibrated probability, ties by name; several processes predict together.

    Molecules are encoded `CHUNK` at a time, so that a library need not fit into memory.

    Args:
        opened: a model whose training has ended.
        encoder: of its inputs.
        candidates: pairs.
        top: of how many first pairs the attention is computed too, see `evaluate.attention.check_attends`.
        prevalence: fraction of positives in the set that the model was calibrated on.
        prior: fraction of the candidates that is expected to interact; `prevalence` unless given.

    Raises:
        InputError: if a pretrained encoder of the model is needed and missing, or `prior` is not between 0
            and 1.
    """
    if prior is not None and not 0 < prior < 1:
        raise InputError(f"`prior` must be between 0 and 1, got {prior:g}")
    texts, logits = candidates.texts, np.zeros(len(candidates.gene))
    contributions: dict[str, npt.NDArray[np.float64]] = {}
    for at in range(0, len(texts.smiles), CHUNK):
        part = PairTexts(texts.sequences, texts.smiles[at : at + CHUNK])
        rows = np.flatnonzero((candidates.molecule >= at) & (candidates.molecule < at + CHUNK))
        gene, molecule = candidates.gene[rows], candidates.molecule[rows] - at
        predictor = opened.predictor(encoder, part)
        logits[rows] = predictor(gene, molecule)
        if isinstance(predictor, CombinedPredictor):
            for name, added in predictor.contributions(gene, molecule).items():
                contributions.setdefault(name, np.zeros(len(logits)))[rows] = added
        if len(texts.smiles) > CHUNK:
            encoder.say(f"{min(at + CHUNK, len(texts.smiles)):,} of {len(texts.smiles):,} molecules")
    assert opened.temperature is not None
    shift = 0.0 if prior is None else np.log(prior / (1 - prior)) - np.log(prevalence / (1 - prevalence))
    score = probability(logits / opened.temperature + shift)
    ranking = Ranking(candidates, score, np.lexsort((np.array(candidates.names), -score)), contributions)
    if top and isinstance(opened.model, InteractionModel):
        tokens = encoder.tokens(opened.model, texts)
        ranking.attention.extend(_attention(opened.model, encoder, tokens, ranking, top))
    return ranking


def _attention(
    model: InteractionModel, encoder: InputEncoder, tokens: PairTokens, ranking: Ranking, top: int
) -> Iterator[HitAttention]:
    """Yield the attention of the first pairs; a gene without a state is reported and left out."""
    shape, candidates, rows = model.shape, ranking.candidates, ranking.order[:top].tolist()
    texts, columns = candidates.texts, (candidates.gene, candidates.molecule)
    genes, molecules = ({row: None for row in column[rows].tolist()} for column in columns)
    sequences, smiles = [texts.sequences[row] for row in genes], [texts.smiles[row] for row in molecules]
    if isinstance(shape.gene, PretrainedConfig):
        spans = encoder.spans("gene", shape.gene, sequences)
    else:
        spans = [attending.gene_spans(shape, text) for text in sequences]
    characters: Sequence[Spans | None] = [None] * len(smiles)
    if isinstance(shape.molecule, PretrainedConfig):
        characters = encoder.spans("molecule", shape.molecule, smiles)
    bases = dict(zip(genes, spans, strict=True))
    atoms = {
        row: attending.molecule_atoms(shape, texts.smiles[row], each)
        for row, each in zip(molecules, characters, strict=True)
    }
    for number, row in enumerate(rows, 1):
        gene, molecule, name = int(candidates.gene[row]), int(candidates.molecule[row]), candidates.names[row]
        weights = attending.attention_weights(model, tokens, gene, molecule)
        if weights is None:
            encoder.say(f"{name}: its gene is too short to be attended to; left out of the attention")
            continue
        sequence, text = texts.sequences[gene], texts.smiles[molecule]
        symbols = len(atom_symbols(text))
        attention = attending.pair_attention(weights, bases[gene], atoms[molecule], symbols)
        yield HitAttention(number, name, float(ranking.probability[row]), sequence, text, attention)


def _read_library(
    path: Path, pairs: PairSet, salts: Salts | None, say: Say
) -> tuple[dict[str, str], list[UnreadRow], int]:
    """Return the name of each readable molecule by its canonical SMILES, the other rows, and repeats."""
    names: dict[str, str] = {}
    unread: list[UnreadRow] = []
    read = 0
    for row in read_molecules(path):
        read += 1
        canonical = pairs.canonical_smiles(row.smiles, salts)  # None for what is no molecule
        if canonical is None or len(canonical) > MAX_SMILES:
            what = "is no molecule" if canonical is None else f"has more than {MAX_SMILES:,} characters"
            unread.append((f"line {row.line:,}", row.smiles, what))
        else:
            names.setdefault(canonical, row.name)
    if not names or len(unread) > (1 - MIN_READABLE) * read:
        got = f": {unread[0][0]}: {shortened(unread[0][1], 60)!r}" if unread else ""
        wanted = "expected SMILES, then a name, or a table with a SMILES column"
        raise InputError(f"{path}: {len(unread):,} of {counted(read, 'row')} are no molecule{got}; {wanted}")
    _report_unread(path.name, unread, say)
    if repeated := read - len(unread) - len(names):
        say(f"{path.name}: {counted(repeated, 'row repeats', 'rows repeat')} a molecule")
    return names, unread, repeated


def _report_unread(source: str, unread: Sequence[UnreadRow], say: Say) -> None:
    """Report some rows that could not be read, and how many there are."""
    for where, text, reason in unread[:EXAMPLES]:
        got = f"{shortened(text, 60)!r} " if text else ""
        say(f"{source}: {where}: {got}{reason}; left out")
    if len(unread) > EXAMPLES:
        say(f"{source}: {len(unread):,} rows in all are left out")


def _read_genes(path: Path, wanted: str, names: Sequence[str]) -> tuple[dict[str, str], list[UnreadRow]]:
    """Return one sequence of each gene, of the `wanted` kinds first, and the genes that have none.

    Versions of their names are dropped where more of them are then among `names`.
    """
    if not (kinds := parse_kinds(wanted)):
        raise InputError(f"`gene_kind` needs kinds, as in {DEFAULT_KINDS}")
    rows = list(read_gene_rows(path))
    chosen = choose_sequences(rows, kinds)[0]
    if not chosen:
        raise InputError(f"{path}: none of its genes has a base")
    missing = [gene for gene in dict.fromkeys(row.gene_id for row in rows) if gene not in chosen]
    if matched := match_names(chosen, kinds, names):
        chosen = matched[0]
    sequences = {gene: row.sequence for gene, row in chosen.items()}
    return sequences, [(f"gene {gene}", "", "has no base") for gene in missing]


def _status(pairs: PairSet) -> dict[tuple[str, str], str]:
    """Return the label and the part of each pair of a set, by gene and SMILES."""
    labels = ("negative" if pairs.meta.get("negatives") == "given" else "sampled as negative", "positive")
    return {
        (pairs.gene_ids[pairs.gene[row]], pairs.smiles[pairs.molecule[row]]): (
            f"{labels[pairs.label[row]]} in {'training' if part == 'train' else part}"
        )
        for part, rows in pairs.parts.items()
        for row in rows.tolist()
    }
