"""What `dnalm info` says of folders: prepared genomes and pairs, labelled windows, runs and their results."""

import re
import shlex
from pathlib import Path
from typing import Any

from dnalm.commands.info_models import (
    TRAINED,
    Finding,
    checkpoint_folder,
    command,
    evaluate,
    finetune,
)
from dnalm.commands.info_results import describe_json
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.formats.detect import Head, read_head
from dnalm.genome.folder import PreparedGenome, held_out, origin, read_meta, same_bases

MODES = ("full", "vocab4")
KNOWN_FOLDERS = (
    "meta.json (a prepared genome, or pairs of genes and molecules), full/ and vocab4/ (two genomes), "
    "checkpoint.json (a checkpoint), sequences.txt.gz and scores.txt.gz (a binding set), run.json (a run), "
    "or folders with run.json, results_*.json, *_model*.pt, ckpt_*.pt (outputs)"
)


def folder(path: Path) -> Finding:
    """Describe a folder.

    Raises:
        InputError: if it is damaged, or of no known kind.
    """
    if (path / "meta.json").is_file():
        content = read_json(path / "meta.json")
        return describe_json(path / "meta.json", content) or prepared(path)
    if (path / "checkpoint.json").is_file():
        return checkpoint_folder(path)
    if labelled := _binding_set(path):
        return labelled
    if (path / "run.json").is_file():
        found = describe_json(path / "run.json", read_json(path / "run.json"))
        assert found is not None
        facts, commands = dict(found.facts), found.next
        if (path / "checkpoint" / "checkpoint.json").is_file():
            model = checkpoint_folder(path / "checkpoint")
            facts, commands = model.facts | facts, commands or model.next
        return Finding("run-folder", f"folder of a {found.title}", facts, commands)
    if modes := [mode for mode in MODES if (path / mode / "meta.json").is_file()]:
        return _prepared_pair(path, modes)
    if found := _outputs(path):
        return found
    names = sorted(child.name for child in path.iterdir())
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
    raise InputError(f"{path}: not a folder that dnalm knows: it holds {shown}; known are {KNOWN_FOLDERS}")


def prepared(path: Path) -> Finding:
    """Describe a prepared genome."""
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
    commands = [command("pretrain", "--data", path, "--out", "outputs")]
    return Finding("prepared-genome", "prepared genome", facts, commands)


def _prepared_pair(path: Path, modes: list[str]) -> Finding:
    """Describe a folder with full/ and vocab4/."""
    found = {mode: prepared(path / mode) for mode in modes}
    metas = {mode: read_meta(path / mode) for mode in modes}
    first = found[modes[0]].facts
    facts = {"bases": first["bases"], "split": first["split"]}
    facts |= {mode: one.facts["vocabulary"] for mode, one in found.items()}
    if not same_bases(metas[modes[0]], metas[modes[-1]]):
        facts["not_the_same_bases"] = [f"{mode} is of {origin(meta)}" for mode, meta in metas.items()]
    commands = [line for one in found.values() for line in one.next]
    return Finding("prepared-genomes", f"prepared genome, {' and '.join(modes)}", facts, commands)


def _binding_set(path: Path) -> Finding | None:
    """Describe a folder of labelled windows: a table of sequences and one or more of scores."""
    sequences = next(iter(sorted(path.glob("*sequences.txt*"))), None)
    tables = [found for found in sorted(path.glob("*scores*.txt*")) if sequences and found != sequences]
    if sequences is None or not tables:
        return None
    facts: dict[str, Any] = {"sequences": sequences.name, "scores": [found.name for found in tables]}
    facts |= _table_facts(read_head(sequences)) | _table_facts(read_head(tables[0]))
    if (path / "run.json").is_file():
        record = read_json(path / "run.json")
        facts |= {"status": record.get("status"), "command": shlex.join(record.get("command") or [])}
    return Finding("binding-set", "windows with a score at each base", facts, _train(sequences, tables[0]))


def table(path: Path, title: str, facts: dict[str, Any], head: Head) -> Finding:
    """Describe a table: one half of a binding set, or sequences and their classes."""
    halves = {True: ("sequences", "scores"), False: ("scores", "sequences")}
    own, other = halves[head.text.startswith(b"sequence\t")]
    beside = path.with_name(re.sub(rf"{own}(_[^.]*)?", other, path.name))
    commands = []
    if own in path.name and beside.is_file() and "classes" not in title:
        commands = _train(*((path, beside) if own == "sequences" else (beside, path)))
    return Finding("table", title, facts | _table_facts(head), commands)


def _table_facts(head: Head) -> dict[str, Any]:
    """Return what the first lines of a table show; what the head cuts is left out."""
    first, newline, rest = head.text.partition(b"\n")
    if not newline:
        return {}
    if not first.startswith(b"sequence"):
        return {"windows": first.count(b"\t") + 1}
    cells, ended, _ = rest.partition(b"\n")
    sequence, tab, name = cells.decode("utf-8", "replace").partition("\t")
    return {"window_bp": len(sequence), "first_window": name.strip()} if tab and ended else {}


def _train(sequences: Path, scores: Path) -> list[str]:
    flags = ("--sequences", sequences, "--scores", scores, "--out", "models")
    core = ("--config", "vocab4", "--checkpoint-dir", "outputs")
    return [command("baseline", *flags), command("finetune", *core, *flags)]


def _outputs(path: Path) -> Finding | None:
    """Describe a folder of runs, of their results, or of models in the published format."""
    records = {found.parent.name: read_json(found) for found in sorted(path.glob("*/run.json"))}
    results = {found.stem.removeprefix("results_"): found for found in sorted(path.glob("results_*.json"))}
    evaluations = sorted(path.glob("evaluation_*.json"))
    published = sorted([*path.glob("gpt_binding_model_*.pt"), *path.glob("cnn_*_model.pt")])
    cores = sorted(path.glob("ckpt_*.pt"))
    if not (records or results or evaluations or published or cores):
        return None
    facts: dict[str, Any] = {}
    commands: list[str] = [command("compare", path)] if records or results or evaluations else []
    shown = ("status", "step", "best_val_loss", "bits_per_base", "verdict", "pearson_r", "judged_on", "mse")
    for name in sorted(records.keys() | results.keys()):
        folder, found = path / name, dict[str, Any]()
        for file in (folder / "run.json", results.get(name)):
            one = file and file.is_file() and describe_json(file, read_json(file))
            if one:
                found |= {key: one.facts[key] for key in shown if key in one.facts}
                commands += [line for line in one.next if line.endswith("--resume")]
        facts[name] = found
        verb = records.get(name, {}).get("verb")
        if verb in TRAINED and (folder / "checkpoint" / "checkpoint.json").is_file():
            commands.append(evaluate(folder))
        elif verb == "pretrain":
            commands.append(command("info", folder))
    facts["files"] = [found.name for found in (*evaluations, *published, *cores)]
    if not records:
        commands += [command("evaluate", found) for found in published]
    commands += [finetune(path, found.stem.endswith("vocab4")) for found in cores]
    verbs = {record.get("verb") for record in records.values()}
    commands = list(dict.fromkeys(commands))
    if results or evaluations or published or verbs & TRAINED:
        return Finding("binding-models", "binding models and their results", facts, commands)
    return Finding("outputs", "outputs of pretraining", facts, commands)
