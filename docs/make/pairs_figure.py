"""The figure of docs/interaction.md, from the records of evaluations: `python -m docs.make.pairs_figure`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dnalm.report.figures import BLUE, GREY, VERMILION, legend_below, new_figure, save
from dnalm.report.figures_scores import auroc_by_training_pairs
from dnalm.results.pairs import CountBin
from docs.make.markdown import Run, of_verbs, read_records
from docs.make.pairs import PUBLISHED, SPLITS

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs" / "images" / "interaction.png"
KINDS = {"best baseline": GREY, "best neural model": VERMILION, "combined": BLUE}
COUNTS = ROOT / "docs" / "images" / "interaction_counts.png"


def estimates(m: Run) -> dict[str, Mapping[str, Any]]:
    """Return the AUROC with its interval of the best baseline, the best neural and the combined model."""
    (combined,) = (one["scores"]["auroc"] for one in m["models"].values() if one.get("members"))
    neural = [one["scores"]["auroc"] for one in m["models"].values() if not one.get("members")]
    baseline = m["ladder"][m["best_baseline"]]["scores"]["auroc"]
    best = max(neural, key=lambda one: float(one["value"]))
    return dict(zip(KINDS, (baseline, best, combined), strict=True))


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
                at = column + 0.26 * (kind - 1) + 0.06 * (number - 1)
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


def draw_counts(records: Mapping[str, Run]) -> Figure:
    """Draw AUROC by training pairs of the random split, of its first seed: models and baselines."""
    runs = [m for m in (run["metrics"] for run in records.values()) if m["split"] == "random"]
    m = min(runs, key=lambda m: int(m["seed"]))
    names = {one["model"]["kind"]: one for one in m["models"].values()}
    bins = {
        name: {side: [CountBin(**each) for each in found] for side, found in one["by_training_pairs"].items()}
        for name, one in (names | m["ladder"]).items()
    }
    return auroc_by_training_pairs(bins, [*names])


def main() -> None:
    """Draw the figures from docs/records."""
    records = of_verbs(read_records(ROOT / "docs" / "records"), "interact evaluate")
    records = {name: run for name, run in records.items() if not name.startswith(PUBLISHED)}
    save(lambda: draw(records), IMAGE)
    save(lambda: draw_counts(records), COUNTS)


if __name__ == "__main__":
    main()
