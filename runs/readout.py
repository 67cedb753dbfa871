#!/usr/bin/env python3
"""How well a linear map finds, in a core's state at a base, which bases stand before it.

    runs/readout.py MODEL... --sequences FILE --out FOLDER

MODEL: binding models of `dnalm finetune --tune frozen`, whose cores are read. The score of a motif is a
function of the ten or so bases of a site, and a head of one convolution can only use those that its states
tell of. For each distance a ridge regression on the states of `--windows` windows names the base that stands
so far to the left; its accuracy is measured on as many other windows. States are taken as the core makes them
and as they are kept on disk, in bfloat16.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dnalm.dna import BASES
from dnalm.files import sha256
from dnalm.formats.binding import read_sequences
from dnalm.models.binding import base_codes
from dnalm.models.open import open_binding
from dnalm.record import Record

DISTANCES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
"""Bases to the left of the state's own."""
RIDGE = 1e-6
"""Of the mean variance of a channel, added to each direction's."""


def accuracies(states: Tensor, bases: Tensor, train: int) -> list[float]:
    """Return for each of `DISTANCES` the share of bases that are found, in windows behind the first `train`.

    Args:
        states: float, [M, L, D].
        bases: base codes, [M, L]; 4 is none of the four and is not asked for.
        train: windows to learn from.
    """
    x = F.layer_norm(states, states.shape[-1:]).double()
    x = torch.cat([x - x[:train].mean((0, 1)), torch.ones_like(x[..., :1])], dim=-1)  # [M, L, D + 1]
    start = max(DISTANCES)
    flat = x[:train, start:].flatten(0, 1)
    square = flat.T @ flat
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    factor = torch.linalg.cholesky(square)
    found = []
    for distance in DISTANCES:
        wanted = bases[:, start - distance : bases.shape[1] - distance]  # [M, L - start]
        one_hot = F.one_hot(wanted[:train].flatten().long(), len(BASES) + 1)[:, : len(BASES)].double()
        weights = torch.cholesky_solve(flat.T @ one_hot, factor)
        guess = (x[train:, start:] @ weights).argmax(-1)
        known = wanted[train:] < len(BASES)
        found.append(float((guess == wanted[train:])[known].double().mean()))
    return found


def main() -> None:
    """Measure each model's core, and write OUT/run.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--sequences", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=512, help="to learn from, and as many to measure on")
    options = parser.parse_args()
    _, letters = read_sequences(options.sequences)
    letters = letters[np.random.default_rng(0).permutation(len(letters))[: 2 * options.windows]]
    codes = base_codes(letters)
    options.out.mkdir(parents=True, exist_ok=True)
    record = Record(
        options.out / "run.json",
        "readout",
        recipe={"windows": options.windows, "ridge": RIDGE},
        seed=0,
        data={"files": {str(options.sequences): sha256(options.sequences)}},
        device="cpu",
    )
    record.content["command"] = ["runs/readout.py", *sys.argv[1:]]
    with record.ending(), torch.no_grad():
        models = {}
        for path in options.models:
            opened = open_binding(path)
            encoder = opened.model.encoder
            tokens = opened.model.shape.tokens(letters)
            real = torch.ones_like(tokens[:64], dtype=torch.bool)
            states = torch.cat([encoder(some, real[: len(some)]).float() for some in torch.split(tokens, 64)])
            kept = states.to(torch.bfloat16).float()
            models[path.name] = {
                "model": opened.about,
                "as made": accuracies(states, codes, options.windows),
                "in bfloat16": accuracies(kept, codes, options.windows),
            }
            print(path.name, [f"{share:.3f}" for share in models[path.name]["in bfloat16"]])
        counts = torch.bincount(codes[: options.windows].flatten().long(), minlength=len(BASES) + 1)
        common = counts[: len(BASES)].argmax()
        known = codes[options.windows :] < len(BASES)
        guess = float((codes[options.windows :] == common)[known].double().mean())
        record.finish("done", {"distances": list(DISTANCES), "guess": guess, "models": models})


if __name__ == "__main__":
    main()
