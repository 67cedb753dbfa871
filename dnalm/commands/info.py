"""`dnalm info`: what a file or folder is, and what can be done with it.

Told from the content; the name only helps to say what was expected. Nothing is unpickled: `.pt` files go
through the safe reader of `dnalm.checkpoint`, imported only where it is needed, since torch is slow to load.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dnalm.commands import info_interaction
from dnalm.commands.info_binding import (
    binding_models,
    binding_set,
    evaluation,
    labels_from,
    motifs,
    results,
    table,
)
from dnalm.commands.info_finding import Finding, dnalm, inside, known
from dnalm.commands.info_models import (
    MODES,
    checkpoint_folder,
    is_pt,
    outputs,
    pt_file,
    record,
    run_folder,
    tensor_shapes,
)
from dnalm.errors import InputError
from dnalm.files import finite, read_json
from dnalm.formats.detect import Head, read_head, sniff
from dnalm.genome.folder import PreparedGenome, held_out, origin, read_meta, same_bases

LARGEST_JSON = 64 << 20
"""Bytes; a larger JSON file is none of dnalm's."""
LEGACY_PT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a `.pt` file written before PyTorch 1.6."""
NAMED = {
    ".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch", ".safetensors": "safetensors", ".json": "JSON",
    ".fa": "FASTA", ".fasta": "FASTA", ".fna": "FASTA", ".2bit": ".2bit", ".bed": "BED", ".vcf": "VCF",
    ".bw": "bigWig", ".bigwig": "bigWig", ".motif": "motifs", ".meme": "motifs", ".jaspar": "motifs",
}  # fmt: skip
LOOKED_FOR_IN_FILES = (
    "FASTA (plain, gzip, bgzip), .2bit, BED, bedGraph, VCF, bigWig, motifs (HOMER, JASPAR, MEME), tables of "
    "sequences and of scores, .pt, safetensors, run.json, meta.json, checkpoint.json, losses_*.json, "
    "summary_*.json, results_*.json, results.json, evaluation_*.json, metrics.jsonl"
)
LOOKED_FOR_IN_FOLDERS = (
    "meta.json (a prepared genome, or pairs of genes and molecules), full/ and vocab4/ (two genomes), "
    "checkpoint.json (a checkpoint), "
    "sequences.txt.gz and scores.txt.gz (a binding set), results_*.json or *_model*.pt (binding models), "
    "run.json (a run), folders with run.json, or ckpt_*.pt (outputs)"
)


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
        InputError: if it is not there, is damaged, or is nothing that is known here.
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
        InputError: if it is not there, is damaged, or is nothing that is known here.
    """
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    raise InputError(
        f"{path}: {'is neither a file nor a folder' if path.exists() else 'there is no such path'}"
    )


def _folder(path: Path) -> Finding:
    if (path / "meta.json").is_file():
        is_pairs = inside(read_json(path / "meta.json"), "format") == info_interaction.PAIRS
        return info_interaction.pair_set(path) if is_pairs else _prepared(path)
    if (path / "checkpoint.json").is_file():
        return checkpoint_folder(path)
    labelled = binding_set(path)
    if labelled:
        return labelled
    if (path / "run.json").is_file():
        return run_folder(path)
    modes = [mode for mode in MODES if (path / mode / "meta.json").is_file()]
    if modes:
        found_in = {mode: _prepared(path / mode) for mode in modes}
        facts = {mode: one.facts for mode, one in found_in.items()}
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
            [command for one in found_in.values() for command in one.next],
        )
    found = binding_models(path) or outputs(path)
    if found:
        return found
    inside_names = sorted(child.name for child in path.iterdir())
    shown = ", ".join(inside_names[:5]) + (", ..." if len(inside_names) > 5 else "") or "nothing"
    raise InputError(
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
    commands = [dnalm("pretrain", "--data", path, "--out", "outputs")]
    return Finding("prepared-genome", "prepared genome", facts, commands)


def _file(path: Path) -> Finding:
    head = read_head(path)
    size = {"bytes": path.stat().st_size}
    if not head.raw:
        raise InputError(f"{path}: an empty file")
    if head.raw.startswith(b"PK\x03\x04") and is_pt(path) or head.raw.startswith(LEGACY_PT):
        return pt_file(path)
    if head.raw[8:9] == b"{" and int.from_bytes(head.raw[:8], "little") < size["bytes"]:
        tensors = tensor_shapes(path)
        facts = {"tensors": len(tensors), "parameters": sum(math.prod(shape) for shape in tensors.values())}
        return Finding("safetensors", "tensors in safetensors", size | facts)
    if head.raw.lstrip()[:1] == b"{" and size["bytes"] <= LARGEST_JSON:
        found = _json(path, head)
        if found:
            return found
    else:
        sniffed = sniff(head)
        if sniffed and sniffed.kind == "table":
            return table(path, head, sniffed, size)
        if sniffed:
            prepare = [dnalm("prepare", path, "--out", "data")]
            commands = prepare if sniffed.kind in ("fasta", "2bit") else labels_from(sniffed.kind, path)
            return Finding(sniffed.kind, sniffed.title, size | sniffed.facts, commands)
        found = motifs(path, head, size)
        if found:
            return found
    suffixes = [suffix.lower() for suffix in path.suffixes]
    expected = next((NAMED[suffix] for suffix in reversed(suffixes) if suffix in NAMED), None)
    named = f" (its name says {expected}, its content does not)" if expected else ""
    if head.packing != "plain" and not head.text:
        named = " (a gzip file that is damaged or cut short)"
    raise InputError(
        f"{path}: not a file that dnalm knows{named}: it begins with {head.text[:24] or head.raw[:24]!r}; "
        f"looked for {LOOKED_FOR_IN_FILES}"
    )


def _json(path: Path, head: Head) -> Finding | None:
    if path.suffix == ".jsonl":
        return _metrics(head)
    content = read_json(path)
    match content.get("format"):
        case "dnalm-run":
            return record(path)
        case "dnalm-genome":
            return _prepared(path.parent)
        case info_interaction.PAIRS:
            return info_interaction.pair_set(path.parent)
        case "dnalm-checkpoint":
            return checkpoint_folder(path.parent)
        case "dnalm-binding-results":
            return results(path, content)
        case "dnalm-binding-evaluation":
            return evaluation(path, content)
        case "dnalm-interaction-results":
            return info_interaction.results(path, content)
        case "dnalm-interaction-evaluation":
            return info_interaction.evaluation(path, content)
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
        return Finding("losses", "loss curve of a pretraining run", known(facts))
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


def _last(values: Any) -> Any:
    return values[-1] if isinstance(values, list) and values else values or None


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
