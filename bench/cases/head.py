"""Training the regression head on the kept states of a frozen core, against computing them in every step."""

from pathlib import Path
from typing import Any

from bench.work import Build, Case, Settings, Target, Work

WINDOWS, HELD = 256, 8
"""Windows trained on, four batches; and those of the evaluation, which does not count."""


def with_states(windows: Any, model: Any, fabric: Any, folder: Path) -> Any:
    """Return the windows with the states of the frozen core, kept on disk."""
    from dataclasses import replace

    import torch

    from dnalm.data.binding_states import StateCache

    @torch.no_grad()
    def encode(tokens: Any) -> Any:
        with fabric.autocast():
            return model.encode(tokens.to(fabric.device))

    cache = StateCache(folder / "cache", 1 << 40, lambda text: None)
    return replace(windows, states=cache.get(encode, windows.tokens, model.width, {}).states)


def dnalm(kept: bool, precision: Any) -> Build:
    """Return the steps of `dnalm finetune`, with states kept on disk or with `--max-cache 0`."""

    def build(settings: Settings) -> Work:
        import tempfile
        from dataclasses import replace

        import torch

        from bench.binding_sets import made_up
        from dnalm.commands.finetune import default_options
        from dnalm.data.binding import BindingWindows
        from dnalm.device import Compute
        from dnalm.models.binding import BindingModel, BindingShape
        from dnalm.models.gpt import GPTConfig
        from dnalm.train.binding import BindingTask, calibrate_head
        from dnalm.train.loop import Loop

        options = default_options("finetune")
        processor = Compute(device=settings.device, precision=precision, threads=settings.threads).resolve()  # type: ignore[arg-type]
        fabric, core = processor.fabric(), GPTConfig()
        if settings.quick:
            core = GPTConfig(n_layer=1, n_head=2, n_embd=16)
        shape = BindingShape(core, "ACGT", options.head, options.tuning)
        letters, scores = made_up(16 if settings.quick else WINDOWS, 0)
        train = BindingWindows(shape.tokens(letters), torch.from_numpy(scores))
        torch.manual_seed(0)
        model = BindingModel(shape)
        model.prepare_training()
        folder = Path(tempfile.mkdtemp(dir=settings.scratch))
        fabric.to_device(model)
        if kept:
            train = with_states(train, model, fabric, folder)
        with fabric.autocast():
            calibrate_head(model, train)
        states = None if train.states is None else train.states[:HELD]
        held = BindingWindows(train.tokens[:HELD], train.scores[:HELD], states)
        task = BindingTask(shape, train, held)
        count = task.windows(options.train.batch_size, 0).steps_per_epoch
        loop = Loop(
            task,
            model,
            replace(options.train, epochs=1_000, patience=0).in_steps(count),
            folder=folder / "run",
            fabric=fabric,
            seed=0,
            identity={},
        )

        def run() -> float:
            loop.run(stop_at=loop.step + count)
            return loop.seconds_per_step * count

        return Work(run, len(train), precision=processor.precision)

    return build


CASE = Case(
    name="head",
    title="Training a head on a frozen core",
    about=(
        "Steps of `dnalm finetune` on 256 made-up windows of 300 bases in batches of 64, the core of "
        "the default recipe's size. kept: its states lie on disk. computed: each step computes them "
        "(--max-cache 0), as the published script does."
    ),
    unit="windows",
    ours="kept",
    ways=lambda settings: {
        "kept": dnalm(True, "auto"),
        "kept, fp32": dnalm(True, "fp32"),
        "computed": dnalm(False, "auto"),
        "computed, fp32": dnalm(False, "fp32"),
    },
    groups={"computed": ("computed", "computed, fp32")},
    targets=lambda settings: [Target("faster than computing", "computed", "ratio", at_least=1.0)],
)
