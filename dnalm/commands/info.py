"""`dnalm info`: what a file or folder is, and what can be done with it.

A path is known by its content. Nothing is unpickled: `.pt` files go through the safe reader of
`dnalm.checkpoint`. torch is imported only where a file needs it, since it is slow to load.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnalm.commands.info_folders import describe_folder, describe_table
from dnalm.commands.info_models import Finding, command, describe_pt, describe_safetensors
from dnalm.commands.info_results import describe_json
from dnalm.errors import InputError
from dnalm.files import finite, read_json
from dnalm.formats.detect import detect, read_head

LEGACY_PT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a `.pt` file written before PyTorch 1.6; a later one is a zip archive."""
LABELS = {"bed": "--peaks", "bigwig": "--track", "bedgraph": "--track", "motif": "--motif"}
"""Flag of `dnalm label` for each kind of file that labels can be made from."""


@dataclass(frozen=True)
class Options:
    """Say what a file or folder is and what can be done with it."""

    path: Annotated[Path, tyro.conf.Positional]
    """A file or folder of dnalm's, of the published scripts, or of genomic data."""
    json: bool = False  # Print JSON: path, kind, title, facts, next.


def run(options: Options) -> None:
    """Print what `options.path` is.

    Raises:
        InputError: if it does not exist, is damaged, or is of no known kind.
    """
    found = identify(options.path)
    if options.json:
        print(json.dumps({"path": str(options.path), **finite(found._asdict())}, indent=2))
        return
    print(f"{options.path}: {found.title}")
    width = max(map(len, found.facts), default=0)
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
    if path.is_dir() or path.name in ("meta.json", "checkpoint.json"):
        return describe_folder(path if path.is_dir() else path.parent)
    size = path.stat().st_size
    head = read_head(path)
    if head.raw.startswith((b"PK\x03\x04", LEGACY_PT)):
        return describe_pt(path)
    if head.raw[8:9] == b"{" and int.from_bytes(head.raw[:8], "little") < size:
        return describe_safetensors(path)
    if path.suffix == ".jsonl":
        return Finding("metrics", "metrics of a run, a line at a time", {"bytes": size}, [])
    if head.raw.lstrip()[:1] == b"{" and (known := describe_json(path, read_json(path))):
        return known
    detected = detect(path, head)
    if detected is None:
        raise InputError(
            f"{path}: not a file that dnalm knows, or damaged or cut short: it is {head.packing} and begins "
            f"with {head.text[:24] or head.raw[:24]!r}"
        )
    kind, title, facts = detected
    facts = {"bytes": size, **facts}
    if kind == "table":
        return describe_table(path, title, facts, head)
    commands = [command("prepare", path, "--out", "data")] if kind in ("fasta", "2bit") else []
    if kind in LABELS:
        more = ["--name", "NAME"] if facts.get("motifs", 1) > 1 else []
        more += ["--pvalue", "1e-4"] if kind == "motif" and "threshold_nats" not in facts else []
        commands = [command("label", "GENOME", LABELS[kind], path, *more)]
    return Finding(kind, title, facts, commands)


def _lines(value: Any) -> Iterator[str]:
    """Yield a fact as lines of text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{name.replace('_', ' ')} {', '.join(_lines(item))}"
    elif isinstance(value, list):
        yield ", ".join(text for item in value for text in _lines(item))
    elif isinstance(value, str):
        yield value if value.isprintable() else repr(value)
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    else:
        yield f"{value:,.5g}" if isinstance(value, float) else f"{value:,}"
