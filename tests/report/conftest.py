"""Results of two small invented runs, as `dnalm pretrain` writes them."""

import copy
import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from matplotlib.image import imread

from dnalm.config import read_recipe


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
    told = read_recipe(recipe)
    return {
        "format": "dnalm-run", "format_version": 1, "verb": "pretrain", "status": "done",
        "command": ["dnalm", "pretrain", "--data", f"data/{mode}", "--out", "my outputs", "--recipe", recipe],
        "recipe": {"name": recipe} | told | {"train": told["train"] | {"steps": steps}},
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


def make_scores(auroc=0.7, half_width=0.01, rows=1000, positives=500):
    """What interaction_scores returns, of invented figures: AUROC +- half_width, the rest in step with it."""
    around = {"value": auroc, "low": None, "high": None}
    if auroc is not None and half_width is not None:
        around |= {"low": auroc - half_width, "high": auroc + half_width}
    return {
        "auroc": around, "auprc": dict(around), "prevalence": positives / rows,
        "auroc_per_gene": {"value": 0.61, "groups": 80}, "auroc_per_molecule": {"value": 0.62, "groups": 300},
        "ef1": 1.75, "brier": 0.21, "ece": 0.03, "rows": rows, "positives": positives,
        "reliability": {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "predicted": [0.2, 0.4, 0.6, None],
                        "observed": [0.1, 0.45, 0.7, None], "count": [300, 300, 400, 0]},
    }  # fmt: skip


PROTOCOL = {"split": "random", "negatives": "degree-matched", "ratio": 1, "seed": 0, "digest": "00ff"}
ABOUT = {"kind": "original", "parameters": 1_200_000, "trained_parameters": 1_200_000, "set": "00ff",
         "split": "random", "seed": 0}  # fmt: skip


def make_results(auroc=0.7, name="original", node_rate=0.58, weights=None, **protocol):
    """A results.json, as `dnalm interact train` writes it."""
    history = {
        "epoch": [0, 1, 2], "train_loss": [0.7, 0.6, 0.5], "val_bce": [0.71, 0.66, 0.65],
        "val_auroc": [0.5, 0.65, auroc], "elapsed": [0.0, 10.0, 20.0],
    }  # fmt: skip
    return {
        "format": "dnalm-interaction-results", "format_version": 1, "name": name,
        "model": ABOUT | ({"weights": weights} if weights else {}), **PROTOCOL, **protocol,
        "training": {"epochs": 2, "best_epoch": 2, "seconds": 65.0, "history": history},
        "validation": make_scores(auroc), "node_rate_validation": node_rate,
    }  # fmt: skip


RUNGS = {"node rate": 0.58, "matrix factorisation": 0.68, "nearest molecules": 0.6, "gradient boosting": 0.64}


def make_evaluation(models, part="test", gain=(0.02, 0.01, 0.03), rungs=RUNGS, weights=None, **protocol):
    """An evaluation*.json, as `dnalm interact evaluate` writes it: AUROC of each model by name."""
    best = max(rungs, key=rungs.__getitem__)

    def entry(auroc):
        third = make_scores(None if auroc is None else auroc + 0.01, 0.02, rows=300, positives=150)
        return {"scores": make_scores(auroc), "sequenced": third}

    entries = {
        name: entry(auroc) | {
            "model": ABOUT | ({"weights": weights} if weights else {}), "path": f"runs/{name}",
            "temperature": 1.2, "shuffled_genes": make_scores(0.6), "shuffled_molecules": make_scores(0.52),
            "minus_best_rung": {"rung": best, **dict(zip(("value", "low", "high"), gain, strict=True))},
        }
        for name, auroc in models.items()
    }  # fmt: skip
    return {
        "format": "dnalm-interaction-evaluation", "format_version": 1, "part": part, **PROTOCOL, **protocol,
        "rows": 1000, "positives": 500, "models": entries,
        "ladder": {name: entry(auroc) for name, auroc in rungs.items()}, "best_rung": best, "warnings": [],
    }  # fmt: skip


@pytest.fixture(name="make_scores")
def make_scores_fixture():
    """The function that invents scores: make_scores(auroc=0.7, half_width=0.01, rows=1000, ...)."""
    return make_scores


@pytest.fixture(name="make_results")
def make_results_fixture():
    """The function that invents a results.json: make_results(auroc=0.7, name="original", ...)."""
    return make_results


@pytest.fixture(name="make_evaluation")
def make_evaluation_fixture():
    """The function that invents an evaluation: make_evaluation({"original": 0.7}, part="test", ...)."""
    return make_evaluation


@pytest.fixture
def drawn_alike(tmp_path):
    """Checks that a plot is a PNG with something on it, the same from any thread, and nothing beside it."""

    def check(draw):
        paths = [tmp_path / "a new folder" / f"{i}.png" for i in range(2)]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(draw, paths))
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert imread(paths[0])[..., :3].std() > 0.05
        assert sorted(paths[0].parent.iterdir()) == paths

    return check
