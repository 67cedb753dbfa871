"""The gene-and-molecule part of `dnalm demo`: pairs that follow a planted rule, four models, the ladder."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dnalm.commands import interact_evaluate, interact_prepare, interact_train
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.data.prepare_pairs import PrepareConfig
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.genome.simulate import (
    BEST_AUROC,
    GENES,
    GENES_FILE,
    MOLECULES,
    PAIRS,
    PAIRS_FILE,
    simulate_pairs,
)
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import ModelName
from dnalm.report.pages import Chapter
from dnalm.report.pairs import pair_chapter
from dnalm.report.read_pairs import ranked, read_pairs
from dnalm.report.sentences import interval
from dnalm.results import PairEntry
from dnalm.use import screen as interact_screen

EPOCHS = {"original": 2, "kmer-morgan": 4, "foundation": 4, "foundation-pooled": 4}
"""Of each model: 51 s in all on two cores, the judging with them."""
LR = 1e-3
"""Ten times the published rate: the runs are short."""
DNA_LENGTH = {"original": 300, "kmer-morgan": 600}
"""Bases read of a gene: every gene holds a motif in its first third, of 200 bases at most."""
HEADS: dict[str, ModelName] = {"foundation": "foundation", "foundation-pooled": "foundation-pooled"}
"""--model of each with cross-attention; of the others it is original."""
ATTENTION = CrossAttentionConfig(width=128, heads=4, feed_forward=256)
"""Of the models with cross-attention: a quarter of the published width."""
CORE = "states of this page's own vocab4 model"
SCREENED = "foundation"
"""The model that ranks molecules for a gene."""
SCREEN = "screen.tsv"
LEARNED = 0.05
"""A model has learned the rule if its AUROC is this near to the rule's own."""


def check_installed() -> None:
    """Refuse to begin where a package that this part needs is missing.

    Raises:
        InputError: naming the command that installs it.
    """
    if missing := [name for name in ("rdkit", "sklearn") if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"the demo needs {' and '.join(missing)}, not installed here; run: "
            'pip install "dnalm[interaction]", or make demo, which installs all it needs'
        )


def simulate(out: Path, *, seed: int) -> None:
    """Write OUT/interaction/pairs.csv and genes.fa."""
    simulate_pairs(out / "interaction", seed)


def prepare(out: Path, *, seed: int, quiet: bool) -> None:
    """Split the pairs at random, into OUT/data/pairs."""
    folder = out / "interaction"
    interact_prepare.run(
        interact_prepare.Options(
            pairs=folder / PAIRS_FILE,
            genes=folder / GENES_FILE,
            out=out / "data" / "pairs",
            config=PrepareConfig(seed=seed),
            overwrite=True,
            quiet=quiet,
        )
    )


def trainings(out: Path, *, run: RunOptions) -> list[Callable[[], None]]:
    """Return what trains the demo's models: the published one made short, and one of counts.

    Raises:
        InputError: if an option is out of range.
    """
    return [_training(_options(out, name, run)) for name in EPOCHS]


def _options(out: Path, name: str, run: RunOptions) -> interact_train.Options:
    """Return how one of the models is trained; cross-attention reads genes by the demo's own frozen core."""
    model = HEADS.get(name, "original")
    base = interact_train.default_options(model)
    encoders = replace(base.encoders, dna_length=DNA_LENGTH.get(name, base.encoders.dna_length))
    if name != "original":
        reader = str(out / "outputs" / "vocab4") if name in HEADS else "kmer"
        encoders = replace(encoders, dna_encoder=reader, mol_encoder="morgan")
    return replace(
        base,
        model=model,
        data=out / "data" / "pairs",
        out=out / "interactions" / name,
        encoders=encoders,
        attention=ATTENTION,
        train=replace(base.train, epochs=EPOCHS[name], lr=LR, min_lr=LR),
        run=run,
    )


def _training(options: interact_train.Options) -> Callable[[], None]:
    return lambda: interact_train.run(options)


def judge(out: Path, *, compute: Compute, quiet: bool) -> None:
    """Judge them on the test part, beside the ladder, into OUT/interactions."""
    folder = out / "interactions"
    interact_evaluate.run(
        interact_evaluate.Options(
            runs=tuple(folder / name for name in EPOCHS),
            data=out / "data" / "pairs",
            part="test",
            judging=EvaluationOptions(
                out=folder / "evaluation_test.json", overwrite=True, compute=compute, quiet=quiet
            ),
        )
    )


def screen(out: Path, *, compute: Compute, quiet: bool) -> None:
    """Rank the molecules for one gene, with a page, and pictures of where the model looks in the first."""
    folder, data = out / "interactions", out / "data" / "pairs"
    interact_screen.run(
        interact_screen.Options(
            folder / SCREENED,
            gene=open_pairs(data).gene_ids[0],
            data=data,
            out=folder / SCREEN,
            attention=folder / "attention" if SCREENED == "foundation" else None,
            top=3,
            overwrite=True,
            compute=compute,
            quiet=quiet,
        )
    )


def screen_page(out: Path) -> Path:
    """Return the page of the screen."""
    return interact_screen.page_of(out / "interactions" / SCREEN)


def chapter(out: Path) -> Chapter:
    """Tell what came of it: the report's chapter, with the rule that was planted and who has found it.

    Raises:
        InputError: if there are no results, or one of the files is damaged.
    """
    folder = out / "interactions"
    told = pair_chapter([folder])
    (test,) = (c for c in read_pairs([folder]).comparisons if c.part == "test")
    best = ranked(test.ladder)[0]
    found = [f"{name} {_said(test.models[name])}" for name in ranked(test.models)]
    found.append(f"{best}, the best rung of the ladder, {_said(test.ladder[best])}")
    made_up = (
        f"These pairs are made up, so that the truth is known: {PAIRS:,} pairs of {GENES} genes and "
        f"{MOLECULES} molecules. Each gene holds one of two motifs, each molecule one of two fragments; "
        "nine of ten pairs are positive where the two belong together, and one of ten where they do not. "
        f"Neither end tells anything alone, and the rule itself has an AUROC of {BEST_AUROC:g}. Nothing "
        "here is about biology."
    )
    read = {name: f"{DNA_LENGTH[name]} bases a gene" for name in DNA_LENGTH}
    how = "; ".join(f"{name} for {n} epochs on {read.get(name, CORE)}" for name, n in EPOCHS.items())
    short = (
        f"{test.protocol.split.capitalize()} split, negatives {test.protocol.negatives}, node rate "
        f"{test.node_rate:.4f}, AUROC on the test part: {'; '.join(found)}. The models were trained for "
        f"seconds ({how}): that one has not found the rule in so short a time is no verdict on it. "
        "kmer-morgan counts 4-mers and fragments, which is an easier way to this rule than the published "
        "layers of original. foundation lets the states of a gene and the fragments of a molecule attend to "
        "each other; foundation-pooled has one vector of each, which leaves attention nothing to choose."
    )
    screened = (
        f"What is made of such a model: {SCREENED} ranks all molecules for one gene, with structures and "
        f"with what it attends to, on a page of its own, {screen_page(out).relative_to(out).as_posix()}."
    )
    return replace(told, paragraphs=[made_up, short, screened, *told.paragraphs])


def _said(judged: PairEntry) -> str:
    """Say how much of the rule a model or rung knows."""
    auroc = judged.scores.auroc
    shown = interval(auroc)
    if auroc.value >= BEST_AUROC - LEARNED:
        return f"has found the rule, {shown}"
    return f"has found part of the rule, {shown}" if auroc.low > 0.5 else f"has not found the rule, {shown}"
