"""What `dnalm info` says of models: checkpoints, `.pt` files, safetensors."""

import math
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from dnalm.errors import InputError
from dnalm.record import read_record
from dnalm.tokens.characters import VOCAB4

ASIDE = {"format", "format_version", "files", "identity", "evaluations", "history", "detail", "reliability"}
"""Entries of dnalm's JSON that are too long to show, or are shown already."""


class Finding(NamedTuple):
    """What a path is."""

    kind: str  # One word, for machines.
    title: str
    facts: dict[str, Any]  # JSON values; names with underscores.
    next: list[str]
    """Commands that can be run with it; a word in capitals stands for what the path does not say."""


def facts_of(value: Any) -> Any:
    """Return JSON as facts: figures with their intervals as text, of a scored model its scores alone."""
    if isinstance(value, list):
        return [facts_of(each) for each in value]
    if not isinstance(value, dict):
        return value
    if {"value", "low", "high"} <= value.keys() and None not in value.values():
        named = f"beside {value['baseline']}: " if "baseline" in value else ""
        named = f"{value['one']} minus {value['other']}: " if "other" in value else named
        return f"{named}{value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
    if isinstance(value.get("scores"), dict):
        value = value["scores"] | {"minus_best_baseline": value.get("minus_best_baseline")}
    facts = {name: facts_of(each) for name, each in value.items() if name not in ASIDE}
    return {name: fact for name, fact in facts.items() if fact not in (None, {}, [])}


def command(*words: Any) -> str:
    """Return a command as it is typed."""
    return shlex.join(["dnalm", *map(str, words)])


def finetune(model: Path, vocab4: bool) -> str:
    """Return the command that fine-tunes a pretrained model."""
    return command("finetune", "--config", "vocab4" if vocab4 else "full", "--checkpoint-dir", model)


def evaluation(kind: str, model: Path) -> str:
    """Return the command that evaluates a model on the data of its run, where these are known."""
    record = read_record(model / "run.json") if (model / "run.json").is_file() else {}
    if kind == "interaction":
        words = [part for word in record.get("command") or [] for part in word.split("=", 1)]
        pairs = words[words.index("--data") + 1] if "--data" in words else "data/pairs"
        return command("interact", "evaluate", model, "--data", pairs, "--part", "test")
    data = record.get("data", {})
    paths = {name: file["path"] for name, file in data.get("files", {}).items() if "path" in file}
    flags = [word for name, path in paths.items() for word in (f"--{name}", path)]
    part = "test" if data.get("windows", {}).get("test") else "validation"  # the published split has no test
    return command("evaluate", model, "--part", part, *flags)


def describe_checkpoint(path: Path) -> Finding:
    """Describe a checkpoint folder without reading its tensors.

    Raises:
        InputError: if it is damaged or incomplete.
    """
    from dnalm import checkpoint

    content, weights = checkpoint.describe(path), describe_safetensors(path / checkpoint.WEIGHTS)
    facts, kind = facts_of(content) | weights.facts, content.get("kind")
    if kind is None:
        return Finding("training-state", "state of a training run, to go on from", facts, [])
    model = path.parent if path.name == "checkpoint" else path
    commands = [evaluation(kind, model)]
    if kind == "language":
        untrained = content.get("step") == 0
        commands = [] if untrained else [finetune(path, content.get("characters") == VOCAB4.characters)]
    elif kind == "interaction" and "temperature" not in content and not (model / "results.json").is_file():
        commands = []  # its training has not ended
    return Finding("checkpoint", f"{kind} model", facts, commands)


def describe_safetensors(path: Path) -> Finding:
    """Describe a safetensors file by its header alone.

    Raises:
        InputError: if it is missing or no such file.
    """
    try:
        with safe_open(path, framework="np") as file:
            sizes = [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(f"{path}: missing, damaged or no safetensors ({error}); use another copy") from error
    facts = {"tensors": len(sizes), "parameters": sum(sizes)}
    return Finding("safetensors", "tensors in safetensors", facts, [])


def describe_pt(path: Path) -> Finding:
    """Describe a `.pt` file, published or any other.

    Raises:
        InputError: if it would run code, or is like a published model but not exactly one.
    """
    from dnalm.checkpoint import read_pt
    from dnalm.models.published import read_binding_file, read_language_file

    content = read_pt(path)
    if "gpt_state" in content or any("initial_conv." in name for name in content.get("model_state") or {}):
        model, numbers = read_binding_file(path)
        kind, both_strands = model.shape.kind, model.shape.tuning.both_strands
        facts: dict[str, Any] = {"parameters": model.parameter_count, "both_strands": both_strands}
        facts |= {"config": asdict(model.shape.encoder), **numbers}
        title = f"{kind.upper()} binding model in the published format"
        return Finding(f"published-binding-{kind}", title, facts_of(facts), [command("evaluate", path)])
    if "model_args" in content:
        config, characters, core = read_language_file(path)
        facts = {name: value for name, value in content.items() if isinstance(value, int | float)}
        facts |= {"parameters": sum(tensor.numel() for tensor in core.values()), "characters": characters}
        facts |= {"model_args": asdict(config)}
        commands = [finetune(path, characters == VOCAB4.characters)]
        return Finding("published-gpt", "GPT language model in the published format", facts, commands)
    return Finding("pt", "PyTorch file, not a published model", {"keys": list(content)[:20]}, [])
