"""An epoch of the CNN baseline against one that encodes each base in Python."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.products import PEAKS, product_ways
from bench.work import Build, Case, Settings, Target, Work

if TYPE_CHECKING:
    from dnalm.commands.baseline import Options

LENGTH = 300
TRAIN, VALIDATION = 4_000, 250
"""Windows; the training ones have a shifted copy each, as in dnalm's recipe.

With the sample of them that the training loss is measured on, 1,000, an epoch scores 16 % as many windows as
it trains on, as one of the published set does (4,628 and 1,001 beside 37,022).
"""
EPOCH = 37_022
"""Windows of an epoch on the published set: 18,511 and at most as many copies."""


def sizes(settings: Settings) -> tuple[int, int]:
    """Return how many training and validation windows there are."""
    return (40, 10) if settings.quick else (TRAIN, VALIDATION)


def sets(settings: Settings) -> list[tuple[Any, Any]]:
    """Return letters and scores [.., 300] of training, copies with it, and of validation."""
    import numpy as np

    from bench.binding_sets import made_up
    from dnalm.data.binding import shifted_copies

    train, validation = (made_up(count, seed) for seed, count in enumerate(sizes(settings)))
    shifted, moved, _rows = shifted_copies(*train, max_shift=10, seed=0)
    return [(np.concatenate([train[0], shifted]), np.concatenate([train[1], moved])), validation]


def flops(options: "Options", windows: int) -> float:
    """Return the FLOPs of the convolutions in training on so many windows; bases have no gradient."""
    first = len("ACGT") * options.encoder.encoder_kernel * options.encoder.width
    second = options.encoder.width * options.head.kernel * options.head.channels
    return 2.0 * LENGTH * windows * (2 * first + 3 * second)


def dnalm(precision: Any) -> Build:
    """Return dnalm's way: its loop over an epoch, the evaluation and the saving at its end included."""

    def build(settings: Settings) -> Work:
        import tempfile
        from dataclasses import replace

        import torch

        from bench.profile import shares
        from dnalm.commands.baseline import default_options
        from dnalm.data.binding import BindingWindows
        from dnalm.device import Compute
        from dnalm.models.binding import BindingModel, BindingShape
        from dnalm.train.binding import BindingTask
        from dnalm.train.loop import Loop

        options = default_options("baseline")
        processor = Compute(device=settings.device, precision=precision, threads=settings.threads).resolve()  # type: ignore[arg-type]
        shape = BindingShape(options.encoder, head=options.head)
        train, validation = (
            BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
            for letters, scores in sets(settings)
        )
        task = BindingTask(shape, train, validation)
        count = task.windows(options.train.batch_size, 0).steps_per_epoch
        torch.manual_seed(0)
        loop = Loop(
            task,
            BindingModel(shape),
            replace(options.train, epochs=1_000, patience=0).in_steps(count),
            folder=Path(tempfile.mkdtemp(dir=settings.scratch)),
            fabric=processor.fabric(),
            seed=0,
            identity={},
        )

        def run() -> None:
            loop.run(stop_at=loop.step + count)

        profile = partial(shares, run, settings.device)
        return Work(run, len(train), flops(options, len(train)), processor.precision, profile=profile)

    return build


def one_hot(settings: Settings) -> Work:
    """Return the way that looks each base of a window up whenever the window is needed."""
    from bench.one_hot import Model, epoch
    from dnalm.commands.baseline import default_options

    options, (train, validation) = default_options("baseline"), sets(settings)
    run = epoch(
        Model(options.encoder, options.head),  # type: ignore[arg-type]
        train,
        validation,
        size=options.train.batch_size,
        lr=options.train.lr,
        device=settings.device,
    )
    count = len(train[0])
    return Work(run, count, flops(options, count), "fp32")


CASE = Case(
    name="cnn",
    title="An epoch of the CNN baseline",
    about=(
        "4,000 made-up windows of 300 bases with a shifted copy each, 250 for validation; an epoch of "
        "training and the evaluation after it, of those 250 and 1,000 of the training windows. one-hot in "
        "Python: the same layers, and each base of a window looked up when the window is needed, in fp32. "
        "FLOPs are those of the convolutions in training alone."
    ),
    unit="windows",
    ours="dnalm",
    ways=lambda settings: {
        "dnalm": dnalm("auto"),
        "dnalm, fp32": dnalm("fp32"),
        "one-hot in Python": one_hot,
        **product_ways(settings),
    },
    peaks=PEAKS,
    groups={"one-hot": ("one-hot in Python",)},
    targets=lambda settings: [
        Target("20 times per-base one-hot in Python", "one-hot", "ratio", at_least=20.0, must=False),
        Target("an epoch of the published set in 15 s", "dnalm", "rate", at_least=EPOCH / 15, must=False),
    ],
    amounts={"an epoch of the published set (37,022 windows, copies counted)": EPOCH},
)
