"""`dnalm interact screen`: rank a library of molecules for a gene, or genes for a molecule."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import tyro

from dnalm.commands.interact_attention import TABLE, Hit, Look, check_folder, look, write_attention
from dnalm.commands.interact_encoders import Reading, store_of
from dnalm.commands.interact_rows import choose_sequences
from dnalm.data.pair_batches import PairTokens
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.devices import Compute
from dnalm.evaluate.interaction import probability
from dnalm.files import read_json, write_text
from dnalm.formats.genes import read_gene_rows
from dnalm.formats.pairs import plain_gene_id
from dnalm.formats.smiles import read_molecules
from dnalm.molecules import Salts, canonical_smiles
from dnalm.tasks.attention import check_attends
from dnalm.tasks.interaction import predict
from dnalm.tasks.interaction_load import open_interaction
from dnalm.tasks.interaction_model import InteractionModel
from dnalm.tasks.interaction_shape import Texts

RESULTS = "results.json"
KINDS = ("CDS", "mRNA", "promoter")
"""Which sequence of a gene is taken where a file has several, the best first."""
SHOWN = 10
"""Of the ranking, how many are printed where it goes to a file."""
COLUMNS = ("rank", "name", "probability", "training_pairs", "gene_or_smiles")


@dataclass(frozen=True)
class Options:
    """Rank molecules for a gene, or genes for a molecule, by how likely they are to interact."""

    run: Annotated[Path, tyro.conf.Positional]
    """The folder of a trained model."""
    gene: str | None = None
    """GeneID, for which --molecules are ranked."""
    molecules: Path | None = None
    """Library: .smi (SMILES, name), or a table with a SMILES column; the molecules of --data unless given."""
    molecule: str | None = None
    """SMILES, for which genes are ranked."""
    genes: Path | None = None
    """Gene sequences, as for `dnalm interact prepare`; those of --data unless given."""
    data: Path = Path("data/pairs")
    """The prepared pairs that the model was trained on."""
    out: Path | None = None
    """A TSV file for the ranking; stdout unless given."""
    attention: Path | None = None
    """A folder for what the model attends to in the first --top pairs, by base range and by atom: a table
    and pictures. It shows where the model looks, which need not be what decides."""
    top: int = 5
    """How many pairs --attention shows, from the first of the ranking."""
    salts: Salts = "largest"
    """largest: of a salt the largest fragment alone is the molecule. keep: all of it."""
    store: Path | None = None
    """Where states of frozen encoders are kept; the folder states beside --data unless given."""
    overwrite: bool = False
    """Replace OUT, and what an earlier --attention has written into its folder."""
    compute: Compute = field(default_factory=Compute)
    quiet: bool = False
    """No messages and no summary."""


@dataclass(frozen=True)
class Candidates:
    """What is ranked: pairs of one gene with many molecules, or of one molecule with many genes."""

    names: list[str]
    texts: Texts
    gene: npt.NDArray[np.int64]
    """Row of each pair's gene in `texts`, [N]."""
    molecule: npt.NDArray[np.int64]
    """Row of its molecule, [N]."""
    shown: list[str]
    """What the last column says of each: the gene's start, or the SMILES."""
    training_pairs: list[int]
    """Training pairs that each is in."""


def run(options: Options) -> None:
    """Rank, and write or print the table.

    Raises:
        ValueError: for a mistake in the options, the run or the library.
    """
    _check(options)
    opened, pairs = open_interaction(options.run), open_pairs(options.data)
    if opened.about.get("set") != pairs.digest:
        raise ValueError(
            f"{options.run}: trained on other pairs than {options.data} holds; give the --data it was "
            "trained on"
        )
    if options.attention is not None:
        check_attends(opened.model.shape, str(options.run))
    temperature, trust = _told(options.run)
    candidates = _molecules(options, pairs) if options.gene is not None else _genes(options, pairs)
    processor = options.compute.resolve()
    reading = Reading(store_of(options.store, options.data), processor, lambda text: _say(options, text))
    tokens = reading.tokens(opened.model.shape, candidates.texts)
    model = opened.model.to(processor.fabric().device)
    score = probability(predict(model, tokens, candidates.gene, candidates.molecule), temperature)
    order = np.lexsort((np.array(candidates.names), -score))
    looks = _looks(options, model, reading, tokens, candidates, score, order)
    lines = ["\t".join(COLUMNS)]
    for rank, row in enumerate(order, 1):
        cells = (rank, candidates.names[row], f"{score[row]:.6f}", candidates.training_pairs[row])
        lines.append("\t".join(map(str, (*cells, candidates.shown[row]))))
    if options.out is None:
        print("\n".join(lines))
    else:
        write_text(options.out, "\n".join(lines) + "\n")
        if not options.quiet:
            print("\n".join(lines[: 1 + SHOWN]))
            print(f"{len(order):,} ranked in {options.out}")
    if options.attention is not None:
        write_attention(options.attention, looks)
        _say(options, f"attention: {options.attention / TABLE}, and a picture of each pair beside it")
    _say(options, trust)


def _looks(
    options: Options,
    model: InteractionModel,
    reading: Reading,
    tokens: PairTokens,
    candidates: Candidates,
    score: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
) -> list[Look]:
    """Return what is attended to in the first pairs, of whose rows `order` is the ranking; if asked for."""
    if options.attention is None:
        return []
    genes, molecules = candidates.gene.tolist(), candidates.molecule.tolist()
    hits = [
        Hit(rank, candidates.names[row], float(score[row]), genes[row], molecules[row])
        for rank, row in enumerate(order[: options.top].tolist(), 1)
    ]
    return look(model, reading, tokens, candidates.texts, hits)


def _check(options: Options) -> None:
    if (options.gene is None) == (options.molecule is None):
        raise ValueError("give one of --gene, to rank molecules for it, and --molecule, to rank genes for it")
    if options.molecule is not None and options.molecules is not None:
        raise ValueError("--molecule ranks genes: give them by --genes; --molecules goes with --gene")
    if options.top < 1:
        raise ValueError(f"--top must be at least 1, got {options.top}")
    if options.attention is not None:
        check_folder(options.attention, options.overwrite)
    if options.out is not None and options.out.exists() and not options.overwrite:
        raise ValueError(f"{options.out}: is there already; --overwrite replaces it, or choose another --out")


def _told(folder: Path) -> tuple[float, str]:
    """Return the temperature of a model's probabilities, and a line that says how far to trust them."""
    path = folder / RESULTS
    results = read_json(path) if path.is_file() else {}
    temperature = results.get("temperature") if isinstance(results, dict) else None
    if not isinstance(temperature, int | float):
        raise ValueError(
            f"{path}: expected the results of dnalm interact train with a temperature, got none; train again"
        )
    auroc, share = results["validation"]["auroc"]["value"], results["validation"]["prevalence"]
    return float(temperature), (
        f"higher is more likely. In validation the model's AUROC was {auroc:.3f} and the node rate's, which "
        f"sees no feature, {results['node_rate_validation']:.3f} (split {results['split']}, negatives "
        f"{results['negatives']}); probabilities are those of a set in which {share:.0%} of pairs interact"
    )


def _molecules(options: Options, pairs: PairSet) -> Candidates:
    """Return one gene with each molecule of a library."""
    assert options.gene is not None
    sequence = _sequence_of(options, pairs, plain_gene_id(options.gene))
    trained = _training_pairs(pairs, pairs.molecule, pairs.smiles)
    if options.molecules is None:
        names, smiles = list(pairs.smiles), list(pairs.smiles)
    else:
        names, smiles = _library(options, options.molecules)
    count = len(smiles)
    return Candidates(
        names,
        Texts([sequence], smiles),
        np.zeros(count, dtype=np.int64),
        np.arange(count),
        smiles,
        [trained.get(each, 0) for each in smiles],
    )


def _library(options: Options, path: Path) -> tuple[list[str], list[str]]:
    """Return names and canonical SMILES of the molecules in a library that can be read, each once."""
    seen: dict[str, str] = {}
    read, wrong = 0, 0
    for row in read_molecules(path):
        read += 1
        canonical = canonical_smiles(row.smiles, options.salts)
        if canonical is None:
            wrong += 1
            _say(options, f"{path.name}: line {row.line:,}: {row.smiles[:60]!r} is no molecule; left out")
        else:
            seen.setdefault(canonical, row.name)
    if not seen:
        raise ValueError(
            f"{path}: none of its {read:,} rows is a molecule; expected SMILES, then a name, or a table with "
            "a SMILES column"
        )
    if read - wrong > len(seen):
        _say(options, f"{path.name}: {read - wrong - len(seen):,} molecules are there more than once")
    return list(seen.values()), list(seen)


def _genes(options: Options, pairs: PairSet) -> Candidates:
    """Return one molecule with each gene."""
    assert options.molecule is not None
    smiles = canonical_smiles(options.molecule, options.salts)
    if smiles is None:
        raise ValueError(f"--molecule: expected a molecule as SMILES, got {options.molecule!r}")
    trained = _training_pairs(pairs, pairs.gene, pairs.gene_ids)
    if options.genes is None:
        names, sequences = list(pairs.gene_ids), list(pairs.sequences)
    else:
        rows = choose_sequences(read_gene_rows(options.genes), KINDS)[0]
        if not rows:
            raise ValueError(f"{options.genes}: no gene in it has a base")
        names, sequences = list(rows), [row.sequence for row in rows.values()]
    count = len(names)
    return Candidates(
        names,
        Texts(sequences, [smiles]),
        np.arange(count),
        np.zeros(count, dtype=np.int64),
        [each[:30] for each in sequences],
        [trained.get(each, 0) for each in names],
    )


def _sequence_of(options: Options, pairs: PairSet, gene: str) -> str:
    if options.genes is None:
        known = dict(zip(pairs.gene_ids, pairs.sequences, strict=True))
    else:
        rows = choose_sequences(read_gene_rows(options.genes), KINDS)[0]
        known = {name: row.sequence for name, row in rows.items()}
    if gene not in known:
        raise ValueError(
            f"--gene {gene}: not among the {len(known):,} genes of {options.genes or options.data}; name one "
            "of them, or give its sequence by --genes"
        )
    return known[gene]


def _training_pairs(pairs: PairSet, column: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, int]:
    """Return in how many training pairs each gene or molecule is."""
    counts = np.bincount(column[pairs.parts["train"]], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr)
