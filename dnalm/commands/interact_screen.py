"""`dnalm interact screen`: rank a library of molecules for a gene, or genes for a molecule."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import tyro

from dnalm import process
from dnalm.commands.runs import ProcessOptions, prepare_process
from dnalm.data.molecules import Salts, draw_molecule
from dnalm.data.pairs import open_pairs
from dnalm.errors import InputError
from dnalm.evaluate.attention import check_attends
from dnalm.files import write_text
from dnalm.models.input_encoder import InputEncoder, store_of
from dnalm.models.open import open_interaction
from dnalm.models.pair import InteractionModel
from dnalm.process import Say
from dnalm.report.comparisons import read_pair_run
from dnalm.report.figures import save_all
from dnalm.report.figures_predictions import DRAWING_SIZE, atom_colors, attention_picture
from dnalm.report.screen import SHOWN as ON_PAGE
from dnalm.report.screen import Ranked, Screen, write_screen
from dnalm.report.sentences import trust
from dnalm.use.chemistry import Neighbourhood, neighbourhood, scaffold_groups
from dnalm.use.screen import HitAttention, Ranking, candidates_of, rank
from dnalm.use.screen_table import COLUMNS, SUFFIXES, ranking_text, table_rows

PRINTED = 10  # rows of a ranking that are printed if it is written into a file
GROUPED = 100  # first molecules of the ranking that the page groups by scaffold
STRUCTURE_SIZE = (330, 190)  # pixels of a molecule's picture in the page's table
TABLE = "attention.tsv"
HEADER = "rank\tname\tside\tbegin\tend\tatoms\twhat\tweight"
"""begin and end: bases, 0-based half-open; atoms: indices in the SMILES, from 0, joined by commas."""
MAX_FILE_NAME, MAX_TITLE = 60, 70  # characters of a name in a file's name, and in a title


@dataclass(frozen=True)
class Options(ProcessOptions):
    """Rank molecules for a gene, or genes for a molecule, by how likely they are to interact."""

    run: Annotated[Path, tyro.conf.Positional]  # The folder of a trained model.
    gene: str | None = None  # GeneID, for which --molecules are ranked.
    molecules: Path | None = None
    """Library: .smi (SMILES, name), or a table with a SMILES column; the molecules of --data unless given."""
    molecule: str | None = None  # SMILES, for which genes are ranked.
    genes: Path | None = None
    """Gene sequences, as for `dnalm interact prepare`; those of --data unless given."""
    data: Path = Path("data/pairs")  # The prepared pairs that the model was trained on.
    out: Path | None = None
    """A file for the ranking, and beside it NAME_report.html, a page; stdout and no page unless given. TSV;
    or CSV or SDF (molecules alone), by its suffix .csv or .sdf."""
    prior: float | None = None
    """Fraction of the ranked pairs that you expect to interact, such as 0.01: probabilities are of a set with
    so many positives. That of the validation part unless given."""
    attention: Path | None = None
    """A folder for what the model attends to in the first --top pairs, by base range and by atom: a table
    and pictures. Attention need not be what decides."""
    top: int = 5  # How many pairs --attention shows, from the first of the ranking.
    salts: Salts | None = None
    """largest: of a salt the largest fragment alone is the molecule. keep: all fragments. As the pairs were
    prepared unless given."""
    gene_kind: str | None = None
    """Which sequence of a gene is used from --genes, as in CDS,mRNA; as the pairs were prepared unless
    given."""
    store: Path | None = None
    """Folder of cached states of frozen encoders; the folder states beside --data unless given."""
    overwrite: bool = False
    """Replace OUT and its page, and what an earlier --attention has written into its folder."""


def run(options: Options) -> None:
    """Rank, and write or print the table; beside a file, write its page.

    Raises:
        InputError: for a mistake in the options, the run or the library.
    """
    _check(options)
    opened, pairs = open_interaction(options.run), open_pairs(options.data)
    if opened.about.get("set") != pairs.digest:
        raise InputError(f"{options.run}: trained on other pairs than those in `data` {options.data}")
    if options.attention is not None:
        if not isinstance(opened.model, InteractionModel):
            raise InputError(
                "--attention: a combined model attends to nothing; screen with one of its members"
            )
        check_attends(opened.model.shape, str(options.run))
    results, evaluated = read_pair_run(options.run)
    if opened.temperature is None:
        raise InputError(f"{options.run}: has no temperature: its training has not ended; resume it")
    given = options.gene, options.molecules, options.molecule, options.genes
    candidates = candidates_of(
        pairs,
        *given,
        salts=options.salts,
        gene_kind=options.gene_kind,
        say=options.say,
    )
    processor = prepare_process(options.compute, options.say)
    encoder = InputEncoder(store_of(options.store, options.data), processor, options.say)
    top, prevalence = options.top if options.attention else 0, results.validation.prevalence
    ranking = rank(opened, encoder, candidates, top, prevalence=prevalence, prior=options.prior)
    if not process.is_rank_zero():
        return
    gene, smiles = candidates.query_gene, candidates.texts.smiles
    near = None if gene is None else neighbourhood(pairs, gene, smiles)
    _write_table(options, ranking, near)
    pictures: list[tuple[str, bytes]] = []
    if options.attention is not None:
        pictures = _write_attention(options.attention, ranking.attention, options.say)
        options.say(f"attention: {options.attention / TABLE}, and a picture of each pair beside it")
    if options.out is not None:
        page = _page_of(options.out)
        for caption in write_screen(_screen(options, ranking, near, pictures), results, evaluated, page):
            options.say(f"warning: {caption}")
        options.say(f"page: {page}")
    options.say(
        "higher is more likely; probabilities are those of a set in which "
        f"{100 * (options.prior or prevalence):.3g}% of pairs interact. " + trust(evaluated)
    )


def _page_of(out: Path) -> Path:
    stem = out.stem if out.suffix in SUFFIXES else out.name
    return out.with_name(f"{stem}_report.html")


def picture_name(number: int, name: str) -> str:
    """Return the file name of a pair's picture, safe in any file system."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:MAX_FILE_NAME].strip("._-")
    return f"{number:02d}_{safe or 'hit'}.png"


def _check(options: Options) -> None:
    """Refuse options that contradict each other, before anything is read."""
    if options.out is not None and options.out.suffix == ".sdf" and options.gene is None:
        raise InputError(f"--out {options.out}: an SDF file holds molecules, and genes are ranked; use .tsv")
    if options.top < 1:
        raise InputError(f"--top must be at least 1, got {options.top}")
    paths = [] if options.out is None else [options.out, _page_of(options.out)]
    if (folder := options.attention) is not None:
        table = folder / TABLE
        paths.insert(0, table)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: expected a folder for --attention, got a file; choose another")
        if table.exists() and table.read_text(encoding="utf-8", errors="replace").split("\n")[0] != HEADER:
            raise InputError(f"{table}: is no table of --attention, and is not replaced; choose another")
    for path in paths:
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: exists already; --overwrite replaces it, or choose another file")


def _write_table(options: Options, ranking: Ranking, near: Neighbourhood | None) -> None:
    """Write the ranking into --out, and print the first of it; or print all of it."""
    out = options.out
    if out is None:
        print(ranking_text(ranking, near, ".tsv"), end="")
        return
    write_text(out, ranking_text(ranking, near, out.suffix))
    if not options.quiet:
        rows = islice(table_rows(ranking, None), PRINTED)
        print(
            "\n".join("\t".join(each) for each in [COLUMNS, *([row[key] for key in COLUMNS] for row in rows)])
        )
        print(f"{len(ranking.order):,} ranked in {out}")


def _screen(
    options: Options,
    ranking: Ranking,
    near: Neighbourhood | None,
    pictures: Sequence[tuple[str, bytes]],
) -> Screen:
    """Return the content of the page."""
    assert options.out is not None
    candidates, of_gene = ranking.candidates, near is not None
    smiles, order = candidates.texts.smiles, ranking.order.tolist()
    groups = [[place] for place in range(len(order))]
    if of_gene:
        groups = scaffold_groups([smiles[row] for row in order[:GROUPED]])
    first = []
    for places in groups[:ON_PAGE]:
        row = order[places[0]]
        one = Ranked(
            candidates.names[row],
            float(ranking.probability[row]),
            candidates.known[row],
            candidates.training_pairs[row],
            candidates.descriptions[row],
            draw_molecule(smiles[row], None, *STRUCTURE_SIZE) if of_gene else None,
            place=places[0] + 1,
            same_scaffold=[place + 1 for place in places[1:]],
            contributions={name: float(added[row]) for name, added in ranking.contributions.items()},
        )
        first.append(one if near is None else replace(one, **near.of(row)))
    library = options.molecules if of_gene else options.genes
    return Screen(
        query="gene" if of_gene else "molecule",
        name=options.gene or smiles[0],
        drawing=None if of_gene else draw_molecule(smiles[0], None, *STRUCTURE_SIZE),
        query_pairs=candidates.query_pairs,
        source=str(library or options.data),
        ranking=options.out.name,
        probabilities=ranking.probability,
        seen=sum(count > 0 for count in candidates.training_pairs),
        first=first,
        unread=candidates.unread,
        repeated=candidates.repeated,
        attention=pictures,
        prior=options.prior,
        grouped=GROUPED,
        outside=None if near is None else int(near.outside.sum()),
        range_limit=None if near is None else near.limit,
    )


def _write_attention(folder: Path, hits: Sequence[HitAttention], say: Say) -> list[tuple[str, bytes]]:
    """Write a picture of each pair, and then the table of all; pictures of a former table are removed.

    Returns:
        Rank and name of each pair that could be drawn, and its picture as PNG.
    """
    table = folder / TABLE
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines()[1:]:
            number, name = line.split("\t")[:2]
            (folder / picture_name(int(number), name)).unlink(missing_ok=True)
        table.unlink()
    lines, pictures = [HEADER], []
    for hit in hits:
        name = hit.name if len(hit.name) <= MAX_TITLE else f"{hit.name[:MAX_TITLE]}..."
        path, title = folder / picture_name(hit.rank, hit.name), f"{hit.rank}. {name}"
        draw = partial(
            attention_picture,
            [(begin, end) for begin, end in hit.attention.gene],
            list(hit.attention.gene.values()),
            len(hit.sequence),
            hit.attention.atoms,
            draw_molecule(hit.smiles, atom_colors(hit.attention.atoms), *DRAWING_SIZE),
            f"{title}: probability {hit.probability:.3f}",
        )
        pictures += [(title, written.read_bytes()) for written in save_all({path: draw}, say)]
        lines += ["\t".join(map(str, (hit.rank, hit.name, *cells))) for cells in hit.table_rows()]
    write_text(table, "\n".join(lines) + "\n")
    return pictures
