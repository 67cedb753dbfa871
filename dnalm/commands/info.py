"""`dnalm info`: what a file or folder is, and what can be done with it.

Told from the content; the name only helps to say what was expected. Nothing is unpickled: `.pt` files go
through the safe reader of `dnalm.checkpoint`, imported only where it is needed, since torch is slow to load.
"""

import json
import math
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnalm.files import finite, read_json
from dnalm.formats.sniff import Head, read_head, sniff
from dnalm.genome import PreparedGenome
from dnalm.genome.folder import read_meta
from dnalm.genome.meta import held_out, origin, same_bases
from dnalm.records import read_record
from dnalm.tokenizers import HG38_CHARACTERS, VOCAB4

LARGEST_JSON = 64 << 20
"""Bytes; a larger JSON file is none of dnalm's."""
LEGACY_PT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a `.pt` file written before PyTorch 1.6."""
MODES = ("full", "vocab4")
NAMED = {
    ".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch", ".safetensors": "safetensors", ".json": "JSON",
    ".fa": "FASTA", ".fasta": "FASTA", ".fna": "FASTA", ".2bit": ".2bit", ".bed": "BED", ".vcf": "VCF",
    ".bw": "bigWig", ".bigwig": "bigWig",
}  # fmt: skip
LOOKED_FOR_IN_FILES = (
    "FASTA (plain, gzip, bgzip), .2bit, BED, bedGraph, VCF, bigWig, tables of sequences, .pt, safetensors, "
    "run.json, meta.json, checkpoint.json, losses_*.json, summary_*.json, metrics.jsonl"
)
LOOKED_FOR_IN_FOLDERS = (
    "meta.json (a prepared genome), full/ and vocab4/ (two of them), checkpoint.json (a checkpoint), "
    "run.json (a run), folders with run.json, or ckpt_*.pt (outputs)"
)


@dataclass(frozen=True)
class Options:
    """Say what a file or folder is and what can be done with it."""

    path: Annotated[Path, tyro.conf.Positional]
    """A file or folder of dnalm's, of the published scripts, or of genomic data."""
    json: bool = False
    """Print JSON: path, kind, title, facts, next."""


@dataclass(frozen=True)
class Finding:
    """What a path was found to be."""

    kind: str
    """One word, for machines."""
    title: str
    facts: dict[str, Any]
    """JSON values; names with underscores."""
    next: list[str] = field(default_factory=list)
    """Commands that can be run with it."""


def run(options: Options) -> None:
    """Print what `options.path` is.

    Raises:
        ValueError: if it is not there, is damaged, or is nothing that is known here.
    """
    found = identify(options.path)
    if options.json:
        content = {"path": str(options.path), "kind": found.kind, "title": found.title}
        print(json.dumps(content | {"facts": finite(found.facts), "next": found.next}, indent=2))
        return
    print(f"{options.path}: {found.title}")
    width = max((len(name) for name in found.facts), default=0)
    for name, value in found.facts.items():
        for number, line in enumerate(_lines(value)):
            print(f"  {name.replace('_', ' ') if number == 0 else '':<{width}}  {line}")
    print("next" if found.next else "No verb of this version takes it.")
    for command in found.next:
        print(f"  {command}")


def identify(path: Path) -> Finding:
    """Return what a path is.

    Raises:
        ValueError: if it is not there, is damaged, or is nothing that is known here.
    """
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    raise ValueError(
        f"{path}: {'is neither a file nor a folder' if path.exists() else 'there is no such path'}"
    )


def _folder(path: Path) -> Finding:
    if (path / "meta.json").is_file():
        return _prepared(path)
    if (path / "checkpoint.json").is_file():
        return _checkpoint(path)
    if (path / "run.json").is_file():
        return _run_folder(path)
    modes = [mode for mode in MODES if (path / mode / "meta.json").is_file()]
    if modes:
        inside = {mode: _prepared(path / mode) for mode in modes}
        facts = {mode: one.facts for mode, one in inside.items()}
        metas = [read_meta(path / mode) for mode in modes]
        differ = {}
        if not same_bases(metas[0], metas[-1]):
            differ["not_the_same_bases"] = [
                f"{mode} is of {origin(meta)}" for mode, meta in zip(modes, metas, strict=True)
            ]
        return Finding(
            "prepared-genomes",
            f"prepared genome, {' and '.join(modes)}",
            {"bases": facts[modes[0]]["bases"], "split": facts[modes[0]]["split"]}
            | {mode: facts[mode]["vocabulary"] for mode in modes}
            | differ,
            [command for one in inside.values() for command in one.next],
        )
    outputs = _outputs(path)
    if outputs:
        return outputs
    inside_names = sorted(child.name for child in path.iterdir())
    shown = ", ".join(inside_names[:5]) + (", ..." if len(inside_names) > 5 else "") or "nothing"
    raise ValueError(
        f"{path}: not a folder that dnalm knows: it holds {shown}; looked for {LOOKED_FOR_IN_FOLDERS}"
    )


def _prepared(path: Path) -> Finding:
    genome = PreparedGenome(path)
    meta = genome.meta
    counts, contigs = meta["counts"], meta["contigs"]
    facts = {
        "mode": genome.mode + (" (the published text)" if meta["published"] else ""),
        "vocabulary": f"{meta['vocab_size']} characters: {meta['characters']!r}",
        "sources": [source["name"] for source in meta["sources"]],
        "contigs": len(contigs),
        "first_contigs": [contig["name"] for contig in contigs[:5]],
        "bases": counts["bases"],
        "train_bases": counts["train_bases"],
        "validation_bases": counts["val_bases"],
        "soft_masked_bases": counts["soft_masked"],
        "left_out_n": counts["n"],
        "split": held_out(meta),
        "digest": genome.digest,
        "made_by": f"dnalm {meta['dnalm_version']}",
    }
    command = shlex.join(["dnalm", "pretrain", "--data", str(path), "--out", "outputs"])
    return Finding("prepared-genome", "prepared genome", facts, [command])


def _checkpoint(path: Path) -> Finding:
    from dnalm import checkpoint

    content = checkpoint.describe(path)
    known = {"format", "format_version", "dnalm_version", "files", "identity", "evaluations"}
    facts = {"model": content["kind"]} if "kind" in content else {}
    facts |= {name: value for name, value in content.items() if name not in known | {"kind", "characters"}}
    if "characters" in content:
        facts["characters"] = repr(content["characters"])
    weights = path / checkpoint.WEIGHTS
    if not weights.is_file():
        raise ValueError(f"{weights}: missing; the checkpoint is incomplete, use another copy")
    tensors = _safetensors(weights)
    facts["made_by"] = f"dnalm {content.get('dnalm_version')}"
    if "kind" not in content:
        return Finding("training-state", "state of a training run, to go on from", facts)
    facts["parameters"] = sum(math.prod(shape) for shape in tensors.values())
    return Finding("checkpoint", f"{content['kind']} model", facts)


def _run_folder(path: Path) -> Finding:
    """Describe the folder of one run: its record, and its checkpoint when there is one."""
    record = _record(path / "run.json")
    facts = record.facts
    if (path / "checkpoint" / "checkpoint.json").is_file():
        facts |= {
            name: value for name, value in _checkpoint(path / "checkpoint").facts.items() if name not in facts
        }
    return Finding("run-folder", f"folder of a {record.title}", facts, record.next)


def _record(path: Path) -> Finding:
    record = read_record(path)
    metrics, timings = record.get("metrics") or {}, record.get("timings") or {}
    verb, status, command = record.get("verb"), record.get("status"), record.get("command") or []
    facts = {
        "verb": verb,
        "status": status,
        "command": shlex.join(command),
        "started": timings.get("started"),
        "elapsed_s": timings.get("elapsed_s"),
        "device": (record.get("hardware") or {}).get("device"),
        "seed": record.get("seed"),
        "data": record.get("data"),
        **{name: metrics.get(name) for name in ("mode", "step", "parameters", "best_val_loss")},
        "bits_per_base": (metrics.get("bits_per_base") or {}).get("value"),
        "verdict": metrics.get("verdict"),
    }
    again = []
    if verb == "pretrain" and command and status in ("interrupted", "failed"):
        again = [
            shlex.join([*(word for word in command if word not in ("--resume", "--overwrite")), "--resume"])
        ]
    return Finding("run", f"{verb} run ({status})", _known(facts), again)


def _outputs(path: Path) -> Finding | None:
    """Describe a folder of several runs, or of the published scripts' files."""
    children = sorted(path.iterdir())
    runs = {child.name: _record(child / "run.json") for child in children if (child / "run.json").is_file()}
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
    next_commands += [shlex.join(["dnalm", "info", str(path / name)]) for name in names]
    return Finding("outputs", f"outputs of {' and '.join(runs)}" if runs else "outputs", facts, next_commands)


def _is_output(name: str) -> bool:
    return (
        name.startswith(("ckpt_", "loss_", "losses_", "summary_")) or name == "training_time_comparison.png"
    )


def _file(path: Path) -> Finding:
    head = read_head(path)
    size = {"bytes": path.stat().st_size}
    if not head.raw:
        raise ValueError(f"{path}: an empty file")
    if head.raw.startswith(b"PK\x03\x04") and _is_pt(path) or head.raw.startswith(LEGACY_PT):
        return _pt(path)
    if head.raw[8:9] == b"{" and int.from_bytes(head.raw[:8], "little") < size["bytes"]:
        tensors = _safetensors(path)
        facts = {"tensors": len(tensors), "parameters": sum(math.prod(shape) for shape in tensors.values())}
        return Finding("safetensors", "tensors in safetensors", size | facts)
    if head.raw.lstrip()[:1] == b"{" and size["bytes"] <= LARGEST_JSON:
        found = _json(path, head)
        if found:
            return found
    else:
        sniffed = sniff(head)
        if sniffed:
            prepare = [shlex.join(["dnalm", "prepare", str(path), "--out", "data"])]
            commands = prepare if sniffed.kind in ("fasta", "2bit") else []
            return Finding(sniffed.kind, sniffed.title, size | sniffed.facts, commands)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    expected = next((NAMED[suffix] for suffix in reversed(suffixes) if suffix in NAMED), None)
    named = f" (its name says {expected}, its content does not)" if expected else ""
    if head.packing != "plain" and not head.text:
        named = " (a gzip file that is damaged or cut short)"
    raise ValueError(
        f"{path}: not a file that dnalm knows{named}: it begins with {head.text[:24] or head.raw[:24]!r}; "
        f"looked for {LOOKED_FOR_IN_FILES}"
    )


def _json(path: Path, head: Head) -> Finding | None:
    if path.suffix == ".jsonl":
        return _metrics(head)
    content = read_json(path)
    match content.get("format"):
        case "dnalm-run":
            return _record(path)
        case "dnalm-genome":
            return _prepared(path.parent)
        case "dnalm-checkpoint":
            return _checkpoint(path.parent)
    if {"iterations", "train_losses", "val_losses"} <= content.keys():
        facts = {
            "vocab_size": content.get("vocab_size"),
            "evaluations": len(content["iterations"]),
            "last_iteration": _last(content["iterations"]),
            "last_train_loss": _last(content["train_losses"]),
            "last_val_loss": _last(content["val_losses"]),
            "last_bits_per_base": _last(content.get("bits_per_base")),
            "elapsed_s": _last(content.get("elapsed_time")),
        }
        return Finding("losses", "loss curve of a pretraining run", _known(facts))
    if {"best_val_loss", "elapsed_time"} <= content.keys():
        return Finding("summary", "summary of a pretraining run", content)
    return None


def _metrics(head: Head) -> Finding | None:
    try:
        first = json.loads(head.raw.splitlines()[0])
    except ValueError:
        return None
    if "step" not in first:
        return None
    return Finding("metrics", "metrics of a run, a line at a time", {"names": list(first)})


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _last(values: Any) -> Any:
    return values[-1] if isinstance(values, list) and values else values or None


def _is_pt(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        raise ValueError(
            f"{path}: damaged or cut short (a zip archive, as .pt files are, without its end)"
        ) from None


def _pt(path: Path) -> Finding:
    from torch import Tensor

    from dnalm.checkpoint import read_pt

    content = read_pt(path)
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
    plain = {name: value for name, value in content.items() if isinstance(value, str | int | float)}
    arguments = content.get("model_args")
    if not isinstance(arguments, dict) or not tensors:
        facts = {
            "bytes": path.stat().st_size,
            "tensors": len(tensors),
            "parameters": count,
            "keys": list(content)[:20],
        }
        return Finding("pt", "PyTorch file of tensors, not a published language model", facts)
    vocabulary = {4: VOCAB4.characters, 40: HG38_CHARACTERS}.get(arguments.get("vocab_size", 0))
    facts = {
        "model_args": {
            name: value for name, value in arguments.items() if isinstance(value, str | int | float)
        },
        "parameters": count,
        "tensors": len(tensors),
        "vocabulary": repr(vocabulary) if vocabulary else "not told by the file",
        **plain,
    }
    return Finding("published-gpt", "GPT language model in the published format", facts)


def _safetensors(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors in a safetensors file, from its header alone."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, LARGEST_JSON))
    try:
        content = json.loads(header)
        return {name: list(one["shape"]) for name, one in content.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected safetensors, got something else or a damaged file") from error


def _lines(value: Any) -> Iterator[str]:
    """Yield a fact as lines of text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{name} {', '.join(_lines(item))}"
    elif isinstance(value, list):
        yield ", ".join(text for item in value for text in _lines(item)) or "none"
    elif isinstance(value, bool) or value is None:
        yield {True: "yes", False: "no", None: "-"}[value]
    elif isinstance(value, int):
        yield f"{value:,}"
    elif isinstance(value, float):
        yield f"{value:,.5g}"
    else:
        yield str(value)
