"""What the tests start by torchrun in two processes: each job that a JSON file lists, one after the other."""

import contextlib
import io
import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from dnalm import process
from dnalm.cli import main
from dnalm.data.state_cache import StateStore
from dnalm.device import Processor
from dnalm.train.optim import TrainConfig
from dnalm.train.sharding import synchronize_batch_norm
from tests.train.tasks import make_loop

STEPS = {"warmup": 1, "lr": 0.01, "min_lr": 0.001, "schedule": "cosine"}
STEPS |= {"steps": 6, "eval_every": 3, "checkpoint_every": 3}


def train(job):
    """Run a job, from its start or from where it was stopped; count what this process scores."""
    folder, strategy = Path(job["folder"]), job.get("strategy", "single")
    started = (folder / "last").exists()
    config = TrainConfig(batch_size=8, accumulate=job.get("accumulate", 1), **STEPS)
    how = {"weight": job.get("weight", 1.0), "processor": Processor("cpu", "fp32", strategy)}
    loop = make_loop(job["task"], folder, config, job["data"], **how)
    scored = []
    part = loop.model.head if job["task"] == "pairs" else loop.model

    def count(_module, inputs):
        if not part.training:
            scored.append(len(inputs[2]) if job["task"] == "pairs" else 1)

    part.register_forward_pre_hook(count)
    if process.broadcast(started):
        loop.resume(print)
    language, binding = "dnalm.evaluate.language.EVALUATION_BATCH", "dnalm.evaluate.binding.PREDICT_BATCH"
    with patch(language, 4), patch(binding, 4):
        loop.run(stop_at=job.get("stop_at"))
    (folder / f"scored{process.current().rank}.json").write_text(json.dumps(sum(scored)))
    return loop


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
    """Fill a store of states, as many a text as it has letters; save what this process has encoded."""
    calls = []

    def encode(texts):
        calls.extend(texts)
        return [torch.full((1 + len(text), 2), float(ord(text[0]))) for text in texts]

    store = StateStore(Path(job["folder"]), {"name": "letters"}, 2)
    filled = store.fill(job["texts"], encode, lambda _message: None)
    lengths = store.states(job["texts"]).lengths(torch.arange(len(job["texts"])).numpy())
    assert lengths.tolist() == [len(text) for text in job["texts"]]
    own = {"texts": sorted(calls), "filled": filled}
    (Path(job["folder"]) / f"rank{process.current().rank}.json").write_text(json.dumps(own))


def command(job, path):
    """Run a command line; save its exit code and what this process has printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(job["words"])
    path.write_text(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}))
    return code


def run(path):
    """Do every job of the file; return the exit code of the last one."""
    torch.set_num_threads(1)
    jobs, code = json.loads(path.read_text()), 0
    for number, job in enumerate(jobs):
        if number:
            process.barrier()  # not after the last one: a process may have left the others in the middle
            torch.distributed.distributed_c10d._get_default_store().set("dnalm/error-reporters", "0")
            process.barrier()
        if job["task"] == "command":
            code = command(job, path.with_name(f"shown{number}-{process.current().rank}.json"))
        elif job["task"] in ("norm", "states"):
            Processor("cpu", "fp32", "ddp").fabric()
            normalise() if job["task"] == "norm" else fill(job)
        else:
            train(job)
    return code


if __name__ == "__main__":
    process.end(run(Path(sys.argv[1])))
