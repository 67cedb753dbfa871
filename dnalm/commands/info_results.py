"""What `dnalm info` says of JSON files: records of runs, results, evaluations, prepared pairs."""

import shlex
from pathlib import Path
from typing import Any

from dnalm.commands.info_models import RESUMED, Finding, command, evaluate, evaluate_pairs, inside

SPLIT = {"split": "split", "negatives": "negatives", "ratio": "ratio", "seed": "seed"}
TRAINING = {key: f"training.{key}" for key in ("epochs", "best_epoch", "seconds")}
FACTS: dict[str, dict[str, str]] = {
    "dnalm-run": {
        **{key: key for key in ("verb", "status", "seed", "data")},
        **{key: f"timings.{key}" for key in ("started", "elapsed_s")},
        "device": "hardware.device",
        **{key: f"metrics.{key}" for key in ("mode", "step", "parameters", "best_val_loss", "verdict")},
        "bits_per_base": "metrics.bits_per_base.value",
        "pearson_r": "metrics.scores.pearson_r.value",
        "auroc": "metrics.validation.auroc.value",
        "node_rate_auroc": "metrics.node_rate_validation",
    },
    "dnalm-binding-results": {
        **{key: f"model.{key}" for key in ("kind", "tune", "both_strands", "random_core", "core")},
        **{key: f"model.{key}" for key in ("parameters", "trained_parameters")},
        "split": "split.kind",
        "windows": "split.windows",
        "judged_on": "split.part",
        **{key: f"scores.{key}" for key in ("pearson_r", "mse", "auroc", "auprc")},
        **TRAINING,
    },
    "dnalm-binding-evaluation": {
        **{"judged_on": "part", "split": "split.kind", "windows": "windows", "bases": "bases"},
        **{"models": "models", "baselines": "baselines", "differences_in_r": "pairs"},
    },
    "dnalm-interaction-results": {
        **{key: f"model.{key}" for key in ("kind", "parameters", "trained_parameters")},
        **SPLIT,
        **{key: f"validation.{key}" for key in ("auroc", "auprc", "prevalence", "brier", "ece")},
        "node_rate_auroc": "node_rate_validation",
        **TRAINING,
    },
    "dnalm-interaction-evaluation": {
        **{"judged_on": "part", **SPLIT, "rows": "rows", "positives": "positives"},
        **{"best_baseline": "best_rung", "models": "models", "baselines": "ladder"},
    },
    "dnalm-pairs": {
        **SPLIT,
        "parts": "parts",
        "sequences": "gene_kinds",
        **{"rows_read": "counts.read", "pairs_kept": "counts.kept", "rows_dropped": "counts.dropped"},
        "pairs_between_parts": "counts.between_parts",
    },
}
"""Facts of each JSON format, by where the file has them."""
TITLES = {
    "dnalm-run": "{verb} run ({status})",
    "dnalm-binding-results": "results of the binding model {name}",
    "dnalm-binding-evaluation": "binding models evaluated side by side",
    "dnalm-interaction-results": "results of the interaction model {name}",
    "dnalm-interaction-evaluation": "interaction models evaluated beside baselines",
    "dnalm-pairs": "pairs of genes and molecules, prepared",
}


def describe_json(path: Path, content: Any) -> Finding | None:
    """Describe a JSON file of dnalm's or of the published scripts; None for any other."""
    form = inside(content, "format")
    if form not in FACTS:
        return _losses(content)
    facts = {name: _fact(inside(content, *where.split("."))) for name, where in FACTS[form].items()}
    facts = {name: value for name, value in facts.items() if value not in (None, {}, [])}
    named = {key: inside(content, key) for key in ("name", "verb", "status")}
    commands: list[str] = []
    if form == "dnalm-run":
        words = inside(content, "command") or []
        facts["command"] = shlex.join(words)
        if named["verb"] in RESUMED and words and named["status"] in ("interrupted", "failed"):
            commands = [shlex.join([*(w for w in words if w not in ("--resume", "--overwrite")), "--resume"])]
    elif form == "dnalm-pairs":
        from dnalm.data.pairs import open_pairs

        pairs = open_pairs(path.parent)  # refuses a damaged one
        facts |= {"genes": len(pairs.gene_ids), "molecules": len(pairs.smiles), "digest": pairs.digest}
        commands = [command("interact", "train", "--data", path.parent)]
        commands += [command("interact", "evaluate", "--ladder-only", "--data", path.parent)]
    elif form.startswith("dnalm-interaction"):
        commands = [evaluate_pairs(path.parent)] if form.endswith("results") else []
        commands += [command("interact", "compare", path.parent)]
    else:
        model = path.parent / str(named["name"])
        has_model = form.endswith("results") and (model / "checkpoint" / "checkpoint.json").is_file()
        commands = [command("compare", path.parent), *([evaluate(model)] if has_model else [])]
    return Finding(form.removeprefix("dnalm-"), TITLES[form].format(**named), facts, commands)


def _fact(value: Any) -> Any:
    """Return a value as a fact: a figure with its 95 % interval in words, of scored models their scores."""
    if isinstance(value, list):
        return [_fact(each) for each in value]
    if not isinstance(value, dict):
        return value
    numbers = [value.get(key) for key in ("value", "low", "high")]
    if all(isinstance(number, int | float) for number in numbers):
        named = f"{value['one']} minus {value['other']}: " if "other" in value else ""
        return f"{named}{numbers[0]:.4f} ({numbers[1]:.4f} to {numbers[2]:.4f})"
    if "scores" in value:
        scores = value["scores"] if isinstance(value["scores"], dict) else {}
        value = scores | {"auroc_minus_best_baseline": value.get("minus_best_rung")}
    facts = {name: _fact(each) for name, each in value.items()}
    return {name: fact for name, fact in facts.items() if fact not in (None, {}, [])}


def _losses(content: Any) -> Finding | None:
    """Describe losses_*.json and summary_*.json as pretraining and the published scripts write them."""
    if not isinstance(content, dict):
        return None
    if {"iterations", "train_losses", "val_losses"} <= content.keys():
        lists = {name: values for name, values in content.items() if isinstance(values, list) and values}
        last = {f"last_{name}": values[-1] for name, values in lists.items()}
        facts = {"vocab_size": content.get("vocab_size"), "evaluations": len(content["iterations"]), **last}
        return Finding("losses", "loss curve of a pretraining run", facts)
    if {"best_val_loss", "elapsed_time"} <= content.keys():
        return Finding("summary", "summary of a pretraining run", content)
    return None
