"""Invented results of every kind of run, as the commands write them."""

import itertools
import math

import numpy as np

from dnalm.bootstrap import moments, paired_difference, pearson_estimate
from dnalm.config import read_recipe
from dnalm.files import read_json, write_json


def make_run(mode, bits=1.95, steps=1000, recipe="default", best=1.96):
    iterations = list(range(0, steps + 1, steps // 10))
    falling = [math.exp(-i * 8 / steps) for i in iterations]
    losses = [bits * math.log(2) + 0.1 * part for part in falling]
    one, gain = [best + 0.004 + 0.002 * abs(order - 8) for order in range(13)], best - bits
    told = read_recipe(recipe)
    return {
        "format": "dnalm-run", "format_version": 1, "verb": "pretrain", "status": "done",
        "command": ["dnalm", "pretrain", "--data", f"data/{mode}", "--out", "my outputs", "--recipe", recipe],
        "recipe": {"name": recipe} | told | {"train": told["train"] | {"steps": steps}},
        "versions": {"dnalm": "0.1.0", "torch": "2.13"}, "seed": 0, "git": None,
        "data": {"name": mode, "sources": [{"name": "toy.fa", "bytes": 9, "sha256": "00"}],
                 "split": {"kind": "contigs", "val_contigs": ["XV", "XVI"]}},
        "hardware": {"processor": "A <fast> processor", "cores": 2, "device": "cpu (2 threads)"},
        "timings": {"started": "2025-01-01T00:00:00Z", "finished": "2025-01-01T00:01:20Z", "elapsed_s": 80.0},
        "peak_memory_bytes": 800_000_000,
        "metrics": {
            "mode": mode, "vocab_size": 40 if mode == "full" else 4, "parameters": 7_096_704, "step": steps,
            "tokens": steps * 19_200, "best_val_loss": losses[-1],
            "bits_per_base": {"value": bits, "low": bits - 0.004, "high": bits + 0.004, "bases": 200_000},
            "ladder": {
                "train_bases": 1_800_000, "validation_bases": 200_000, "one_strand": one,
                "both_strands": [value - 0.004 for value in one],
                "best": {"order": 8, "strands": 2, "bits": best},
            },
            "gain": {
                "value": gain, "low": gain - 0.004, "high": gain + 0.004,
                "winner": "model" if gain > 0.004 else "markov" if gain < -0.004 else "neither",
            },
            "verdict": f"The model {'beats' if gain > 0 else 'loses to'} Markov by {abs(gain):.4f}.",
            "history": {
                "iterations": iterations, "tokens": [i * 19_200 for i in iterations], "val_losses": losses,
                "train_losses": [loss - 0.01 for loss in losses],
                "bits_per_base": [bits + (2.0 - bits) * part for part in falling],
                "elapsed_time": [i * 0.08 for i in iterations],
            },
        },
    }  # fmt: skip


def write_outputs(folder, *runs):
    """Write the run.json files that `pretrain` leaves in its --out folder."""
    for run in runs:
        write_json(folder / run["metrics"]["mode"] / "run.json", run)
    return folder


def rows_of(table):
    return {row[0]: list(row[1:]) for row in table.rows}


N, L = 60, 30
NAMES = [f"chr22_{300 * i}_{300 * i + L - 1}" for i in range(N)]
TRUTH = np.where(np.random.default_rng(0).random((N, L)) < 0.2, 8.0, 0.0)
SPLIT = {
    "kind": "blocks", "part": "validation", "near_duplicates": {"validation": 3, "test": 2}, "digest": "01ab",
    "windows": {"train": 300, "validation": N, "test": 50, "left_out": 7},
}  # fmt: skip


def guess(noise, seed):
    """The truth with noise, as a model might predict it."""
    return TRUTH + np.random.default_rng(seed).normal(0, noise, TRUTH.shape)


def scores_of(predicted):
    return {
        "pearson_r": pearson_estimate(moments(TRUTH, predicted))._asdict(), "pearson_r_batches": 0.5,
        "mse": float(((TRUTH - predicted) ** 2).mean()), "auroc": 0.9, "auprc": 0.8, "median_window_r": 0.7,
        "windows": N, "bases": N * L,
    }  # fmt: skip


def detail_of(predicted):
    edges = np.linspace(-10, 20, 61)
    counts = np.histogram2d(TRUTH.ravel(), predicted.ravel(), bins=[edges, edges])[0]
    shown = zip(NAMES[:5], TRUTH.tolist(), predicted.tolist(), strict=False)
    return {
        "tracks": [dict(zip(("window", "truth", "predicted"), one, strict=True)) for one in shown],
        "density": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
        "error_by_position": np.sqrt(((TRUTH - predicted) ** 2).mean(0)).tolist(),
    }


def model_of(**changes):
    return {
        "kind": "gpt", "tune": "frozen", "both_strands": False, "random_core": False, "causal": True,
        "parameters": 7_739_777, "trained_parameters": 541_697, "core": "outputs/vocab4 (toy.fa)",
    } | changes  # fmt: skip


CNN = {"kind": "cnn", "tune": "all", "causal": False, "parameters": 186_497, "trained_parameters": 186_497}


def training_of(**curves):
    history = {"epoch": [0, 1, 2], "elapsed": [0.0, 10.0, 20.0], **curves}
    return {"epochs": 2, "best_epoch": 2, "seconds": 65.0, "history": history}


def add(folder, name, noise, seed=1, **model):
    """Write the files of one trained model; return its predictions."""
    predicted = guess(noise, seed) if noise is not None else np.zeros_like(TRUTH)
    training = training_of(train_loss=[None, 1.0, 0.5], val_loss=[3.0, 1.1, 0.6], pearson_r=[None, 0.5, 0.7])
    content = {
        "format": "dnalm-binding-results", "format_version": 1, "name": name, "model": model_of(**model),
        "split": SPLIT, "training": training | {"states_seconds": 0.0 if model else 30.0},
        "peak_memory_bytes": 1.2e9, "device": "cpu (2 threads), bf16",
        "scores": scores_of(predicted), "detail": detail_of(predicted),
    }  # fmt: skip
    (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / f"results_{name}.json", content)
    np.savez(folder / name / "moments.npz", names=np.array(NAMES), moments=moments(TRUTH, predicted))
    return predicted


def evaluate(folder, models, part="test"):
    """Write an evaluation of `models`: by name the predictions, and what the model has other than a GPT."""
    sums = {name: moments(TRUTH, predicted) for name, (predicted, _) in models.items()}
    pairs = [
        {"one": one, "other": other, **paired_difference(sums[one], sums[other])._asdict()}
        for one, other in itertools.combinations(models, 2)
    ]
    judged = {
        name: {"model": model_of(**model), "scores": scores_of(predicted), "detail": detail_of(predicted)}
        for name, (predicted, model) in models.items()
    }
    baselines = {"motif scan": guess(0.5, 9), "mean score": np.zeros_like(TRUTH)}
    content = {
        "format": "dnalm-binding-evaluation", "format_version": 1, "part": part,
        "split": SPLIT | {"part": part}, "windows": N, "bases": N * L, "models": judged, "pairs": pairs,
        "baselines": {name: {"scores": scores_of(predicted)} for name, predicted in baselines.items()},
    }  # fmt: skip
    write_json(folder / f"evaluation_{part}.json", content)


def make_scores(auroc=0.7, half_width=0.01, rows=1000, positives=500):
    """What interaction_scores returns, of invented figures: AUROC +- half_width, the rest in step with it."""
    low, high = (None, None) if auroc is None else (auroc - half_width, auroc + half_width)
    around = {"value": auroc, "low": low, "high": high}
    return {
        "auroc": around, "auprc": dict(around), "prevalence": positives / rows,
        "auroc_per_gene": {"value": 0.61, "groups": 80}, "auroc_per_molecule": {"value": 0.62, "groups": 300},
        "ef1": 1.75, "brier": 0.21, "ece": 0.03, "rows": rows, "positives": positives,
        "reliability": {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "predicted": [0.2, 0.4, 0.6, None],
                        "observed": [0.1, 0.45, 0.7, None], "count": [300, 300, 400, 0]},
    }  # fmt: skip


PROTOCOL = {"split": "random", "negatives": "degree-matched", "ratio": 1, "seed": 0, "digest": "00ff"}


def about(weights):
    """What a file says of a pair model."""
    known = {"kind": "original", "set": "00ff", "split": "random", "seed": 0}
    known |= {"parameters": 1_200_000, "trained_parameters": 1_200_000}
    return known | ({"weights": weights} if weights else {})


def make_results(auroc=0.7, name="original", weights=None, **protocol):
    """A results.json, as `dnalm interact train` writes it."""
    curves = {"train_loss": [0.7, 0.6, 0.5], "val_bce": [0.71, 0.66, 0.65], "val_auroc": [0.5, 0.65, auroc]}
    return {
        "format": "dnalm-interaction-results", "format_version": 1, "name": name, "model": about(weights),
        "training": training_of(**curves), "validation": make_scores(auroc), "node_rate_validation": 0.58,
        **PROTOCOL, **protocol,
    }  # fmt: skip


LADDER = {
    "node rate": 0.58,
    "matrix factorisation": 0.68,
    "nearest molecules": 0.6,
    "gradient boosting": 0.64,
}


def make_evaluation(models, part="test", gain=(0.02, 0.01, 0.03), ladder=LADDER, weights=None, **protocol):
    """An evaluation*.json, as `dnalm interact evaluate` writes it: AUROC of each model by name."""
    best = max(ladder, key=ladder.__getitem__)

    def entry(auroc):
        third = make_scores(None if auroc is None else auroc + 0.01, 0.02, rows=300, positives=150)
        return {"scores": make_scores(auroc), "sequenced": third}

    entries = {
        name: entry(auroc) | {
            "model": about(weights), "path": f"runs/{name}", "temperature": 1.2,
            "shuffled_genes": make_scores(0.6), "shuffled_molecules": make_scores(0.52),
            "minus_best_baseline":
                {"baseline": best, **dict(zip(("value", "low", "high"), gain, strict=True))},
        }
        for name, auroc in models.items()
    }  # fmt: skip
    return {
        "format": "dnalm-interaction-evaluation", "format_version": 1, "part": part, **PROTOCOL, **protocol,
        "rows": 1000, "positives": 500, "models": entries,
        "ladder": {name: entry(auroc) for name, auroc in ladder.items()},
        "best_baseline": best, "warnings": [],
    }  # fmt: skip


def change(path, *keys, to):
    content = inner = read_json(path)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    write_json(path, content)
