"""Training on pairs of genes and molecules: on cached states against encoding every pair; and from tokens."""

from typing import Any

from bench.work import Build, Case, Settings, Target, Work

BATCH, FEW = 128, 4
"""Pairs of a step; of one that encodes them all."""
STEPS = 4
"""In a round, on cached states."""


def training(batch: int, steps: int, *, bf16: bool, encodes: bool) -> Build:
    """Return training steps, on states that are in memory or that are computed first."""

    def build(settings: Settings) -> Work:
        import torch

        from bench.pair_sets import encoding, random_pairs
        from dnalm.data.pair_batches import PairBatches

        pairs, device = random_pairs(), settings.device
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
                there = type(made)(*(x.to(device) if isinstance(x, torch.Tensor) else x for x in made))
                with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
                    loss = pairs.task.loss(pairs.model, there)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
                done += 1

        return Work(run, float(size * steps), precision="bf16" if bf16 else "fp32")

    return build


def original(ours: bool) -> Build:
    """Return a training step of the published pair model, with the LSTM of `cpu_kernels` or PyTorch's."""

    def build(settings: Settings) -> Work:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        from dnalm.models import smiles_lstm
        from dnalm.models.pair import InteractionModel
        from dnalm.models.pair_shape import InteractionShape

        def theirs(lstm: torch.nn.LSTM, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]

        if not ours:
            smiles_lstm.lstm = theirs
        torch.manual_seed(0)
        model = InteractionModel(InteractionShape(characters="".join(map(chr, range(40, 80)))))
        size = 4 if settings.quick else 64
        optimizer, pair = torch.optim.AdamW(model.parameters(), lr=1e-4), torch.arange(size)
        genes, molecules = torch.randint(4, (size, 1000)), torch.randint(1, 40, (size, 100))
        genes_real = torch.arange(1000) < torch.randint(500, 1001, (size, 1))
        molecules_real = torch.arange(100) < torch.randint(20, 101, (size, 1))

        def run() -> None:
            logits = model(genes, genes_real, molecules, molecules_real, pair, pair)
            torch.nn.functional.binary_cross_entropy_with_logits(logits, (pair % 2).float()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return Work(run, float(size), precision="fp32")

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
LSTM = Case(
    name="lstm",
    title="Training the published pair model",
    about=(
        "A step on 64 pairs of genes up to 1,000 bases and molecules up to 100 characters, fp32. dnalm: with "
        "the LSTM of models/cpu_kernels.py. torch.nn.LSTM: the same model with PyTorch's own."
    ),
    unit="pairs",
    ours="dnalm",
    ways=lambda settings: {"dnalm": original(ours=True), "torch.nn.LSTM": original(ours=False)},
    groups={"torch": ("torch.nn.LSTM",)},
    targets=lambda settings: [Target("1.25 times PyTorch's LSTM", "torch", "ratio", at_least=1.25)],
)
