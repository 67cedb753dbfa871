"""The files of a binding model's run: results, moments, and the published project's model file.

Shapes used below
    N  validation windows
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm import checkpoint
from dnalm.bootstrap import Numbers
from dnalm.files import atomic_file
from dnalm.models.binding import BindingModel
from dnalm.models.published import published_content
from dnalm.results import write


class BindingFiles(NamedTuple):
    """What a run leaves in OUT beside the states and weights of its own folder, by the published names."""

    results: Path
    curves: Path
    gpt_file: Path
    cnn_file: Path
    moments: Path

    @classmethod
    def of(cls, out: Path, name: str) -> "BindingFiles":
        """Return the files of a model."""
        cnn = "cnn_baseline_model.pt" if name == "baseline" else f"cnn_{name}_model.pt"
        return cls(
            results=out / f"results_{name}.json",
            curves=out / f"training_curves_{name}.png",
            gpt_file=out / f"gpt_binding_model_{name}.pt",
            cnn_file=out / cnn,
            moments=out / name / "moments.npz",
        )

    def write(self, results: dict[str, Any], model: BindingModel, names: list[str], sums: Numbers) -> None:
        """Write the sums of each window, the model file if the layout can hold the model, and the results.

        Args:
            results: the content of results_NAME.json.
            model: with its best weights, merged.
            names: of the validation windows, N.
            sums: their moments, [N, 6].
        """
        with atomic_file(self.moments) as file:
            np.savez_compressed(file, names=np.array(names), moments=sums)
        numbers = {
            "best_val_loss": float(results["training"]["best_val_loss"]),
            "pearson_r": float(results["scores"]["pearson_r"]["value"]),
            "elapsed_time": float(results["training"]["seconds"]),
        }
        content = published_content(model, numbers)
        if content is not None:
            checkpoint.write_pt(self.gpt_file if model.shape.pretrained else self.cnn_file, content)
        write(self.results, results)
