"""`dnalm demo`: everything dnalm does, on a simulated genome, told in one page."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dnalm import checkpoint
from dnalm.commands import demo_binding, demo_interaction, prepare, pretrain
from dnalm.commands.runs import RunOptions, prepare_process
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.files import lock, need_space, write_text
from dnalm.genome.simulate import simulate_genome
from dnalm.report.binding import binding_chapter
from dnalm.report.figures import duration
from dnalm.report.language import genome_chapter, language_chapter
from dnalm.report.pages import Chapter, write_page

MARKER = ".dnalm-demo"
"""The file that says a folder is a demo's own, so that it may be made anew."""
DISK = 500_000_000
"""Bytes a demo needs at most."""
BASES, CONTIGS = 2_000_000, 4
MODES = ("full", "vocab4")
N_LAYER, N_HEAD, N_EMBD, BLOCK_SIZE = 4, 4, 144, 256
"""A GPT of 1.0 million parameters."""
BATCH_SIZE, LR, MIN_LR = 32, 2e-3, 2e-4
"""A higher rate than the recipe's: the model is small and the run is short."""
EVALUATIONS, EVAL_BASES = 8, 25_600
"""Evaluations of a training, and the bases of each: few, so that most of the time is training."""


@dataclass(frozen=True)
class Options:
    """Simulate a genome, pretrain, fine-tune, compare, and write a report: in minutes, without any input."""

    out: Path = Path("demo")
    """Where everything goes; a demo that is already there is made anew."""
    steps: int = 120
    """Pretraining steps of each vocabulary."""
    epochs: int = 12
    """Epochs of each binding model."""
    compute: Compute = field(default_factory=Compute)
    seed: int = 0
    """Of the genome, the weights and the batches."""
    dry_run: bool = False
    """Print what would be done, and stop."""
    quiet: bool = False
    """No progress and no messages."""


def run(options: Options) -> None:
    """Simulate, prepare, pretrain, and write OUT/report.html.

    Raises:
        InputError: if OUT holds something else than a demo, or an option is out of range.
    """
    report = options.out / "report.html"
    chapters: list[Chapter] = []
    stages = _stages(options, report, chapters)  # refuses wrong values before anything is written
    demo_interaction.check_installed()
    prepare_process(options.compute)
    _check_folder(options.out)
    need_space(options.out, DISK)
    if options.dry_run:
        print(
            f"would simulate {BASES:,} bases, pretrain {' and '.join(MODES)} ({options.steps:,} steps each), "
            f"train three binding models ({options.epochs} epochs each at most), four of genes "
            f"and molecules, and write {report}: minutes, "
            f"less than 2 GB of memory, at most {DISK / 1e6:,.0f} MB of disk; nothing was written"
        )
        return
    with lock(options.out):
        write_text(options.out / MARKER, "dnalm demo may replace what is in this folder\n")
        report.unlink(missing_ok=True)  # no old report beside new results, if this run is interrupted
        for number, (what, work) in enumerate(stages, 1):
            with _stage(options, f"{number} of {len(stages)}: {what}"):
                work()
    for chapter in chapters:
        for finding in chapter.findings:
            print(finding)
    print(demo_interaction.screen_page(options.out))
    print(report)


def _stages(
    options: Options, report: Path, chapters: list[Chapter]
) -> list[tuple[str, Callable[[], object]]]:
    """Return what the demo does, in order: in words, and what does it; the last fills `chapters`.

    Raises:
        InputError: if an option is out of range.
    """
    out, quiet, compute = options.out, options.quiet, options.compute
    genome = out / "genome.fa"
    trainings = [_training(options, mode) for mode in MODES]
    tunings = demo_binding.trainings(out, epochs=options.epochs, run=_run_options(options))
    interactions = demo_interaction.trainings(out, run=_run_options(options))

    def pretrain_all() -> None:
        for training in trainings:
            pretrain.run(training)
        if not checkpoint.describe(out / "outputs" / "vocab4")["step"]:
            raise InputError(
                f"--steps {options.steps}: so few steps made no model better than an untrained one, and what "
                "follows begins from it; give more"
            )

    def tune() -> None:
        for tuning in tunings:
            tuning()
        demo_binding.judge(out, compute=compute, quiet=quiet)

    def pair() -> None:
        demo_interaction.simulate(out, seed=options.seed)
        demo_interaction.prepare(out, seed=options.seed, quiet=quiet)

    def interact() -> None:
        for training in interactions:
            training()
        demo_interaction.judge(out, compute=compute, quiet=quiet)
        demo_interaction.screen(out, compute=compute, quiet=quiet)

    def write() -> None:
        chapters.extend(chapter(out) for chapter in CHAPTERS)
        title = "dnalm demo: language, binding and interaction models of simulated data"
        write_page(chapters, report, title)

    prepared = prepare.Options(genome=(genome,), out=out / "data", overwrite=True, quiet=quiet)
    return [
        (
            f"simulating a genome of {BASES:,} bases",
            lambda: simulate_genome(genome, bases=BASES, contigs=CONTIGS, seed=options.seed),
        ),
        ("preparing it in both vocabularies", lambda: prepare.run(prepared)),
        (f"pretraining {' and '.join(MODES)}, {options.steps:,} steps each", pretrain_all),
        ("labelling windows by the planted motif", lambda: demo_binding.label_windows(out, quiet=quiet)),
        (f"training three binding models, {options.epochs} epochs each at most", tune),
        ("simulating and preparing pairs of genes and molecules", pair),
        ("training four models of them, ranking molecules by one", interact),
        ("writing the report", write),
    ]


def _run_options(options: Options) -> RunOptions:
    return RunOptions(compute=options.compute, seed=options.seed, overwrite=True, quiet=options.quiet)


def _training(options: Options, mode: str) -> pretrain.Options:
    """Return the pretraining of one vocabulary: the default recipe, made small."""
    base = pretrain.default_options("default")
    encoder = replace(base.encoder, n_layer=N_LAYER, n_head=N_HEAD, n_embd=N_EMBD, block_size=BLOCK_SIZE)
    train = replace(
        base.train,
        steps=options.steps,
        batch_size=BATCH_SIZE,
        lr=LR,
        min_lr=MIN_LR,
        warmup=min(base.train.warmup, options.steps // 10),
        eval_every=max(1, options.steps // EVALUATIONS),
        checkpoint_every=max(1, options.steps),
    )
    return replace(
        base,
        data=options.out / "data" / mode,
        out=options.out / "outputs",
        encoder=encoder,
        train=train,
        task=replace(base.task, eval_bases=EVAL_BASES),
        run=_run_options(options),
    )


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder or nothing, got a file; choose another --out")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names - {".lock"} and MARKER not in names:
        raise InputError(
            f"{out}: expected a new folder or an earlier demo, got a folder that holds other files; "
            "choose another --out"
        )


@contextlib.contextmanager
def _stage(options: Options, what: str) -> Iterator[None]:
    """Say on stderr what begins and how long it took; stdout is kept for the demo's own result."""
    begin = time.monotonic()
    _say(options, what)
    with contextlib.redirect_stdout(sys.stderr if not options.quiet else None):
        yield
    _say(options, f"       done in {duration(time.monotonic() - begin)}")


def _say(options: Options, message: str) -> None:
    if not options.quiet:
        print(message, file=sys.stderr)


def _genome(out: Path) -> Chapter:
    chapter = genome_chapter(out / "data" / "full")
    sites = len((out / "genome.sites.bed").read_text().splitlines())
    made_up = (
        "This genome is made up, so that its truth is known: a background whose GC content varies and which "
        f"is poor in CpG, families of repeats in lower case, gaps of N, and {sites:,} sites of one motif. "
        "What a model does here says that the tools work, and nothing about biology."
    )
    return replace(chapter, title="The simulated genome", paragraphs=[made_up, *chapter.paragraphs])


def _pretraining(out: Path) -> Chapter:
    return language_chapter([out / "outputs"])


def _binding(out: Path) -> Chapter:
    return binding_chapter([out / "models"])


CHAPTERS: list[Callable[[Path], Chapter]] = [_genome, _pretraining, _binding, demo_interaction.chapter]
"""The report, in order: each makes a chapter from the demo's folder."""
