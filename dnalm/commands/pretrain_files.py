"""The files that `dnalm pretrain` keeps under --out.

Beside the run's own folder OUT/MODE they are those of the published project, by its names.
"""

import shutil
from pathlib import Path
from typing import Any

from dnalm import checkpoint
from dnalm.files import read_json, write_json
from dnalm.models.language import LanguageModel
from dnalm.report.plots import loss_curve, time_comparison
from dnalm.train.language import LanguageTask
from dnalm.train.resume import clear_run

MODES = ("full", "vocab4")
"""The two vocabularies whose training times are compared."""


def result_files(out: Path, mode: str) -> list[Path]:
    """Return what a run writes beside its own folder."""
    names = (f"ckpt_{mode}.pt", f"loss_{mode}.png", f"losses_{mode}.json", f"summary_{mode}.json")
    return [out / name for name in names]


def clear(out: Path, mode: str) -> None:
    """Remove an earlier run of this mode, and nothing that is not one of its files."""
    clear_run(out / mode)
    shutil.rmtree(out / mode / "tensorboard", ignore_errors=True)
    for path in (*result_files(out, mode), _comparison(out)):
        path.unlink(missing_ok=True)


def write_results(
    out: Path,
    mode: str,
    metrics: dict[str, Any],
    elapsed: float,
    best: dict[str, Any],
    model: LanguageModel,
    task: LanguageTask,
) -> None:
    """Write the files of the published project: checkpoint, curve, losses, summary, time comparison."""
    history = metrics["history"]
    write_json(out / f"losses_{mode}.json", history | {"vocab_size": metrics["vocab_size"]})
    names = {
        "checkpoint": f"ckpt_{mode}.pt",
        "loss_curve": f"loss_{mode}.png",
        "loss_data": f"losses_{mode}.json",
    }
    checkpoint.write_pt(
        out / names["checkpoint"],
        {
            "model_args": task.model_args(),
            "characters": task.genome.tokenizer.characters,
            "model": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
            "best_val_loss": best["val_loss"],
            "iter": best["step"],
        },
    )
    loss_curve(history, out / names["loss_curve"], f"Pretraining, {mode}", metrics["ladder"])
    write_json(
        out / f"summary_{mode}.json", {"elapsed_time": elapsed, "best_val_loss": best["val_loss"], **names}
    )
    seconds = {name: _elapsed(out / f"summary_{name}.json") for name in MODES}
    if all(seconds.values()):
        time_comparison({name: float(time or 0) for name, time in seconds.items()}, _comparison(out))


def _elapsed(summary: Path) -> float | None:
    """Return the time in a summary; None when it is not there or is none of ours."""
    try:
        return float(read_json(summary)["elapsed_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _comparison(out: Path) -> Path:
    return out / "training_time_comparison.png"
