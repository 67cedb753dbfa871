"""The files that a binding model keeps under --out.

Beside the run's own folder OUT/NAME they are those of the published project, by its names.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dnalm import checkpoint
from dnalm.files import atomic_file, write_json
from dnalm.models.binding import BindingModel, BindingShape
from dnalm.models.cnn import CNNConfig
from dnalm.models.published import CHANNELS, KERNEL, binding_file_content
from dnalm.report.binding_plots import training_curves
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4


def result_files(out: Path, name: str) -> list[Path]:
    """Return what a run may write beside its own folder; a model file for either kind of encoder."""
    curves, results = out / f"training_curves_{name}.png", out / f"results_{name}.json"
    return [results, curves, *(model_file(out, name, kind) for kind in ("gpt", "cnn"))]


def model_file(out: Path, name: str, kind: str) -> Path:
    """Return where the published project's file of a model goes."""
    if kind == "gpt":
        return out / f"gpt_binding_model_{name}.pt"
    return out / ("cnn_baseline_model.pt" if name == "baseline" else f"cnn_{name}_model.pt")


def fits_published_file(shape: BindingShape) -> bool:
    """Tell whether the published layout can hold a model: sizes, and a vocabulary that its size tells."""
    head = (shape.head.channels, shape.head.kernel) == (CHANNELS, KERNEL)
    if shape.kind == "gpt":
        return head and shape.characters in (VOCAB4.characters, HG38_CHARACTERS)
    return head and shape.encoder == CNNConfig(CHANNELS, KERNEL)


def write_results(
    out: Path, name: str, results: dict[str, Any], model: BindingModel, names: list[str]
) -> None:
    """Write results, sums of each window, curves, and the published project's model file if it fits.

    Args:
        out: where.
        name: the model's.
        results: what results_NAME.json holds, and `moments`, [N, 6].
        model: with its best weights, LoRA merged.
        names: of the validation windows, N.
    """
    sums = results.pop("moments")
    with atomic_file(out / name / "moments.npz") as file:
        np.savez_compressed(file, names=np.array(names), moments=sums)
    training, scores = results["training"], results["scores"]
    numbers = {
        "best_val_loss": float(training["best_val_loss"]),
        "pearson_r": float(scores["pearson_r"]["value"]),
        "elapsed_time": float(training["seconds"]),
    }
    if fits_published_file(model.shape):  # another would be refused, or read with the wrong letters
        checkpoint.write_pt(model_file(out, name, model.shape.kind), _published(model, numbers))
    training_curves(
        training["history"],
        out / f"training_curves_{name}.png",
        f"Training, {name}",
        best_epoch=training["best_epoch"],
    )
    write_json(out / f"results_{name}.json", results)


def _published(model: BindingModel, numbers: dict[str, float]) -> dict[str, Any]:
    """Return the model in the layout of the published files."""
    if model.shape.kind == "cnn":
        encoder = dict(model.encoder.state_dict())
        head = {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()}
        return binding_file_content("cnn", None, None, encoder | head, numbers)
    described = model.shape.as_dict()
    config = {key: value for key, value in described["encoder"].items() if key != "name"}
    config["vocab_size"] = len(model.shape.characters)
    return binding_file_content("gpt", config, model.encoder.state_dict(), model.head.state_dict(), numbers)
