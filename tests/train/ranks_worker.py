"""What tests/test_ranks.py starts by torchrun: each job that a JSON file asks for, one after the other."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from dnalm import process
from dnalm.data.binding import BindingWindows
from dnalm.data.binding_states import StateCache
from dnalm.data.pair_batches import PairRows, PairTokens, Ragged
from dnalm.data.state_cache import StateStore
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
from dnalm.train.optim import TrainConfig
from dnalm.train.pairs import InteractionTask
from dnalm.train.sharding import synchronize_batch_norm

STEPS = {"warmup": 1, "lr": 0.01, "min_lr": 0.001, "schedule": "cosine"}


def language(data, weight=1.0):
    """A GPT of one layer, without dropout."""
    shape = GPTConfig(n_layer=2, n_head=2, n_embd=8, block_size=20)
    return LanguageTask(
        PreparedGenome(Path(data)), shape, LanguageConfig(eval_bases=500, repeat_weight=weight)
    )


def pairs():
    """Cross-attention with batch normalisation, without dropout; 21 pairs, not a multiple of 8."""
    draws = torch.Generator().manual_seed(3)

    def ragged(count, highest):
        lengths = torch.randint(3, 9, (count,), generator=draws).tolist()
        return Ragged(
            [torch.randint(0, highest, (n,), generator=draws).numpy().astype("int16") for n in lengths]
        )

    shape = InteractionShape(
        KmerConfig(2, 8), MorganConfig(bits=64, width=8), CrossAttentionConfig(8, 2, 8, 0.0, 0.0, 0.0)
    )
    gene, molecule = (torch.randint(0, 5, (21,), generator=draws).numpy() for _ in "gm")
    rows = PairRows(gene, molecule, (gene % 2 == molecule % 2).astype("uint8"))
    return InteractionTask(shape, PairTokens(ragged(5, 4), ragged(5, 64), True), rows, rows)


def bases():
    """The CNN of binding, without dropout; 21 windows, which batches of 8 do not divide."""
    draws = torch.Generator().manual_seed(4)
    tokens = torch.randint(0, 4, (21, 30), generator=draws).to(torch.uint8)
    windows = BindingWindows(tokens, torch.rand(21, 30, generator=draws))
    shape = BindingShape(CNNConfig(8, 3), head=RegressionHeadConfig(head_dropout=0.0))
    return BindingTask(shape, windows, windows)


def loop_of(job, strategy="single"):
    """The loop of a job, as a new process would make it."""
    folder = Path(job["folder"])
    folder.mkdir(exist_ok=True, parents=True)
    torch.manual_seed(0)
    if job["task"] == "pairs":
        task = pairs()
        model = InteractionModel(task.shape)
    elif job["task"] == "bases":
        task = bases()
        model = BindingModel(task.shape)
    else:
        task = language(job["data"], job.get("weight", 1.0))
        model = task.build_model()
    config = TrainConfig(batch_size=8, **(STEPS | {"eval_every": 3, "checkpoint_every": 3} | job["train"]))
    fabric = Processor("cpu", "fp32", strategy).fabric()
    return Loop(task, model, config, folder=folder, fabric=fabric, seed=0, identity={"seed": 0})


def train(job, strategy="single"):
    """Run a job, from its start or from where it was stopped; tell how much this process has scored."""
    there = (Path(job["folder"]) / "last").exists()
    loop = loop_of(job, strategy)
    scored = []
    part = loop.model.head if job["task"] == "pairs" else loop.model

    def count(_module, inputs):
        if not part.training:
            scored.append(len(inputs[2]) if job["task"] == "pairs" else 1)

    part.register_forward_pre_hook(count)
    if process.broadcast(there):
        loop.resume(print)
    language, binding = "dnalm.evaluate.language.EVALUATION_BATCH", "dnalm.evaluate.binding.PREDICT_BATCH"
    with patch(language, 4), patch(binding, 4):
        loop.run(stop_at=job.get("stop_at"))
    (Path(job["folder"]) / f"scored{process.current().rank}.json").write_text(json.dumps(sum(scored)))
    return loop


def letters(texts):
    """States of texts: as many as they have letters, behind their mean."""
    return [torch.full((1 + len(text), 2), float(ord(text[0]))) for text in texts]


def normalise():
    """Batch normalisation over both processes is PyTorch's of the whole batch, with its gradients."""
    draws = torch.Generator().manual_seed(5)
    rows, pull = torch.randn(7, 4, generator=draws) + 3.0, torch.randn(7, 4, generator=draws)
    one, two = torch.nn.BatchNorm1d(4), torch.nn.Sequential(torch.nn.BatchNorm1d(4))
    synchronize_batch_norm(two, 1, 7)
    own = slice(process.current().rank, None, 2)
    whole, share = rows.clone().requires_grad_(), rows[own].clone().requires_grad_()
    for _ in range(2):
        (one(whole) * pull).sum().backward()
        (two(share) * pull[own]).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-5}  # sums of float32 in another order
    torch.testing.assert_close(share.grad, whole.grad[own], **close)
    torch.testing.assert_close(two(share), one(whole)[own], **close)
    for name, wanted in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[f"0.{name}"], wanted, **close)
    for name, parameter in two[0].named_parameters():
        torch.distributed.all_reduce(parameter.grad)
        torch.testing.assert_close(parameter.grad, one.get_parameter(name).grad, **close)
    torch.testing.assert_close(two.eval()(share), one.eval()(whole)[own], **close)


def fill(job):
    """Fill a store and a cache of states, and say how many this process has encoded."""
    calls = []

    def encode(texts):
        calls.extend(texts)
        return letters(texts)

    store = StateStore(Path(job["folder"]), {"name": "letters"}, 2)
    filled = store.fill(job["texts"], encode, lambda _message: None)
    kept = store.states(job["texts"])
    assert kept.lengths(torch.arange(len(job["texts"])).numpy()).tolist() == [len(t) for t in job["texts"]]
    rows = []

    def squares(tokens):
        rows.append(len(tokens))
        return torch.stack([tokens.float(), tokens.float() ** 2], dim=-1)

    tokens = torch.arange(600).remainder(4).to(torch.uint8).view(200, 3)
    cache = StateCache(Path(job["folder"]) / "cache", 10**6, lambda _message: None)
    found = cache.get(squares, tokens, 2, {"weights": "a"}).states
    assert torch.equal(found.float(), torch.stack([tokens.float(), tokens.float() ** 2], dim=-1))
    own = {"rank": process.current().rank, "texts": sorted(calls), "filled": filled, "rows": sum(rows)}
    (Path(job["folder"]) / f"rank{own['rank']}.json").write_text(json.dumps(own))


def main(path):
    """Do every job of the file."""
    torch.set_num_threads(1)
    for job in json.loads(Path(path).read_text()):
        if job["task"] == "norm":
            Processor("cpu", "fp32", "ddp").fabric()
            normalise()
        elif job["task"] == "states":
            Processor("cpu", "fp32", "ddp").fabric()
            fill(job)
        else:
            train(job, job["strategy"])
        process.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
    process.end(0)
