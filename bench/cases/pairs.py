"""Training on pairs of genes and molecules: on kept states, against encoding both of every pair."""

from typing import Any

from bench.work import Build, Case, Settings, Target, Work

BATCH, FEW = 128, 4
"""Pairs of a step; of one that encodes them all."""
STEPS = 4
"""In a round, on kept states."""


def training(batch: int, steps: int, *, bf16: bool, encodes: bool) -> Build:
    """Return training steps, on states that are at hand or that are computed first."""

    def build(settings: Settings) -> Work:
        import torch

        from bench.encoding import encoding
        from bench.pair_sets import made_up
        from dnalm.data.pair_batches import PairBatches

        pairs, device = made_up(), settings.device
        pairs.model.to(device).train()
        size = 4 if settings.quick else batch
        batches = PairBatches(pairs.tokens, pairs.rows, size, 0)
        optimizer = torch.optim.AdamW(pairs.model.parameters(), lr=1e-4, fused=True)
        encode = encoding(size, device, tiny=settings.quick) if encodes else None
        done = 0

        def run() -> None:
            nonlocal done
            for _ in range(steps):
                if encode:
                    encode()
                made: Any = batches.batch(done)
                here = type(made)(*(x.to(device) if isinstance(x, torch.Tensor) else x for x in made))
                with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
                    loss = pairs.task.loss(pairs.model, here)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
                done += 1

        return Work(run, float(size * steps), precision="bf16" if bf16 else "fp32")

    return build


CASE = Case(
    name="pairs",
    title="Training on pairs of genes and molecules",
    about=(
        "Steps of the cross-attention model on 128 pairs. kept: states of genes (32 segments) and molecules "
        "(60 tokens), both 384 wide, were computed once and are in memory. encoding every pair: DNABERT-2 "
        "(512 tokens) and ChemBERTa (60 tokens), with random weights, read both of each of 4 pairs in bf16 "
        "before the step, as a loop over pairs does."
    ),
    unit="pairs",
    ours="kept, bf16",
    ways=lambda settings: {
        "kept, bf16": training(BATCH, STEPS, bf16=True, encodes=False),
        "kept, fp32": training(BATCH, STEPS, bf16=False, encodes=False),
        "encoding every pair": training(FEW, 1, bf16=True, encodes=True),
    },
    groups={"encoding": ("encoding every pair",)},
    targets=lambda settings: [Target("faster than encoding", "encoding", "ratio", at_least=1.0)],
    amounts={"an epoch of 190,000 pairs": 190_000},
)
