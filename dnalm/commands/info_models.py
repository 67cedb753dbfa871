"""What `dnalm info` says of models: checkpoints, `.pt` files, safetensors."""

import json
import math
import shlex
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnalm.errors import InputError
from dnalm.record import read_record
from dnalm.tokens.characters import HG38_CHARACTERS, VOCAB4

LARGEST_HEADER = 64 << 20
"""Bytes; a larger safetensors header is not one of dnalm's."""
LEGACY_PT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a `.pt` file written before PyTorch 1.6."""
TRAINED = {"finetune", "baseline"}
"""Verbs that train a binding model."""
RESUMED = {"pretrain", "interact train"} | TRAINED
"""Verbs that have --resume."""


@dataclass(frozen=True)
class Finding:
    """What a path is."""

    kind: str
    """One word, for machines."""
    title: str
    facts: dict[str, Any]
    """JSON values; names with underscores."""
    next: list[str] = field(default_factory=list)
    """Commands that can be run with it; a word in capitals stands for what the path does not say."""


def inside(content: Any, *names: str) -> Any:
    """Return what JSON values hold under names within names, or None."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def command(*words: Any) -> str:
    """Return a command as it is typed."""
    return shlex.join(["dnalm", *map(str, words)])


def finetune(model: Path, vocab4: bool) -> str:
    """Return the command that fine-tunes a pretrained model."""
    return command("finetune", "--config", "vocab4" if vocab4 else "full", "--checkpoint-dir", model)


def evaluate(model: Path) -> str:
    """Return the command that evaluates a binding model, on the windows of its run where they are known."""
    flags: list[Any] = []
    part = "validation"
    if (model / "run.json").is_file():
        data = read_record(model / "run.json").get("data")
        used = {name: inside(data, "files", name, "path") for name in ("sequences", "scores")}
        if all(used.values()):  # older records have the names alone
            flags = [word for name, path in used.items() for word in (f"--{name}", path)]
        part = "test" if inside(data, "windows", "test") else part  # the published split has none
    return command("evaluate", model, "--part", part, *flags)


def evaluate_pairs(run: Path) -> str:
    """Return the command that evaluates a pair model on the pairs of its run, where these are known."""
    data = "data/pairs"
    if (run / "run.json").is_file():
        words = read_record(run / "run.json").get("command") or []
        data = next((after for word, after in zip(words, words[1:], strict=False) if word == "--data"), data)
        data = next((w.removeprefix("--data=") for w in words if w.startswith("--data=")), data)
    return command("interact", "evaluate", run, "--data", data, "--part", "test")


def checkpoint_folder(path: Path) -> Finding:
    """Describe a checkpoint folder without reading its tensors.

    Raises:
        InputError: if it is damaged or incomplete.
    """
    from dnalm import checkpoint

    content = checkpoint.describe(path)
    weights = path / checkpoint.WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: missing; the checkpoint is incomplete, use another copy")
    aside = {"format", "format_version", "dnalm_version", "files", "identity", "evaluations", "kind"}
    facts = {name: value for name, value in content.items() if name not in aside}
    if "characters" in facts:
        facts["characters"] = repr(facts["characters"])
    facts["made_by"] = f"dnalm {content.get('dnalm_version')}"
    if "kind" not in content:
        return Finding("training-state", "state of a training run, to go on from", facts)
    facts["parameters"] = sum(map(math.prod, tensor_shapes(weights).values()))
    run = path.parent if path.name == "checkpoint" else path
    is_vocab4 = content.get("characters") == VOCAB4.characters
    commands = {
        "language": [finetune(path, is_vocab4)],
        "binding": [evaluate(run)],
        "interaction": [evaluate_pairs(run)],
    }
    return Finding("checkpoint", f"{content['kind']} model", facts, commands.get(content["kind"], []))


def is_pt(path: Path) -> bool:
    """Return whether a zip archive is a `.pt` file.

    Raises:
        InputError: if it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        raise InputError(f"{path}: damaged or cut short (a zip archive without its end)") from None


def pt_file(path: Path) -> Finding:
    """Describe a `.pt` file, published or any other.

    Raises:
        InputError: if it would run code, or is a binding model whose tensors are not a published model's.
    """
    from torch import Tensor

    from dnalm.checkpoint import read_pt

    content = read_pt(path)
    is_cnn = any("initial_conv." in name for name in content.get("model_state") or {})
    if is_cnn or {"gpt_state", "regressor_state"} <= content.keys():
        return _binding_pt(path)
    state = content.get("model") if isinstance(content.get("model"), dict) else content
    assert isinstance(state, dict)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    embedding, head = tensors.get("transformer.wte.weight"), tensors.get("lm_head.weight")
    if embedding is not None and head is not None and embedding.equal(head):
        del tensors["lm_head.weight"]  # tied: counted once
    facts: dict[str, Any] = {"tensors": len(tensors), "parameters": sum(t.numel() for t in tensors.values())}
    arguments, own = content.get("model_args"), content.get("characters")
    if not isinstance(arguments, dict) or not tensors:
        keys = {"bytes": path.stat().st_size, "keys": list(content)[:20]}
        return Finding("pt", "PyTorch file of tensors, not a published language model", facts | keys)
    sizes = {4: VOCAB4.characters, 40: HG38_CHARACTERS}
    size = arguments.get("vocab_size")
    vocabulary = own if isinstance(own, str) else sizes.get(size) if isinstance(size, int) else None
    facts["model_args"] = _plain(arguments)
    facts["vocabulary"] = repr(vocabulary) if vocabulary else "not named by the file"
    plain = {name: value for name, value in _plain(content).items() if name != "characters"}
    commands = [finetune(path, vocabulary == VOCAB4.characters)] if vocabulary else []
    return Finding("published-gpt", "GPT language model in the published format", facts | plain, commands)


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if isinstance(value, str | int | float)}


def _binding_pt(path: Path) -> Finding:
    from dnalm.models.published import read_binding_file

    found = read_binding_file(path)
    facts: dict[str, Any] = {"bytes": path.stat().st_size, "parameters": found.parameter_count}
    if found.config is not None:
        facts["parameters_of_the_head"] = sum(tensor.numel() for tensor in found.head.values())
        facts |= {"config": found.config, "both_strands": found.both_strands}
    title = f"{found.kind.upper()} binding model in the published format"
    commands = [command("evaluate", path)]
    return Finding(f"published-binding-{found.kind}", title, facts | found.numbers, commands)


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
