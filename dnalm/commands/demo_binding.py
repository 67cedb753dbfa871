"""The binding part of `dnalm demo`: windows labelled by the planted motif, three models, the test part."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dnalm.commands import baseline, evaluate, finetune, label
from dnalm.commands.finetune import BindingOptions
from dnalm.commands.runs import EvaluationOptions, RunOptions
from dnalm.data.labelling import SEQUENCES
from dnalm.device import Compute

WINDOW = 200
"""Bases of a window, less than the block of the demo's models."""
PVALUE = 2e-5
"""Of a site: about 80 words of the demo's 2 million bases, both strands, reach it by chance."""
GAP = 400
"""Bases between parts: the demo's contigs are short."""


def label_windows(out: Path, *, quiet: bool) -> None:
    """Label the demo's genome by its own motif, into OUT/data/binding."""
    label.run(
        label.Options(
            genome=out / "genome.fa",
            motif=out / "motif.meme",
            pvalue=PVALUE,
            window=WINDOW,
            out=out / "data" / "binding",
            overwrite=True,
            quiet=quiet,
        )
    )


def trainings(out: Path, *, epochs: int, run: RunOptions) -> list[Callable[[], None]]:
    """Return what trains the demo's binding models: a pretrained core, an untrained one, the CNN.

    Raises:
        InputError: if an option is out of range.
    """

    def small(options: BindingOptions) -> BindingOptions:
        return replace(
            options,
            sequences=out / "data" / "binding" / SEQUENCES,
            scores=out / "data" / "binding" / "scores.txt.gz",
            out=out / "models",
            data=replace(options.data, gap=GAP),
            train=replace(options.train, epochs=epochs),
            run=run,
        )

    tuned = small(finetune.default_options("finetune"))
    assert isinstance(tuned, finetune.Options)
    tuned = replace(tuned, checkpoint_dir=out / "outputs", tuning=replace(tuned.tuning, both_strands=True))
    cnn = small(baseline.default_options("baseline"))
    assert isinstance(cnn, baseline.Options)
    return [
        lambda: finetune.run(tuned),
        lambda: finetune.run(replace(tuned, random_core=True)),
        lambda: baseline.run(cnn),
    ]


def judge(out: Path, *, compute: Compute, quiet: bool) -> None:
    """Judge the three on the test part, beside the scan of the true motif, into OUT/models."""
    folder = out / "models"
    evaluate.run(
        evaluate.Options(
            models=tuple(folder / name for name in ("vocab4", "vocab4_random", "baseline")),
            sequences=out / "data" / "binding" / SEQUENCES,
            scores=out / "data" / "binding" / "scores.txt.gz",
            part="test",
            motif=out / "motif.meme",
            pvalue=PVALUE,
            evaluation=EvaluationOptions(
                out=folder / "evaluation_test.json", overwrite=True, compute=compute, quiet=quiet
            ),
        )
    )
