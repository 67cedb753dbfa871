"""The figure of docs/interaction.md, from the records of evaluations: `python -m docs.make.pairs_figure`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dnalm.report.figures import BLUE, GREY, legend_below, new_figure, save
from docs.make.markdown import Run, of_verbs, read_records
from docs.make.pairs import SPLITS

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs" / "images" / "interaction.png"
KINDS = {"best baseline": GREY, "combined": BLUE}


def estimates(m: Run) -> dict[str, Mapping[str, Any]]:
    """Return the AUROC with its interval of the best baseline and of the combined model."""
    (entry,) = (one for one in m["models"].values() if one.get("members"))
    baseline = m["ladder"][m["best_baseline"]]["scores"]["auroc"]
    return dict(zip(KINDS, (baseline, entry["scores"]["auroc"]), strict=True))


def draw(records: Mapping[str, Run]) -> Figure:
    """Draw AUROC of the test part by split: a mark with its interval for each seed and kind."""
    figure, (axes,) = new_figure("Genes and molecules: AUROC of held-out pairs, three seeds", 9.6, 4.4)
    axes.axhline(0.5, color=GREY, linewidth=1.0, linestyle="--")
    runs = [m for m in (run["metrics"] for run in records.values()) if m["part"] == "test"]
    for column, split in enumerate(SPLITS):
        seeds = sorted((m for m in runs if m["split"] == split), key=lambda m: int(m["seed"]))
        for kind, (name, color) in enumerate(KINDS.items()):
            for number, found in enumerate(estimates(m)[name] for m in seeds):
                value, low, high = (found[key] for key in ("value", "low", "high"))
                at = column + 0.3 * (kind - 0.5) + 0.07 * (number - 1)
                label = name if not (column or number) else None
                error = [[max(0.0, value - low)], [max(0.0, high - value)]]
                axes.errorbar(
                    at, value, error, fmt="o", markersize=4.5, color=color, linewidth=1.3, label=label
                )
    axes.set_xticks(range(len(SPLITS)), SPLITS)
    axes.grid(False, axis="x")
    axes.set_ylabel("AUROC (95 % interval)")
    legend_below(figure, axes)
    return figure


def main() -> None:
    """Draw the figure from docs/records."""
    records = of_verbs(read_records(ROOT / "docs" / "records"), "interact evaluate")
    save(lambda: draw(records), IMAGE)


if __name__ == "__main__":
    main()
