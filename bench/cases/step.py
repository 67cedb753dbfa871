"""The pretraining step, 64 windows of 300 tokens: dnalm's against what a user would use instead."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.genomes import prepare_genome
from bench.products import PEAKS, cpu_precisions, product, product_ways
from bench.work import Build, Case, Settings, Target, Work

if TYPE_CHECKING:
    from dnalm.commands.pretrain import Options

GENOME = 10_000_000
"""Bytes of the random genome."""
SIZES = {"cuda": (("7M", 64), ("7M", 512), ("100M", 128)), "cpu": (("7M", 64), ("100M", 8))}
"""Size of the model and windows of a batch in the case `large`, for each device."""
COMPILED, GRAPH = ", torch.compile", ", torch.compile, reduce-overhead"


def data(settings: Settings) -> Path:
    """Return the folder of the prepared genome."""
    return settings.folder / "data" / "vocab4"


def setup(settings: Settings) -> None:
    """Prepare the genome."""
    prepare_genome(settings.folder, 100_000 if settings.quick else GENOME)


def recipe(
    settings: Settings, name: str, size: str = "auto", batch: int = 0, encoder: str = "gpt"
) -> "Options":
    """Return a recipe of `dnalm pretrain`, with another size or batch if given; tiny with --quick."""
    from dataclasses import replace

    from dnalm.commands.pretrain import default_options

    options = default_options(name, size, encoder=encoder)
    options = replace(options, train=replace(options.train, batch_size=batch or options.train.batch_size))
    if settings.quick:
        small = replace(options.encoder, n_layer=1, n_head=2, n_embd=16, block_size=30)
        options = replace(options, encoder=small, train=replace(options.train, batch_size=4))
    return options


def flops(options: "Options") -> float:
    """Return the model FLOPs of one step of dnalm's model; the same are counted for all."""
    from bench.figures import model_flops
    from dnalm.models.language import LanguageModel

    shape, attention = options.encoder, options.architecture == "gpt"
    named = LanguageModel(options.shape, 4).transformer.named_parameters()
    inside = sum(p.numel() for name, p in named if not name.startswith(("wte", "wpe")))
    each = model_flops(inside, shape.n_layer * attention, shape.block_size, shape.n_embd)
    return float(each * options.train.batch_size * shape.block_size)


def steps(settings: Settings) -> int:
    """Return how many steps a round has."""
    return 20 if settings.device == "cuda" else 1


def work(options: "Options", run: Any, count: int, precision: str) -> Work:
    """Return a contestant that takes `count` steps a call."""
    tokens = options.train.batch_size * options.encoder.block_size
    return Work(run, tokens * count, flops(options) * count, precision, facts={"precision": precision})


def dnalm_step(
    precision: Any,
    genome: Path | None = None,
    *,
    compiled: bool = False,
    size: str = "auto",
    batch: int = 0,
    objective: Literal["causal", "masked"] = "causal",
    encoder: Literal["gpt", "conv"] = "gpt",
) -> Build:
    """Return dnalm's training loop, without evaluation and saving, at the default recipe."""

    def build(settings: Settings) -> Work:
        import tempfile
        from dataclasses import replace

        import torch

        from dnalm.device import Compute
        from dnalm.genome.folder import PreparedGenome
        from dnalm.train.language import LanguageTask
        from dnalm.train.loop import Loop

        options = recipe(settings, "default", size, batch, encoder)
        shape = replace(options.encoder, objective=objective)
        options = replace(options, encoder=shape, architecture=encoder)
        processor = Compute(device=settings.device, precision=precision).processor()  # type: ignore[arg-type]
        prepared = PreparedGenome(genome or data(settings))
        task = LanguageTask(prepared, options.shape, replace(options.task, eval_bases=300))
        torch.manual_seed(0)
        every = options.train.steps
        loop = Loop(
            task,
            task.build_model(),
            replace(options.train, eval_every=every, checkpoint_every=every),
            folder=Path(tempfile.mkdtemp(dir=settings.scratch)),
            fabric=processor.fabric(),
            seed=0,
            identity={},
            compiled=compiled,
        )
        loop._save = lambda: None  # type: ignore[method-assign]  # not measured
        count = steps(settings)

        def run() -> float:
            loop.run(stop_at=loop.step + count)
            return loop.seconds_per_step * count

        return work(options, run, count, processor.precision)

    return build


def peer(kind: str, bf16: bool = False, mode: str = "") -> Build:
    """Return another way: published, transformers or plain; `mode` is torch.compile's, empty for none."""

    def build(settings: Settings) -> Work:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch

        from dnalm.genome.folder import PreparedGenome

        options = recipe(settings, "published" if kind == "published" else "default")
        torch.manual_seed(0)
        ids, count, device = PreparedGenome(data(settings)).tokens("train"), steps(settings), settings.device
        given = (ids, 4, options.encoder, options.train, device)
        precision = "bf16" if bf16 else "fp32"
        step: Callable[[], None]
        if kind == "transformers":
            from bench.trainer import trainer_steps

            run = trainer_steps(*given, folder=settings.scratch, steps=count, bf16=bf16, mode=mode)
            return work(options, run, count, precision)
        if kind == "published":
            from bench.published import published_step

            step, precision = published_step(*given), "fp16" if device == "cuda" else "fp32"
        else:
            from bench.plain import plain_step

            step = plain_step(*given, bf16=bf16, mode=mode)

        def repeated() -> None:
            for _ in range(count):
                step()

        return work(options, repeated, count, precision)

    return build


def ways(settings: Settings) -> dict[str, Build]:
    """Return dnalm's step in two precisions, the others, and the peak of matrix products.

    On CUDA dnalm's is compiled, as in a run of the recipe's 4,000 steps.
    """
    on_cuda = settings.device == "cuda"
    found: dict[str, Build] = {"dnalm": dnalm_step("auto", compiled=on_cuda)}
    if on_cuda:
        found["dnalm, not compiled"] = dnalm_step("auto")
    found["dnalm, masked"] = dnalm_step("auto", compiled=on_cuda, objective="masked")
    found["dnalm, conv"] = dnalm_step("auto", compiled=on_cuda, size="7M", objective="masked", encoder="conv")
    found |= {"dnalm, fp32": dnalm_step("fp32", compiled=on_cuda), "published": peer("published")}
    for kind in ("transformers", "plain"):
        for precision in ("bf16",) if on_cuda else cpu_precisions():  # on CUDA bf16 is the faster by far
            found[f"{kind}, {precision}"] = peer(kind, precision == "bf16")
        if settings.compile:
            found[f"{kind}, bf16{COMPILED}"] = peer(kind, True, "default")
            if on_cuda:
                found[f"{kind}, bf16{GRAPH}"] = peer(kind, True, "reduce-overhead")
    return found | product_ways(settings)


VARIANTS = ("bf16", "fp32", f"bf16{COMPILED}", f"bf16{GRAPH}")
CASE = Case(
    name="step",
    title="The pretraining step",
    about=(
        "The same model (4 layers, 4 heads, 384 wide) and the same batch of 64 windows of 300 tokens of "
        "a random genome for all. dnalm: its own training loop with the default recipe, in the precision "
        "of --precision auto and in fp32; evaluation and saving do not count. masked: with --objective "
        "masked. conv: dilated convolutions of 7M parameters. published: the published step "
        "rewritten from its description (fp32 on a CPU, fp16 on CUDA, attention maps with a second pass, the "
        "batch window by window). transformers: GPT-2 of the same size under its Trainer, with fused "
        "attention and AdamW. plain: a plain PyTorch loop of the same model with fused attention, AdamW "
        "and autocast. "
        "Only published has dropout, as its recipe. On CUDA dnalm's step is compiled as one graph, as in a "
        "run of 4,000 steps; the time of compiling does not count, for any of them."
    ),
    unit="tokens",
    ours="dnalm",
    ways=ways,
    groups={"published": ("published",)}
    | {kind: tuple(f"{kind}, {each}" for each in VARIANTS) for kind in ("transformers", "plain")},
    peaks=PEAKS,
    targets=lambda settings: [
        Target("ahead of transformers' Trainer", "transformers", "ratio", at_least=1.0),
        Target("not behind a plain loop", "plain", "ratio", at_least=1.0),
        Target("masked bases at 0.8 of the rate or more", "dnalm, masked", "ratio", at_most=1.25),
    ],
    amounts={"the published 4,000 steps (76.8 million tokens)": 76_800_000},
    setup=setup,
    rounds=15,
    memory=13e9,
)
LARGE = Case(
    name="large",
    title="The pretraining step, batch and size free",
    about=(
        "dnalm's own training loop at two sizes of `dnalm pretrain --size`, windows of 300 tokens, in the "
        "precision of --precision auto, compiled on CUDA. 7M is the size of the step above."
    ),
    unit="tokens",
    ours="7M, batch 64",
    ways=lambda settings: (
        {
            f"{size}, batch {batch}": dnalm_step(
                "auto", compiled=settings.device == "cuda", size=size, batch=batch
            )
            for size, batch in SIZES[settings.device]
        }
        | {PEAKS["bf16"]: product("bf16")}
    ),
    peaks=PEAKS,
    targets=lambda settings: (
        [Target("40 % of the peak at 100M parameters", "100M, batch 128", "share_of_peak", at_least=0.4)]
        if settings.device == "cuda"
        else []
    ),
    setup=setup,
    memory=10e9,
)
