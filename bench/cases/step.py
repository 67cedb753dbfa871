"""The pretraining step, 64 windows of 300 tokens: dnalm's against what a user would pick instead."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.genomes import prepare_genome
from bench.products import PEAKS, product_ways
from bench.work import Build, Case, Settings, Target, Work

if TYPE_CHECKING:
    from dnalm.commands.pretrain import Options

GENOME = 10_000_000
"""Bytes of the made-up genome."""
COMPILED, GRAPH = ", torch.compile", ", torch.compile, reduce-overhead"


def steps(settings: Settings) -> int:
    """Return how many steps a round has."""
    return 20 if settings.device == "cuda" else 1


def data(settings: Settings) -> Path:
    """Return the folder of the prepared genome."""
    return settings.folder / "data" / "vocab4"


def setup(settings: Settings) -> None:
    """Prepare the genome."""
    prepare_genome(settings.folder, 100_000 if settings.quick else GENOME)


def recipe(settings: Settings, name: str, size: str = "", batch: int = 0) -> "Options":
    """Return a recipe of `dnalm pretrain`, with another size or batch if told; tiny when it need only run."""
    from dataclasses import replace

    from dnalm.commands.pretrain import default_options

    options = default_options(name, size)
    options = replace(options, train=replace(options.train, batch_size=batch or options.train.batch_size))
    if settings.quick:
        small = replace(options.encoder, n_layer=1, n_head=2, n_embd=16, block_size=30)
        options = replace(options, encoder=small, train=replace(options.train, batch_size=4))
    return options


def flops(options: "Options") -> float:
    """Return the model FLOPs of one step of dnalm's model: the same are counted for all."""
    from bench.figures import model_flops
    from dnalm.models.gpt import GPT

    shape = options.encoder
    model = GPT(shape, 4)
    inside = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("wte", "wpe")))
    each = model_flops(inside, shape.n_layer, shape.block_size, shape.n_embd)
    return float(each * options.train.batch_size * shape.block_size)


def work(options: "Options", run: Any, count: int, precision: str, **more: Any) -> Work:
    """Return a contestant that takes `count` steps a call."""
    tokens = options.train.batch_size * options.encoder.block_size
    return Work(run, tokens * count, flops(options) * count, precision, **more)


def repeated(step: Callable[[], None], count: int) -> Callable[[], None]:
    """Return a function that takes `count` steps."""

    def run() -> None:
        for _ in range(count):
            step()

    return run


def dnalm_step(
    precision: Any, genome: Path | None = None, *, compiled: bool = False, size: str = "", batch: int = 0
) -> Build:
    """Return dnalm's way: its own loop, without evaluation and saving, at the default recipe."""

    def build(settings: Settings) -> Work:
        import tempfile
        from dataclasses import replace

        import torch

        from bench.profile import Named, shares
        from dnalm.commands.runs import prepare_process
        from dnalm.device import Compute
        from dnalm.genome.folder import PreparedGenome
        from dnalm.train.language import LanguageTask
        from dnalm.train.loop import Loop

        class Watched(LanguageTask):
            def windows(self, batch_size: int, seed: int) -> Any:
                return Named(super().windows(batch_size, seed))

        options = recipe(settings, "default", size, batch)
        compute = Compute(device=settings.device, precision=precision, threads=settings.threads)  # type: ignore[arg-type]
        processor = prepare_process(compute)
        task = Watched(
            PreparedGenome(genome or data(settings)), options.encoder, replace(options.task, eval_bases=300)
        )
        torch.manual_seed(0)
        train = replace(options.train, eval_every=options.train.steps, checkpoint_every=options.train.steps)
        loop = Loop(
            task,
            task.build_model(),
            train,
            folder=Path(tempfile.mkdtemp(dir=settings.scratch)),
            fabric=processor.fabric(),
            seed=0,
            identity={},
            compiled=compiled,
        )
        loop._save = lambda: None  # type: ignore[method-assign]  # not what is measured
        count = steps(settings)

        def run() -> float:
            loop.run(stop_at=loop.step + count)
            return loop.seconds_per_step * count

        return work(
            options,
            run,
            count,
            processor.precision,
            profile=lambda: shares(run, settings.device),
            facts={"precision": processor.precision},
        )

    return build


def published(settings: Settings) -> Work:
    """Return the published way."""
    import torch

    from bench.published import published_step
    from dnalm.genome.folder import PreparedGenome

    options, genome = recipe(settings, "published"), PreparedGenome(data(settings))
    torch.manual_seed(0)
    step = published_step(genome.tokens("train"), 4, options.encoder, options.train, settings.device)
    count = steps(settings)
    precision = "fp16" if settings.device == "cuda" else "fp32"
    return work(options, repeated(step, count), count, precision)


def plain(bf16: bool, mode: str = "") -> Build:
    """Return the way of a plain loop."""

    def build(settings: Settings) -> Work:
        import torch

        from bench.plain import plain_step
        from dnalm.genome.folder import PreparedGenome

        options, genome = recipe(settings, "default"), PreparedGenome(data(settings))
        torch.manual_seed(0)
        step = plain_step(
            genome.tokens("train"),
            4,
            options.encoder,
            options.train,
            settings.device,
            bf16=bf16,
            mode=mode,
        )
        count = steps(settings)
        return work(options, repeated(step, count), count, "bf16" if bf16 else "fp32")

    return build


def trainer(bf16: bool, mode: str = "") -> Build:
    """Return transformers' way."""

    def build(settings: Settings) -> Work:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from bench.trainer import trainer_steps
        from dnalm.genome.folder import PreparedGenome

        options, genome = recipe(settings, "default"), PreparedGenome(data(settings))
        count = steps(settings)
        run = trainer_steps(
            genome.tokens("train"),
            4,
            options.encoder,
            options.train,
            settings.device,
            folder=settings.scratch,
            steps=count,
            bf16=bf16,
            mode=mode,
        )
        return work(options, run, count, "bf16" if bf16 else "fp32")

    return build


def ways(settings: Settings) -> dict[str, Build]:
    """Return dnalm's step in two precisions, its peers, and the peak of matrix products.

    On CUDA dnalm's is compiled, as in a run of the recipe's 4,000 steps.
    """
    compiled = settings.device == "cuda"
    found: dict[str, Build] = {"dnalm": dnalm_step("auto", compiled=compiled)}
    if compiled:
        found["dnalm, not compiled"] = dnalm_step("auto")
    found |= {"dnalm, fp32": dnalm_step("fp32", compiled=compiled), "published": published}
    for kind, build in (("transformers", trainer), ("plain", plain)):
        for precision in ("bf16",) if compiled else ("bf16", "fp32"):  # on CUDA bf16 is the faster by far
            found[f"{kind}, {precision}"] = build(precision == "bf16")
        if settings.compile:
            found[f"{kind}, bf16{COMPILED}"] = build(True, "default")
            if compiled:
                found[f"{kind}, bf16{GRAPH}"] = build(True, "reduce-overhead")
    return found | product_ways(settings)


def targets(settings: Settings) -> list[Target]:
    """Return what was asked for."""
    if settings.device == "cuda":
        return [
            Target("3 times the published step", "published", "ratio", at_least=3.0),
            Target("1.5 times transformers' Trainer", "transformers", "ratio", at_least=1.5),
        ]
    return [
        Target("8 times the published step", "published", "ratio", at_least=8.0),
        Target("10 times the published step", "published", "ratio", at_least=10.0, must=False),
        Target("1.5 times transformers' Trainer", "transformers", "ratio", at_least=1.5),
        Target("twice transformers' Trainer", "transformers", "ratio", at_least=2.0, must=False),
        Target("not behind a plain loop", "plain", "ratio", at_least=1.0),
        Target("1.2 times a plain loop", "plain", "ratio", at_least=1.2, must=False),
    ]


VARIANTS = ("bf16", "fp32", f"bf16{COMPILED}", f"bf16{GRAPH}")
CASE = Case(
    name="step",
    title="The pretraining step",
    about=(
        "The same model (4 layers, 4 heads, 384 wide) and the same batch of 64 windows of 300 tokens of "
        "a made-up genome for all. dnalm: its own training loop with the default recipe, the precision "
        "that --precision auto takes and fp32; evaluation and saving do not count. published: the "
        "published step written anew from its description (fp32 on a CPU, fp16 on CUDA, attention maps "
        "with a second pass, the batch window by window). transformers: GPT-2 of the same size under "
        "its Trainer, with fused attention and AdamW. plain: a plain PyTorch loop with fused attention, "
        "AdamW and autocast. dnalm's own recipe, transformers and plain are without dropout; published "
        "has its own. On CUDA dnalm's step is compiled as one graph, as in a run of 4,000 steps; the time "
        "of compiling does not count, for any of them."
    ),
    unit="tokens",
    ours="dnalm",
    ways=ways,
    groups={
        "published": ("published",),
        "transformers": tuple(f"transformers, {each}" for each in VARIANTS),
        "plain": tuple(f"plain, {each}" for each in VARIANTS),
    },
    peaks=PEAKS,
    targets=targets,
    amounts={"the published 4,000 steps (76.8 million tokens)": 76_800_000},
    setup=setup,
    rounds=15,
    memory=13e9,
)
