"""A small task of each kind of model, for what the loop must do for all of them."""

import json
from pathlib import Path

import torch

from dnalm import checkpoint
from dnalm.data.binding import BindingWindows
from dnalm.data.pair_batches import PairRows, PairTokens, Ragged
from dnalm.device import Processor
from dnalm.genome.folder import PreparedGenome
from dnalm.models.bags import KmerConfig, MorganConfig
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.cnn import CNNConfig
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import InteractionShape
from dnalm.train.binding import BindingTask
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.loop import Loop
from dnalm.train.pairs import InteractionTask

KINDS = ("language", "bases", "pairs")


def language(data, dropout=0.0, weight=1.0):
    """A GPT of two layers."""
    shape = GPTConfig(n_layer=2, n_head=2, n_embd=8, block_size=20, dropout=dropout)
    config = LanguageConfig(eval_bases=500, repeat_weight=weight)
    task = LanguageTask(PreparedGenome(Path(data)), shape, config)
    return task, task.build_model()


def pairs(dropout=0.0):
    """Cross-attention with batch normalisation; 21 pairs, not a multiple of 8."""
    draws = torch.Generator().manual_seed(3)

    def ragged(count, highest):
        lengths = torch.randint(3, 9, (count,), generator=draws).tolist()
        tokens = [torch.randint(0, highest, (n,), generator=draws).numpy() for n in lengths]
        return Ragged([each.astype("int16") for each in tokens])

    head = CrossAttentionConfig(8, 2, 8, dropout, dropout, dropout)
    shape = InteractionShape(KmerConfig(2, 8), MorganConfig(bits=64, width=8), head)
    gene, molecule = (torch.randint(0, 5, (21,), generator=draws).numpy() for _ in "gm")
    rows = PairRows(gene, molecule, (gene % 2 == molecule % 2).astype("uint8"))
    task = InteractionTask(shape, PairTokens(ragged(5, 4), ragged(5, 64), True), rows, rows)
    return task, InteractionModel(shape)


def bases(dropout=0.0):
    """The CNN of binding; 21 windows, which batches of 8 do not divide."""
    draws = torch.Generator().manual_seed(4)
    tokens = torch.randint(0, 4, (21, 30), generator=draws).to(torch.uint8)
    windows = BindingWindows(tokens, torch.rand(21, 30, generator=draws))
    shape = BindingShape(CNNConfig(8, 3), head=RegressionHeadConfig(head_dropout=dropout))
    return BindingTask(shape, windows, windows), BindingModel(shape)


def make_loop(kind, folder, config, data, *, seed=0, dropout=0.0, weight=1.0, processor=None, **settings):
    """The loop of a task in a folder, as a new process would make it; `data` is a prepared genome."""
    folder.mkdir(exist_ok=True, parents=True)
    torch.manual_seed(seed)
    if kind == "language":
        task, model = language(data, dropout, weight)
    else:
        task, model = {"pairs": pairs, "bases": bases}[kind](dropout)
    fabric = (processor or Processor("cpu", "fp32")).fabric()
    identity = {"lr": config.lr, "seed": seed}
    return Loop(task, model, config, folder=folder, fabric=fabric, seed=seed, identity=identity, **settings)


def log_of(folder):
    """The lines of a run's log, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "elapsed"} for line in lines]


def content_of(folder):
    """Digests of the last state and of the best weights, their steps, and the log."""
    saved = [checkpoint.describe(folder / name) for name in ("last", "checkpoint")]
    return [(each["files"], each["step"]) for each in saved], log_of(folder)
