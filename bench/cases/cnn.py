"""An epoch of the CNN baseline, as `dnalm baseline` trains it."""

from pathlib import Path
from typing import Any

from bench.products import PEAKS, product_ways
from bench.work import Build, Case, Settings, Target, Work

LENGTH = 300
"""Bases of a window, as in the published set."""
TRAIN, VALIDATION = 4_000, 250
"""Windows of the CNN; the training ones have a shifted copy each, as in dnalm's recipe.

With the 1,000 of them that the training loss is measured on, an epoch scores 16 % as many windows as it
trains on, as one of the published set does (4,628 and 1,001 beside 37,022).
"""
EPOCH = 37_022
"""Windows of an epoch on the published set: 18,511 and at most as many copies."""


def random_windows(count: int, seed: int) -> tuple[Any, Any]:
    """Return upper-case letters and scores, each [count, LENGTH]: a few bases of some windows score."""
    import numpy as np

    draws = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[draws.integers(4, size=(count, LENGTH))]
    scores = np.zeros((count, LENGTH), dtype=np.float32)
    for row, at in enumerate(draws.integers(LENGTH - 10, size=count)):
        scores[row, at : at + 10] = draws.random() < 0.5
    return letters, scores


def epoch(precision: Any) -> Build:
    """Return an epoch of the CNN, with the evaluation and the saving at its end."""

    def build(settings: Settings) -> Work:
        import tempfile
        from dataclasses import replace

        import numpy as np
        import torch

        from dnalm.commands.baseline import default_options
        from dnalm.data.binding import BindingWindows, shifted_copies
        from dnalm.device import Compute
        from dnalm.models.binding import BindingModel, BindingShape
        from dnalm.train.binding import BindingTask
        from dnalm.train.loop import Loop

        options = default_options("baseline")
        shape = BindingShape(options.encoder, head=options.head)
        train, validation = map(random_windows, (40, 10) if settings.quick else (TRAIN, VALIDATION), (0, 1))
        shifted, moved, _rows = shifted_copies(*train, max_shift=10, seed=0)
        train = np.concatenate([train[0], shifted]), np.concatenate([train[1], moved])
        parts = [
            BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
            for letters, scores in (train, validation)
        ]
        torch.manual_seed(0)
        processor = Compute(device=settings.device, precision=precision).processor()  # type: ignore[arg-type]
        task = BindingTask(shape, *parts)
        count = task.windows(options.train.batch_size, 0).steps_per_epoch
        loop = Loop(
            task,
            BindingModel(shape),
            replace(options.train, epochs=1_000, patience=0).in_steps(count),
            folder=Path(tempfile.mkdtemp(dir=settings.scratch)),
            fabric=processor.fabric(),
            seed=0,
            identity={},
        )
        # of the convolutions in training; bases have no gradient
        first = 4 * options.encoder.encoder_kernel * options.encoder.width
        second = options.encoder.width * options.head.kernel * options.head.channels
        flops = 2.0 * LENGTH * len(parts[0]) * (2 * first + 3 * second)
        run = lambda: loop.run(stop_at=loop.step + count)  # noqa: E731
        return Work(run, len(parts[0]), flops, processor.precision)

    return build


CASE = Case(
    name="cnn",
    title="An epoch of the CNN baseline",
    about=(
        "4,000 random windows of 300 bases with a shifted copy each, 250 for validation; an epoch of "
        "training and the evaluation after it, of those 250 and 1,000 of the training windows. FLOPs are "
        "those of the convolutions in training alone."
    ),
    unit="windows",
    ours="dnalm",
    ways=lambda settings: {
        "dnalm": epoch("auto"),
        "dnalm, fp32": epoch("fp32"),
        **product_ways(settings),
    },
    peaks=PEAKS,
    targets=lambda settings: [
        Target("an epoch of the published set in 15 s", "dnalm", "rate", at_least=EPOCH / 15, must=False),
    ],
    amounts={"an epoch of the published set (37,022 windows, copies counted)": EPOCH},
)
