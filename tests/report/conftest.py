"""Results of two small invented runs, as `dnalm pretrain` writes them."""

import copy
import json
import math

import pytest


def make_run(mode, bits=1.95, width=0.004, steps=1000, recipe="default", data="toy.fa", best=1.96):
    iterations = list(range(0, steps + 1, steps // 10))
    start = math.log(40) if mode == "full" else math.log(4)
    end = bits * math.log(2) * (1.01 if mode == "full" else 1.0)
    val = [end + (start - end) * math.exp(-i * 8 / steps) for i in iterations]
    one = [
        2.0 - (2.0 - best - 0.004) * math.sin(math.pi / 2 * min(1, k / 8)) + 0.002 * max(0, k - 8)
        for k in range(13)
    ]
    both = [b - 0.004 * (k > 0) for k, b in enumerate(one)]
    order = min(range(13), key=both.__getitem__)
    ladder = {
        "weight": 20, "train_bases": 1_800_000, "validation_bases": 200_000, "one_strand": one,
        "both_strands": both, "best": {"order": order, "strands": 2, "bits": both[order]},
    }  # fmt: skip
    tokens = [i * 19_200 for i in iterations]
    history = {
        "iterations": iterations, "tokens": tokens, "train_losses": [v - 0.01 for v in val],
        "val_losses": val,
        "bits_per_base": [bits + (2.0 - bits) * math.exp(-i * 8 / steps) for i in iterations],
        "elapsed_time": [i * 0.08 for i in iterations],
    }  # fmt: skip
    gain = both[order] - bits
    return {
        "format": "dnalm-run", "format_version": 1, "verb": "pretrain", "status": "done",
        "command": ["dnalm", "pretrain", "--data", f"data/{mode}", "--out", "my outputs", "--recipe", recipe],
        "recipe": {
            "name": recipe, "encoder": {"block_size": 300}, "train": {"steps": steps, "batch_size": 64},
        },
        "versions": {"dnalm": "0.1.0", "torch": "2.13"}, "seed": 0,
        "data": {"name": mode, "sources": [{"name": data, "bytes": 9, "sha256": "00"}],
                 "split": {"kind": "contigs", "val_contigs": ["XV", "XVI"]}},
        "hardware": {"processor": "A <fast> processor", "cores": 2, "device": "cpu (2 threads)"}, "git": None,
        "timings": {"started": "2025-01-01T00:00:00Z", "finished": "2025-01-01T00:01:20Z", "elapsed_s": 80.0},
        "peak_memory_bytes": 800_000_000,
        "metrics": {
            "mode": mode, "vocab_size": 40 if mode == "full" else 4, "parameters": 7_096_704, "step": steps,
            "tokens": tokens[-1], "train_loss": val[-1] - 0.01, "val_loss": val[-1], "best_val_loss": val[-1],
            "tokens_per_second": 240_000.0, "history": history,
            "bits_per_base": {"value": bits, "low": bits - width, "high": bits + width, "bases": 200_000},
            "ladder": ladder,
            "gain": {
                "value": gain, "low": gain - width, "high": gain + width,
                "winner": "model" if gain > width else "markov" if gain < -width else "neither",
            },
            "verdict": f"The model {'beats' if gain > 0 else 'loses to'} Markov by {abs(gain):.4f}.",
        },
    }  # fmt: skip


def write_outputs(folder, *runs):
    """Write the files that `pretrain` leaves in its --out folder, pictures aside."""
    for run in runs:
        metrics = run["metrics"]
        mode = metrics["mode"]
        (folder / mode).mkdir(parents=True)
        (folder / mode / "run.json").write_text(json.dumps(run))
        losses = {**copy.deepcopy(metrics["history"]), "vocab_size": metrics["vocab_size"]}
        (folder / f"losses_{mode}.json").write_text(json.dumps(losses))
        summary = {
            "elapsed_time": run["timings"]["elapsed_s"], "best_val_loss": metrics["best_val_loss"],
            "checkpoint": f"ckpt_{mode}.pt", "loss_curve": f"loss_{mode}.png",
            "loss_data": f"losses_{mode}.json",
        }  # fmt: skip
        (folder / f"summary_{mode}.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(name="make_run")
def make_run_fixture():
    """The function that invents a run.json: make_run(mode, bits=1.95, width=0.004, steps=1000, ...)."""
    return make_run


@pytest.fixture(name="write_outputs")
def write_outputs_fixture():
    """The function that lays runs out in a folder: write_outputs(folder, *runs)."""
    return write_outputs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """An outputs folder with both modes: full beats its Markov ladder, vocab4 loses to it."""
    folder = tmp_path_factory.mktemp("report") / "my outputs"
    return write_outputs(folder, make_run("full", 1.945), make_run("vocab4", 1.972))
