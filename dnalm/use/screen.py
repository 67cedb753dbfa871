"""`dnalm interact screen`: rank a library of molecules for a gene, or genes for a molecule."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import tyro

from dnalm import process
from dnalm.data.molecules import Salts, draw_molecule
from dnalm.data.pair_batches import PairTokens
from dnalm.data.pairs import PairSet, open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.evaluate.attention import check_attends
from dnalm.evaluate.pair_scores import probability
from dnalm.files import write_text
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel, predict
from dnalm.report.read_pairs import read_pair_run
from dnalm.report.screen import SHOWN as ON_PAGE
from dnalm.report.screen import Ranked, Screen, write_screen
from dnalm.report.sentences import trust
from dnalm.use.attention import TABLE, Hit, Look, check_folder, look, write_attention
from dnalm.use.library import Candidates, cleaning, genes_for, molecules_for

SHOWN = 10
"""Of the ranking, how many are printed where it goes to a file."""
COLUMNS = ("rank", "name", "probability", "training_pairs", "gene_or_smiles")
DRAWN = (330, 190)
"""Pixels of a molecule's picture in the page's table."""


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
    """A TSV file for the ranking, and beside it NAME_report.html, a page; stdout and no page unless given."""
    attention: Path | None = None
    """A folder for what the model attends to in the first --top pairs, by base range and by atom: a table
    and pictures. It shows where the model looks, which need not be what decides."""
    top: int = 5
    """How many pairs --attention shows, from the first of the ranking."""
    salts: Salts | None = None
    """largest: of a salt the largest fragment alone is the molecule. keep: all of it. As the pairs were
    prepared unless given."""
    gene_kind: str | None = None
    """Which sequence of a gene is taken from --genes, as in CDS,mRNA; as the pairs were prepared unless
    given."""
    store: Path | None = None
    """Where states of frozen encoders are kept; the folder states beside --data unless given."""
    overwrite: bool = False
    """Replace OUT and its page, and what an earlier --attention has written into its folder."""
    compute: Compute = field(default_factory=Compute)
    quiet: bool = False
    """No messages and no summary."""


def run(options: Options) -> None:
    """Rank, and write or print the table; beside a file, write its page.

    Raises:
        InputError: for a mistake in the options, the run or the library.
    """
    _check(options)
    opened, pairs = open_interaction(options.run), open_pairs(options.data)
    if opened.about.get("set") != pairs.digest:
        raise InputError(
            f"{options.run}: trained on other pairs than {options.data} holds; give the --data it was "
            "trained on"
        )
    if options.attention is not None:
        check_attends(opened.model.shape, str(options.run))
    results, judged = read_pair_run(options.run)
    if opened.temperature is None:
        raise InputError(f"{options.run}: has no temperature: its training has not ended; resume it")
    candidates = _candidates(options, pairs)
    processor = options.compute.processor()
    reading = InputEncoder(store_of(options.store, options.data), processor, lambda text: _say(options, text))
    tokens = reading.tokens(opened.model.shape, candidates.texts)
    model = opened.model.to(processor.fabric().device)
    logits = predict(model, tokens, candidates.gene, candidates.molecule, together=True)
    score = probability(logits, opened.temperature)
    order = np.lexsort((np.array(candidates.names), -score))
    looks = _looks(options, model, reading, tokens, candidates, score, order)
    if not process.is_rank_zero():
        return
    _write_table(options, candidates, score, order)
    pictures: list[tuple[str, bytes]] = []
    if options.attention is not None:
        pictures = write_attention(options.attention, looks)
        _say(options, f"attention: {options.attention / TABLE}, and a picture of each pair beside it")
    if options.out is not None:
        page = page_of(options.out)
        write_screen(_screen(options, candidates, score, order, pictures), results, judged, page)
        _say(options, f"page: {page}")
    share = results.validation.prevalence
    _say(
        options,
        f"higher is more likely; probabilities are those of a set in which {share:.0%} of pairs interact. "
        + trust(judged),
    )


def page_of(out: Path) -> Path:
    """Return the page that goes with a ranking's file."""
    return out.with_name(f"{out.name.removesuffix('.tsv')}_report.html")


def _candidates(options: Options, pairs: PairSet) -> Candidates:
    how = cleaning(pairs, options.salts, options.gene_kind)

    def say(text: str) -> None:
        _say(options, text)

    if options.gene is not None:
        return molecules_for(pairs, options.gene, options.molecules, options.genes, how, say)
    assert options.molecule is not None
    return genes_for(pairs, options.molecule, options.genes, how, say)


def _write_table(
    options: Options,
    candidates: Candidates,
    score: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
) -> None:
    """Write the ranking into --out, or print it."""
    lines = ["\t".join(COLUMNS)]
    for rank, row in enumerate(order, 1):
        cells = (rank, candidates.names[row], f"{score[row]:.6f}", candidates.training_pairs[row])
        lines.append("\t".join(map(str, (*cells, candidates.shown[row]))))
    if options.out is None:
        print("\n".join(lines))
        return
    write_text(options.out, "\n".join(lines) + "\n")
    if not options.quiet:
        print("\n".join(lines[: 1 + SHOWN]))
        print(f"{len(order):,} ranked in {options.out}")


def _screen(
    options: Options,
    candidates: Candidates,
    score: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
    pictures: Sequence[tuple[str, bytes]],
) -> Screen:
    """Return what the page tells."""
    assert options.out is not None
    first = [
        Ranked(
            candidates.names[row],
            float(score[row]),
            candidates.known[row],
            candidates.training_pairs[row],
            candidates.shown[row],
            None if options.gene is None else draw_molecule(candidates.shown[row], None, *DRAWN),
        )
        for row in order[:ON_PAGE].tolist()
    ]
    (smiles, *_), given = candidates.texts.smiles, options.gene
    ranked_from = options.molecules if given is not None else options.genes
    return Screen(
        query="molecule" if given is None else "gene",
        name=smiles if given is None else given,
        drawing=draw_molecule(smiles, None, *DRAWN) if given is None else None,
        query_pairs=candidates.asked_pairs,
        source=str(ranked_from or options.data),
        ranking=options.out.name,
        probabilities=score,
        seen=sum(count > 0 for count in candidates.training_pairs),
        first=first,
        unread=candidates.unread,
        repeated=candidates.repeated,
        attention=pictures,
    )


def _looks(
    options: Options,
    model: InteractionModel,
    reading: InputEncoder,
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
        raise InputError("give one of --gene, to rank molecules for it, and --molecule, to rank genes for it")
    if options.molecule is not None and options.molecules is not None:
        raise InputError("--molecule ranks genes: give them by --genes; --molecules goes with --gene")
    if options.top < 1:
        raise InputError(f"--top must be at least 1, got {options.top}")
    if options.attention is not None:
        check_folder(options.attention, options.overwrite)
    for path in () if options.out is None else (options.out, page_of(options.out)):
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: is there already; --overwrite replaces it, or choose another --out")


def _say(options: Options, text: str) -> None:
    if not options.quiet and process.is_rank_zero():
        print(text, file=sys.stderr)
