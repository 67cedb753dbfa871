"""Tables of pretraining runs, from their records."""

from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from dnalm.config import MODIFIED_SUFFIX, NON_TRAINING_FIELDS, read_recipe, recipe_names
from dnalm.report.figures import duration, same_bases
from dnalm.results import decode
from dnalm.results.language import LanguageMetrics, MarkovModel
from docs.make.markdown import Run, hardware, spread, table

AT_TOKENS = (5_000_000, 20_000_000)
"""Tokens trained on at which recipes are compared, at a common evaluation no further away than `NEAR`."""
NEAR = 0.05
EARLIER = {"schedule": "cosine"}
"""Settings of the runs whose records do not name them."""


class Trained(NamedTuple):
    """A pretraining run that was evaluated."""

    run: Run
    metrics: LanguageMetrics

    @property
    def data(self) -> str:
        """The files of its genome."""
        return ", ".join(source["name"] for source in self.run["data"]["sources"])

    @property
    def genomes(self) -> list[dict[str, Any]]:
        """Its genomes, where several were named: name, bases of training, and what was left out of it."""
        found: list[dict[str, Any]] = self.run["data"].get("genomes", [])
        return found

    @property
    def markov(self) -> str:
        """The best Markov model on the same bases."""
        return _counts(self.metrics.ladder.best)

    @property
    def bits(self) -> str:
        """Bits per base with their interval."""
        return spread(self.metrics.bits._asdict())

    @property
    def steps(self) -> str:
        """Steps taken, of those of the schedule."""
        return f"{self.metrics.step:,} of {self.run['recipe']['train']['steps']:,}"

    @property
    def recipe(self) -> str:
        """Its recipe, with what it has other than the recipe of that name in dnalm now."""
        recorded = self.run["recipe"]
        name = str(recorded["name"]).removesuffix(MODIFIED_SUFFIX)
        if name not in recipe_names():
            return str(recorded["name"])
        parts = ("encoder", "train", "task")
        settings = EARLIER | {key: v for part in parts for key, v in recorded.get(part, {}).items()}
        other = {
            key: settings[key]
            for part in read_recipe(name).values()
            for key, value in part.items()
            if key not in NON_TRAINING_FIELDS and settings.get(key, value) != value
        }
        texts = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in other.items()]
        return name + (f" with {', '.join(texts)}" if texts else "")

    def same_bases(self, other: "Trained") -> bool:
        """Whether both were trained and evaluated on the same bases."""
        return len(same_bases({"one": self.metrics, "other": other.metrics})) == 1


def trained(records: Mapping[str, Run]) -> dict[str, Trained]:
    """Return the pretraining runs that were evaluated, at their end or where they were to stop."""
    return {
        name: Trained(run, decode(run["metrics"], LanguageMetrics, Path(name)))
        for name, run in records.items()
        if run["verb"] == "pretrain" and "verdict" in run["metrics"]
    }


def best_table(runs: Mapping[str, Trained]) -> str:
    """One row a genome: the run with the fewest bits per base, and the Markov model to beat."""
    best: dict[str, tuple[str, Trained]] = {}
    for name, one in runs.items():
        bits = one.metrics.bits.value
        if one.data not in best or bits < best[one.data][1].metrics.bits.value:
            best[one.data] = name, one
    rows = [
        [one.data, one.metrics.mode, f"{one.metrics.tokens / 1e6:.1f} million", one.bits, one.markov]
        + [{"model": "yes", "markov": "no"}.get(one.metrics.gain["winner"], "undecided")]
        for _, one in best.values()
    ]
    columns = ["genome", "vocabulary", "tokens", "bits per base (95 % interval)", "best Markov model"]
    return table([*columns, "model better"], rows)


def runs_table(runs: Mapping[str, Trained]) -> str:
    """One row a run."""
    rows = []
    for name, one in runs.items():
        m, times = one.metrics, one.run["timings"]
        seconds = float(times.get("training_s", times["elapsed_s"])) + float(times.get("scoring_s", 0.0))
        rows.append(
            [name, one.data, m.mode, one.recipe, one.steps, f"{m.tokens:,}", f"{m.best_val_loss:.4f}"]
            + [one.bits, one.markov, spread(one.run["metrics"]["gain"], "+")]
            + [duration(seconds), hardware(one.run)]
        )
    columns = ["run", "data", "mode", "recipe", "steps", "tokens", "lowest validation loss (nats per token)"]
    columns += ["bits per base (95 % interval)", "best Markov model", "gain over it"]
    return table([*columns, "time", "hardware"], rows)


def recipes_table(runs: Mapping[str, Trained]) -> str:
    """The default recipe against the published one after the same number of tokens, not interpolated."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for at, (name, one), (other_name, other) in product(AT_TOKENS, runs.items(), runs.items()):
        if not one.recipe.startswith("default") or other.recipe != "published":
            continue
        if one.metrics.mode != other.metrics.mode or not one.same_bases(other):
            continue
        ours, theirs = _losses(one), _losses(other)
        common = [tokens for tokens in ours if tokens in theirs and abs(tokens - at) <= NEAR * at]
        if common:
            tokens = min(common, key=lambda count: abs(count - at))
            about = [one.data, one.metrics.mode, one.recipe]
            rows[*about, str(at)] = [
                *(*about, f"{tokens:,}", f"{ours[tokens]:.4f} ({name})"),
                *(f"{theirs[tokens]:.4f} ({other_name})", f"{theirs[tokens] - ours[tokens]:+.4f}"),
            ]
    columns = ["data", "mode", "recipe", "tokens", "its loss (nats per token)", "published (nats per token)"]
    return table([*columns, "published minus default"], list(rows.values()))


def vocabularies_table(runs: Mapping[str, Trained]) -> str:
    """The full vocabulary against vocab4: same recipe, same steps, same bases."""
    rows = []
    for pair in combinations(runs.items(), 2):
        by_mode = {one.metrics.mode: (name, one) for name, one in pair}
        if by_mode.keys() != {"full", "vocab4"}:
            continue
        (full_name, full), (four_name, four) = by_mode["full"], by_mode["vocab4"]
        same = full.recipe == four.recipe and full.metrics.step == four.metrics.step
        if same and full.same_bases(four):
            gap = full.metrics.bits.value - four.metrics.bits.value
            rows.append(
                [full.data, full.recipe, f"{full.metrics.step:,}", full.bits, four.bits, f"{gap:+.4f}"]
                + [f"{full_name}, {four_name}"]
            )
    columns = ["data", "recipe", "steps", "full (bits per base)", "vocab4 (bits per base)"]
    return table([*columns, "full minus vocab4", "runs"], rows)


def race_table(runs: Mapping[str, Trained]) -> str:
    """Complete runs beside one of the published recipe: how soon they reach its last validation loss."""
    rows = []
    for goal, (name, one) in product(runs.values(), runs.items()):
        if goal.recipe != "published" or not _complete(goal) or not _complete(one):
            continue
        if _windows(goal) != _windows(one):
            continue
        history, last = one.metrics.history, goal.metrics.history["val_losses"][-1]
        when = next((at for at, loss in enumerate(history["val_losses"]) if loss <= last), None)
        reached = ["not reached", ""]
        if when is not None:
            reached = [f"{history['iterations'][when]:,.0f}", duration(history["elapsed_time"][when])]
        rows.append(
            [name, one.data, one.recipe, hardware(one.run), one.steps]
            + [duration(float(one.run["timings"]["training_s"])), f"{history['val_losses'][-1]:.4f}"]
            + [f"{last:.4f}", *reached]
        )
    columns = ["run", "data", "recipe", "hardware", "steps", "time", "last validation loss (nats per token)"]
    return table([*columns, "that of the published recipe", "reached by step", "after"], rows)


def sizes_table(runs: Mapping[str, Trained]) -> str:
    """Models of different sizes of the default recipe, of one genome after as many tokens, up to `NEAR`."""
    groups: dict[tuple[str, int], dict[int, Trained]] = {}
    for one in sorted(runs.values(), key=lambda one: one.metrics.tokens):
        m = one.metrics
        if one.recipe.startswith("default") and m.mode == "vocab4":
            near = [key for key in groups if key[0] == one.data and m.tokens - key[1] <= NEAR * m.tokens]
            groups.setdefault(near[0] if near else (one.data, m.tokens), {})[m.parameters] = one
    rows = [
        [data, f"{one.metrics.ladder.train_bases:,}", f"{one.metrics.tokens / 1e6:.1f} million"]
        + [f"{size / 1e6:.1f} million", one.run["recipe"]["train"].get("schedule", EARLIER["schedule"])]
        + [one.bits, spread(one.run["metrics"]["gain"], "+")]
        for (data, _), sizes in groups.items()
        if len(sizes) > 1
        for size, one in sorted(sizes.items())
    ]
    columns = [
        "genome",
        "training bases",
        "tokens",
        "parameters",
        "schedule",
        "bits per base (95 % interval)",
    ]
    return table([*columns, "gain over the best Markov model"], rows)


def objectives_table(runs: Mapping[str, Trained]) -> str:
    """Masked models, and causal ones at the positions by which masked ones are scored."""
    rows = []
    for name, one in runs.items():
        m, fixed = one.metrics, one.metrics.fixed_positions
        if m.at_fixed is None or one.genomes:
            continue
        counts = (m.ladder.best, m.counts.best) if fixed is None else (fixed.markov, fixed.two_sided)
        rows.append(
            [
                name,
                m.objective,
                one.data,
                f"{m.parameters / 1e6:.1f} million",
                f"{m.tokens / 1e6:.1f} million",
            ]
            + [spread(m.at_fixed._asdict()), *map(_counts, counts)]
        )
    columns = ["run", "objective", "genome", "parameters", "tokens", "bits at the masked positions"]
    return table([*columns, "best Markov model there", "best two-sided count model there"], rows)


def genomes_table(runs: Mapping[str, Trained]) -> str:
    """Runs of several genomes: what was left out of training, and count models of what was not."""
    rows = []
    for name, one in runs.items():
        if not one.genomes:
            continue
        left = [
            f"{each['name']} {each['left_out_bases'] / (each['left_out_bases'] + each['train_bases']):.1%}"
            for each in one.genomes
            if each["left_out_bases"]
        ]
        ladder = one.metrics.ladder
        last = [ladder.one_strand[-1], ladder.both_strands[-1]]
        rows.append(
            [name, ", ".join(each["name"] for each in one.genomes), ", ".join(left) or "nothing"]
            + [f"{ladder.train_bases:,}", one.markov, f"{min(last):.4f}"]
        )
    columns = ["run", "genomes", "left out of training", "training bases", "best Markov model"]
    return table([*columns, "Markov model of order 12"], rows)


def _counts(best: MarkovModel) -> str:
    strands = "both strands" if best.strands == 2 else "one strand"
    return f"{best.bits:.4f} (order {best.order}, {strands})"


def _complete(one: Trained) -> bool:
    return bool(one.metrics.step == one.run["recipe"]["train"]["steps"])


def _windows(one: Trained) -> tuple[str, int]:
    """What decides the windows that a run is evaluated on."""
    return str(one.run["data"]["digest"]), int(one.run["recipe"]["task"]["eval_bases"])


def _losses(one: Trained) -> dict[int, float]:
    history = one.metrics.history
    return dict(zip(map(int, history["tokens"]), history["val_losses"], strict=True))
