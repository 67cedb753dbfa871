"""What `dnalm info` says of models and runs: checkpoints, run records, `.pt` files, safetensors.

`.pt` files go through the safe reader of `dnalm.checkpoint`, imported only where it is needed, since torch is
slow to load.
"""

import json
import math
import shlex
import zipfile
from pathlib import Path
from typing import Any

from dnalm.commands.info_finding import Finding, dnalm, inside, known
from dnalm.commands.info_interaction import evaluate_run
from dnalm.errors import InputError
from dnalm.record import read_record
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4

LARGEST_HEADER = 64 << 20
"""Bytes; a larger safetensors header is none of dnalm's."""
MODES = ("full", "vocab4")
RESUMED = ("pretrain", "finetune", "baseline", "interact train")
"""Verbs that go on with --resume."""


def checkpoint_folder(path: Path) -> Finding:
    """Describe a checkpoint folder without reading its tensors."""
    from dnalm import checkpoint

    content = checkpoint.describe(path)
    aside = {"format", "format_version", "dnalm_version", "files", "identity", "evaluations"}
    facts = {"model": content["kind"]} if "kind" in content else {}
    facts |= {name: value for name, value in content.items() if name not in aside | {"kind", "characters"}}
    if "characters" in content:
        facts["characters"] = repr(content["characters"])
    weights = path / checkpoint.WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: missing; the checkpoint is incomplete, use another copy")
    tensors = tensor_shapes(weights)
    facts["made_by"] = f"dnalm {content.get('dnalm_version')}"
    if "kind" not in content:
        return Finding("training-state", "state of a training run, to go on from", facts)
    facts["parameters"] = sum(math.prod(shape) for shape in tensors.values())
    commands = []
    if content["kind"] == "language":
        commands = [finetune(path, content.get("characters") == VOCAB4.characters)]
    elif content["kind"] == "binding":
        commands = [evaluate(path.parent if path.name == "checkpoint" else path)]
    elif content["kind"] == "interaction":
        commands = [evaluate_run(path.parent if path.name == "checkpoint" else path)]
    return Finding("checkpoint", f"{content['kind']} model", facts, commands)


def finetune(model: Path, vocab4: bool) -> str:
    """Return the command that fine-tunes a pretrained model."""
    return dnalm("finetune", "--config", MODES[vocab4], "--checkpoint-dir", model)


def evaluate(model: Path) -> str:
    """Return the command that scores a binding model, on the windows of its run where they are known."""
    flags: list[str] = []
    part = "validation"
    if (model / "run.json").is_file():
        data = read_record(model / "run.json").get("data")
        used = {what: inside(data, "files", what, "path") for what in ("sequences", "scores")}
        if all(used.values()):  # older records have the names alone
            flags = [word for what, path in used.items() for word in (f"--{what}", path)]
        part = "test" if inside(data, "windows", "test") else part  # the published split has none
    return dnalm("evaluate", model, "--part", part, *flags)


def run_folder(path: Path) -> Finding:
    """Describe the folder of one run: its record, and its checkpoint when there is one."""
    told = record(path / "run.json")
    facts, commands = told.facts, told.next
    if (path / "checkpoint" / "checkpoint.json").is_file():
        model = checkpoint_folder(path / "checkpoint")
        facts |= {name: value for name, value in model.facts.items() if name not in facts}
        commands = commands or model.next
    return Finding("run-folder", f"folder of a {told.title}", facts, commands)


def record(path: Path) -> Finding:
    """Describe a run by its record."""
    content = read_record(path)
    metrics, timings = content.get("metrics") or {}, content.get("timings") or {}
    verb, status, command = content.get("verb"), content.get("status"), content.get("command") or []
    facts = {
        "verb": verb,
        "status": status,
        "command": shlex.join(command),
        "started": timings.get("started"),
        "elapsed_s": timings.get("elapsed_s"),
        "device": inside(content, "hardware", "device"),
        "seed": content.get("seed"),
        "data": content.get("data"),
        **{name: metrics.get(name) for name in ("mode", "step", "parameters", "best_val_loss")},
        "bits_per_base": inside(metrics, "bits_per_base", "value"),
        "pearson_r": inside(metrics, "scores", "pearson_r", "value"),
        "auroc": inside(metrics, "validation", "auroc", "value"),
        "node_rate_auroc": metrics.get("node_rate_validation"),
        "verdict": metrics.get("verdict"),
    }
    again = []
    if verb in RESUMED and command and status in ("interrupted", "failed"):
        again = [
            shlex.join([*(word for word in command if word not in ("--resume", "--overwrite")), "--resume"])
        ]
    return Finding("run", f"{verb} run ({status})", known(facts), again)


def outputs(path: Path) -> Finding | None:
    """Describe a folder of several runs, or of the published scripts' files."""
    children = sorted(path.iterdir())
    runs = {child.name: record(child / "run.json") for child in children if (child / "run.json").is_file()}
    kept = [child.name for child in children if _is_output(child.name)]
    if not runs and not kept:
        return None
    keys = ("status", "step", "best_val_loss", "bits_per_base", "verdict")
    facts: dict[str, Any] = {
        name: {key: one.facts[key] for key in keys if key in one.facts} for name, one in runs.items()
    }
    facts["files"] = kept
    next_commands = [command for one in runs.values() for command in one.next]
    names = [*runs, *(name for name in kept if name.endswith(".pt"))]
    next_commands += [dnalm("info", path / name) for name in names]
    next_commands += [finetune(path, mode == "vocab4") for mode in MODES if f"ckpt_{mode}.pt" in kept]
    return Finding("outputs", f"outputs of {' and '.join(runs)}" if runs else "outputs", facts, next_commands)


def _is_output(name: str) -> bool:
    return (
        name.startswith(("ckpt_", "loss_", "losses_", "summary_")) or name == "training_time_comparison.png"
    )


def is_pt(path: Path) -> bool:
    """Whether a zip archive is a `.pt` file.

    Raises:
        InputError: if it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        raise InputError(
            f"{path}: damaged or cut short (a zip archive, as .pt files are, without its end)"
        ) from None


def pt_file(path: Path) -> Finding:
    """Describe a `.pt` file, published or any other.

    Raises:
        InputError: if it would run code, or is a binding model whose tensors are not a published model's.
    """
    from torch import Tensor

    from dnalm.checkpoint import read_pt

    content = read_pt(path)
    if any("initial_conv." in name for name in content.get("model_state") or {}):
        return _binding_pt(path, "CNN")
    if {"gpt_state", "regressor_state"} <= content.keys():
        return _binding_pt(path, "GPT")
    state = content.get("model")
    tensors = {name: value for name, value in (state if isinstance(state, dict) else content).items()}
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    embedding, head = tensors.get("transformer.wte.weight"), tensors.get("lm_head.weight")
    tied = (
        embedding is not None
        and head is not None
        and embedding.shape == head.shape
        and bool((embedding == head).all())
    )
    count = sum(tensor.numel() for name, tensor in tensors.items() if not (tied and name == "lm_head.weight"))
    told = content.get("characters")
    aside = {name: value for name, value in content.items() if name != "characters"}
    plain = {name: value for name, value in aside.items() if isinstance(value, str | int | float)}
    arguments = content.get("model_args")
    if not isinstance(arguments, dict) or not tensors:
        facts = {
            "bytes": path.stat().st_size,
            "tensors": len(tensors),
            "parameters": count,
            "keys": list(content)[:20],
        }
        return Finding("pt", "PyTorch file of tensors, not a published language model", facts)
    size = arguments.get("vocab_size")
    known = {4: VOCAB4.characters, 40: HG38_CHARACTERS}
    vocabulary = told if isinstance(told, str) else known.get(size) if isinstance(size, int) else None
    facts = {
        "model_args": {
            name: value for name, value in arguments.items() if isinstance(value, str | int | float)
        },
        "parameters": count,
        "tensors": len(tensors),
        "vocabulary": repr(vocabulary) if vocabulary else "not told by the file",
        **plain,
    }
    commands = [finetune(path, vocabulary == VOCAB4.characters)] if vocabulary else []
    return Finding("published-gpt", "GPT language model in the published format", facts, commands)


def _binding_pt(path: Path, what: str) -> Finding:
    from dnalm.models.published import read_binding_file

    found = read_binding_file(path)
    facts: dict[str, Any] = {"bytes": path.stat().st_size, "parameters": found.parameter_count}
    if found.config is not None:
        facts["parameters_of_the_head"] = sum(tensor.numel() for tensor in found.head.values())
        facts |= {"config": found.config, "both_strands": found.both_strands}
    title = f"{what} binding model in the published format"
    return Finding(f"published-binding-{found.kind}", title, facts | found.numbers, [dnalm("evaluate", path)])


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors in a safetensors file, from its header alone.

    Raises:
        InputError: if it is no such file.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, LARGEST_HEADER))
    try:
        content = json.loads(header)
        return {name: list(one["shape"]) for name, one in content.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected safetensors, got something else or a damaged file") from error
