"""The pretraining step with larger batches and a larger model: how much of the device is used."""

from bench.cases import step
from bench.products import PEAKS, product
from bench.work import Build, Case, Settings, Target

SIZES = {"cuda": (("7M", 64), ("7M", 512), ("100M", 128)), "cpu": (("7M", 64), ("100M", 8))}
"""Size of the model and windows of a batch, for each device."""


def ways(settings: Settings) -> dict[str, Build]:
    """Return a way for each size, and the peak of matrix products in bf16."""
    on_cuda = settings.device == "cuda"
    found = {
        f"{size}, batch {batch}": step.dnalm_step("auto", compiled=on_cuda, size=size, batch=batch)
        for size, batch in SIZES[settings.device]
    }
    return found | {PEAKS["bf16"]: product("bf16")}


def targets(settings: Settings) -> list[Target]:
    """Return what was asked for."""
    if settings.device != "cuda":
        return []
    return [Target("40 % of the peak at 100M parameters", "100M, batch 128", "share_of_peak", at_least=0.4)]


CASE = Case(
    name="large",
    title="The pretraining step, batch and size free",
    about=(
        "dnalm's own training loop at two sizes of `dnalm pretrain --size`, windows of 300 tokens, in the "
        "precision that --precision auto takes, compiled on CUDA. 7M is the size of the step above."
    ),
    unit="tokens",
    ours="7M, batch 64",
    ways=ways,
    peaks=PEAKS,
    targets=targets,
    setup=step.setup,
    memory=10e9,
)
