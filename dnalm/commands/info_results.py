"""What `dnalm info` says of JSON files: records of runs, results, evaluations, prepared pairs."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from dnalm.commands.info_models import Finding, command, describe_checkpoint, facts_of
from dnalm.results import SCHEMAS
from dnalm.results.schema import with_current_names

TITLES = {
    "dnalm-run": "{verb} run ({status})",
    "dnalm-binding-results": "results of the binding model {name}",
    "dnalm-binding-evaluation": "binding models evaluated side by side",
    "dnalm-interaction-results": "results of the interaction model {name}",
    "dnalm-interaction-evaluation": "interaction models evaluated beside baselines",
    "dnalm-pairs": "pairs of genes and molecules, prepared",
}
SHOWN = {form: [field.name for field in dataclasses.fields(schema)] for form, schema in SCHEMAS.items()} | {
    "dnalm-run": ["verb", "status", "seed", "data", "timings", "metrics"],
    "dnalm-pairs": ["split", "negatives", "ratio", "seed", "parts", "gene_kinds", "counts", "digest"],
}
"""Entries of each format that are shown."""
RESUMED = ("pretrain", "finetune", "baseline", "interact train")
"""Verbs that have --resume."""


def describe_json(path: Path, content: Any) -> Finding | None:
    """Describe a JSON file of dnalm's or of the published scripts; None for any other."""
    if not isinstance(content, dict):
        return None
    form = content.get("format")
    if form not in SHOWN:
        return _losses(content)
    content = with_current_names(content)
    facts = {name: facts_of(content[name]) for name in SHOWN[form] if content.get(name) not in (None, {}, [])}
    title = TITLES[form].format_map({"name": "", "verb": "", "status": ""} | content)
    return Finding(form.removeprefix("dnalm-"), title, facts, _next(path, form, content))


def _next(path: Path, form: str, content: dict[str, Any]) -> list[str]:
    """Return the commands for a JSON file of dnalm's."""
    folder = path.parent
    if form == "dnalm-run":
        words = [word for word in content.get("command") or [] if word not in ("--resume", "--overwrite")]
        is_cut = content.get("status") in ("interrupted", "failed") and content.get("verb") in RESUMED
        return [shlex.join([*words, "--resume"])] if is_cut and words else []
    if form == "dnalm-pairs":
        from dnalm.data.pairs import open_pairs

        pairs = open_pairs(folder)  # refuses a damaged one
        labels = [pairs.label[pairs.parts[name]] for name in ("train", "validation")]
        if any(each.all() or not each.any() for each in labels):
            return []  # one class only
        ladder = command("interact", "evaluate", "--ladder-only", "--data", folder)
        return [command("interact", "train", "--data", folder), ladder]
    model = folder if form.startswith("dnalm-interaction") else folder / str(content.get("name"))
    is_trained = form.endswith("results") and (model / "checkpoint" / "checkpoint.json").is_file()
    commands = describe_checkpoint(model / "checkpoint").next if is_trained else []
    return [command("compare", folder), *commands]


def _losses(content: dict[str, Any]) -> Finding | None:
    """Describe losses_*.json and summary_*.json as pretraining and the published scripts write them."""
    values = {name: each[-1] if isinstance(each, list) and each else each for name, each in content.items()}
    last = facts_of(values)
    if "train_losses" in content:
        return Finding("losses", "loss curves of a pretraining run, by their last values", last, [])
    if "best_val_loss" in content:
        return Finding("summary", "summary of a pretraining run", last, [])
    return None
