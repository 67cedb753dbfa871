"""`dnalm info`: what a file or folder is, and what can be done with it.

A path is known by its content. Nothing is unpickled: `.pt` files go through the safe reader of
`dnalm.checkpoint`. torch is imported only where a file needs it, since it is slow to load.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnalm.commands.info_folders import folder, prepared, table
from dnalm.commands.info_models import (
    LEGACY_PT,
    Finding,
    checkpoint_folder,
    command,
    inside,
    is_pt,
    pt_file,
    tensor_shapes,
)
from dnalm.commands.info_results import describe_json
from dnalm.errors import InputError
from dnalm.files import finite, read_json
from dnalm.formats.detect import Head, detect, read_head

LARGEST_JSON = 64 << 20
"""Bytes; a larger JSON file is not one of dnalm's."""
NAMED = {
    **dict.fromkeys((".pt", ".pth", ".bin"), "PyTorch"),
    **dict.fromkeys((".fa", ".fasta", ".fna"), "FASTA"),
    **dict.fromkeys((".bw", ".bigwig"), "bigWig"),
    **dict.fromkeys((".motif", ".meme", ".jaspar"), "motifs"),
    **{".safetensors": "safetensors", ".json": "JSON", ".2bit": ".2bit", ".bed": "BED", ".vcf": "VCF"},
}
"""What a name promises."""
KNOWN_FILES = (
    "FASTA (plain, gzip, bgzip), .2bit, BED, bedGraph, VCF, bigWig, motifs (HOMER, JASPAR, MEME), tables of "
    "sequences and of scores, .pt, safetensors, and the JSON files that dnalm writes"
)
LABELS = {"bed": "--peaks", "bigwig": "--track", "motif": "--motif"}
"""Flag of `dnalm label` for each kind of file that labels can be made from."""


@dataclass(frozen=True)
class Options:
    """Say what a file or folder is and what can be done with it."""

    path: Annotated[Path, tyro.conf.Positional]
    """A file or folder of dnalm's, of the published scripts, or of genomic data."""
    json: bool = False
    """Print JSON: path, kind, title, facts, next."""


def run(options: Options) -> None:
    """Print what `options.path` is.

    Raises:
        InputError: if it does not exist, is damaged, or is of no known kind.
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
    for line in found.next:
        print(f"  {line}")


def identify(path: Path) -> Finding:
    """Return what a path is.

    Raises:
        InputError: if it does not exist, is damaged, or is of no known kind.
    """
    if path.is_dir():
        return folder(path)
    if path.is_file():
        return _file(path)
    raise InputError(
        f"{path}: {'is neither a file nor a folder' if path.exists() else 'there is no such path'}"
    )


def _file(path: Path) -> Finding:
    head = read_head(path)
    size = {"bytes": path.stat().st_size}
    if not head.raw:
        raise InputError(f"{path}: an empty file")
    if head.raw.startswith(b"PK\x03\x04") and is_pt(path) or head.raw.startswith(LEGACY_PT):
        return pt_file(path)
    if head.raw[8:9] == b"{" and int.from_bytes(head.raw[:8], "little") < size["bytes"]:
        tensors = tensor_shapes(path)
        facts = {"tensors": len(tensors), "parameters": sum(map(math.prod, tensors.values()))}
        return Finding("safetensors", "tensors in safetensors", size | facts)
    if head.raw.lstrip()[:1] == b"{" and size["bytes"] <= LARGEST_JSON:
        if found := _json(path, head):
            return found
    elif found_kind := detect(path, head):
        kind, title, facts = found_kind
        if kind == "table":
            return table(path, title, size | facts, head)
        commands = [command("prepare", path, "--out", "data")] if kind in ("fasta", "2bit") else []
        if kind in LABELS:
            more = ["--name", "NAME"] if facts.get("motifs", 1) > 1 else []
            if kind == "motif" and "threshold_nats" not in facts:
                more += ["--pvalue", "1e-4"]
            commands = [command("label", "GENOME", LABELS[kind], path, *more)]
        return Finding(kind, title, size | facts, commands)
    promised = next((NAMED[each] for each in map(str.lower, reversed(path.suffixes)) if each in NAMED), None)
    named = f" (its name says {promised}, its content does not)" if promised else ""
    if head.packing != "plain" and not head.text:
        named = " (a gzip file that is damaged or cut short)"
    begin = head.text[:24] or head.raw[:24]
    raise InputError(
        f"{path}: not a file that dnalm knows{named}: it begins with {begin!r}; known are {KNOWN_FILES}"
    )


def _json(path: Path, head: Head) -> Finding | None:
    if path.suffix == ".jsonl":
        try:
            first = json.loads(head.raw.splitlines()[0])
        except ValueError:
            return None
        names = {"names": list(first)}
        return Finding("metrics", "metrics of a run, a line at a time", names) if "step" in first else None
    content = read_json(path)
    match inside(content, "format"):
        case "dnalm-genome":
            return prepared(path.parent)
        case "dnalm-checkpoint":
            return checkpoint_folder(path.parent)
    return describe_json(path, content)


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
