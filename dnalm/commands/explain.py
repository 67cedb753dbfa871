"""`dnalm explain`: why a model predicts what it does in some regions, with logos, maps and motifs."""

import contextlib
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import dnalm
from dnalm import process
from dnalm.commands.progress import aligned, count_progress
from dnalm.commands.runs import UseOptions
from dnalm.data.labels import rename_rule
from dnalm.errors import InputError, counted
from dnalm.files import atomic_folder, read_json
from dnalm.formats.indexed import IndexedGenome
from dnalm.process import Say
from dnalm.record import Record
from dnalm.report.figures_explain import dependency_figure, explanation_figure, save_pictures
from dnalm.results.use import ExplainMetrics, Explanation
from dnalm.use.explain import Method, check_method, has_deeplift, reads_one_hot
from dnalm.use.explain_regions import KnownSites, Tally, explain_regions
from dnalm.use.motif_matches import MotifLibrary
from dnalm.use.pairs import PairModel
from dnalm.use.regions import Region, Regions

SHOWN = 10  # regions that are printed
MAX_FILE_NAME = 60
ARRAYS = ("effects", "attribution", "track", "contributions", "probabilities", "dependencies")
INPUTS = ("model", "genome", "regions", "fasta", "motifs", "sites")
COLUMNS = {
    "regions.tsv": "region contig start end method output reference completeness strands delta stretch "
    "motif p_value",
    "stretches.tsv": "region contig start end sequence rank attribution motif p_value e_value strand overlap",
    "attributions.tsv.gz": "contig start end region base attribution to_A to_C to_G to_T",
}
"""Tables and their columns; positions count from 0, and the end is not included."""


@dataclass(frozen=True)
class Options:
    """Explain what a model predicts in some regions: mutagenesis, logos, maps of dependencies, motifs."""

    model: Annotated[
        Path, tyro.conf.Positional
    ]  # A folder written by pretrain, finetune or baseline, or a .pt file.
    genome: Path | None = None  # FASTA (plain, gzip or bgzip) or .2bit.
    regions: Path | None = None  # BED: what to explain of the genome.
    fasta: Path | None = None  # Sequences to explain, in place of a genome and regions.
    rename: str | None = None  # How contigs differ in the BED files: chr, or a file of two columns.
    out: Path = Path("explained")  # A folder for pictures, arrays and tables.
    motifs: Path | None = None  # A library of motifs (MEME) that important stretches are compared with.
    sites: Path | None = None  # BED: known sites; the share of the most important bases in them is reported.
    method: Method = "auto"
    """Of the attributions: deeplift for a CNN, mutagenesis for any model; auto takes deeplift where it is
    installed and its convergence deltas are small."""
    pictures: int = 20  # Regions whose pictures are drawn; arrays and tables have all.
    use: UseOptions = field(default_factory=UseOptions)


def run(options: Options) -> None:
    """Explain each region, write pictures, arrays, tables and a record, and print the checks.

    Raises:
        InputError: for a mistake in the options, the model or the input.
    """
    path = _check(options)
    processor = options.use.begin(options.out)
    model = dnalm.load(options.model, device=processor.device, precision=processor.precision)
    if isinstance(model, PairModel):
        raise InputError(
            f"{options.model}: a model of pairs; expected a language model (dnalm pretrain) or a binding "
            "model (dnalm finetune, baseline); for pairs see dnalm interact screen --attention"
        )
    check_method(model, options.method)
    if reads_one_hot(model) and options.method == "auto" and not has_deeplift():
        options.use.say('mutagenesis alone: DeepLIFT needs tangermeme; run: pip install "dnalm[explain]"')
    library = None if options.motifs is None else MotifLibrary(options.motifs)
    with IndexedGenome(path) as genome, contextlib.ExitStack() as stack:
        rename = rename_rule(options.rename)
        tally = Tally(None if options.sites is None else KnownSites(options.sites, genome, rename))
        regions = Regions(genome, options.regions, rename)
        total = sum(1 for _ in regions)  # a damaged BED file is reported before anything is computed
        writer = None
        if process.is_rank_zero():
            folder = stack.enter_context(atomic_folder(options.out))
            about = {name: str(each) for name in INPUTS if (each := getattr(options, name)) is not None}
            recipe = {name: getattr(options, name) for name in ("method", "pictures", "rename")}
            record = Record(
                folder / "run.json", "explain", recipe=recipe, seed=0, data=about, device=str(processor)
            )
            writer = stack.enter_context(Writer(folder, options.pictures, options.use.say))
        advance = stack.enter_context(count_progress("explaining", total, quiet=options.use.quiet))
        for region, one in explain_regions(model, genome, regions, options.method, library):
            tally.add(region, one)
            if writer is not None:
                writer.write(region, one)
            advance(1)
        if not tally.methods:
            raise InputError(f"no region can be explained: {'; '.join(regions.summary())}")
        if writer is not None:
            metrics = tally.metrics(model, regions, options.motifs, writer.pictures)
            sites = None if metrics.sites is None else metrics.sites._asdict()
            nested = {"counts": metrics.counts._asdict(), "sites": sites}
            record.finish("done", metrics._asdict() | nested)
    for line in regions.summary():
        options.use.say(line)
    if writer is not None:
        print(_summary(metrics, writer.rows))
        print(options.out)


def _check(options: Options) -> Path:
    """Refuse options that contradict each other; return the file of the sequences."""
    path = options.fasta or options.genome
    if path is None or (options.fasta and (options.genome or options.regions)):
        raise InputError("give `genome` with `regions`, or `fasta` for separate sequences")
    if options.fasta is None and options.regions is None:
        raise InputError("`genome` needs `regions`, a BED file of what to explain; or give `fasta`")
    if options.pictures < 0:
        raise InputError(f"`pictures` must be 0 or more, got {options.pictures}")
    if options.use.overwrite and options.out.exists():
        record = options.out / "run.json"
        content = read_json(record) if record.is_file() else {}
        if not isinstance(content, dict) or content.get("verb") != "explain":
            raise InputError(f"{options.out}: holds something else than explanations; choose another --out")
    return path


class Writer(contextlib.ExitStack):
    """Writes what is known of each region into a folder: tables, arrays, and pictures of the first ones.

    Args:
        folder: where.
        pictures: regions whose pictures are drawn.
        say: takes a warning for each picture that could not be drawn.
    """

    def __init__(self, folder: Path, pictures: int, say: Say) -> None:
        super().__init__()
        self._folder, self._left, self._say, self._count = folder, pictures, say, 0
        self.pictures: list[str] = []
        """Names of the pictures, without their endings."""
        self.rows: list[list[str]] = []
        """The first rows of regions.tsv, as they are printed."""
        self._tables: dict[str, Any] = {}
        for name, columns in COLUMNS.items():
            opened = gzip.open if name.endswith(".gz") else open
            self._tables[name] = self.enter_context(opened(folder / name, "wt", encoding="utf-8"))
            self._row(name, columns.split())
        (folder / "arrays").mkdir()

    def write(self, region: Region, one: Explanation) -> None:
        """Write one region."""
        self._count += 1
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", region.name)[:MAX_FILE_NAME].strip("._-")
        name = f"{self._count:04d}_{name or 'region'}"
        arrays = {key: value for key in ARRAYS if (value := getattr(one, key)) is not None}
        about: dict[str, Any] = {"sequence": one.sequence, "contig": region.contig, "start": region.start}
        np.savez(self._folder / "arrays" / f"{name}.npz", **about, **arrays)
        self._write_rows(region, one)
        if self._left:
            self._left -= 1
            self._draw(region, one, name)

    def _write_rows(self, region: Region, one: Explanation) -> None:
        top = one.stretches[0] if one.stretches else None
        first = top.matches[0] if top and top.matches else None
        checks = [
            f"{value:.4g}" for value in (one.output, one.reference, one.completeness, one.strands, one.delta)
        ]
        stretch = one.sequence[top.start : top.end] if top else "."
        match = [first.motif, f"{first.p_value:.2g}"] if first else [".", "."]
        row = [region.name, region.contig, region.start, region.end, one.method, *checks, stretch, *match]
        self._row("regions.tsv", row)
        if len(self.rows) < SHOWN:
            self.rows.append([region.name, *checks[:4], stretch, *match])
        for rank, (start, end, score, matches) in enumerate(one.stretches, 1):
            where = [region.start + start, region.start + end, one.sequence[start:end], rank, f"{score:.4g}"]
            found: list[list[object]] = [
                [each.motif, f"{each.p_value:.3g}", f"{each.e_value:.3g}", each.strand, each.overlap]
                for each in matches
            ]
            for cells in found or [["."] * 5]:
                self._row("stretches.tsv", [region.name, region.contig, *where, *cells])
        columns = zip(one.sequence, one.attribution, one.effects, strict=True)
        for base, (letter, value, effects) in enumerate(columns, region.start):
            numbers = [f"{each:.5g}" for each in (value, *effects)]
            self._row("attributions.tsv.gz", [region.contig, base, base + 1, region.name, letter, *numbers])

    def _draw(self, region: Region, one: Explanation, name: str) -> None:
        """Draw the pictures of a region; one that cannot be drawn does not cost the results."""
        title = f"{region.name}  ({region.contig}:{region.start + 1:,}-{region.end:,})"
        figures = {name: partial(explanation_figure, one, title, region.start)}
        if one.dependencies is not None:
            figures[f"{name}_dependencies"] = partial(dependency_figure, one, title, region.start)
        for stem, draw in figures.items():
            try:
                save_pictures(draw, self._folder / stem)
                self.pictures.append(stem)
            except Exception as error:
                self._say(f"warning: {stem} was not drawn ({type(error).__name__}: {error})")

    def _row(self, table: str, cells: Sequence[object]) -> None:
        self._tables[table].write("\t".join(map(str, cells)) + "\n")


def _summary(metrics: ExplainMetrics, rows: Sequence[Sequence[str]]) -> str:
    """Return the checks of the first regions, and what there is to say of all."""
    head = ["region", "output", "shuffled", "completeness", "strands r", "top stretch", "motif", "p"]
    lines = [aligned([head, *rows])]
    if metrics.counts.written > len(rows):
        lines.append(f"... {metrics.counts.written:,} in regions.tsv")
    how = ", ".join(f"{name} {count:,}" for name, count in metrics.methods.items())
    lines.append(
        f"{counted(metrics.counts.written, 'region')} of {metrics.counts.read:,} explained ({how}); medians: "
        f"completeness {metrics.completeness:.2f}, agreement of strands r = {metrics.strands:.2f}"
    )
    if metrics.first_matches:
        first = list(metrics.first_matches.items())[:5]
        named = ", ".join(f"{name} {count:,}" for name, count in first)
        lines.append(f"first match of the most important stretch: {named}")
    if metrics.sites is not None:
        lines.append(
            f"{metrics.sites.share:.0%} of the {metrics.sites.bases:,} most important bases lie in known "
            f"sites; by chance {metrics.sites.chance:.0%} would"
        )
    return "\n".join(lines)
