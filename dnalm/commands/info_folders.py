"""What `dnalm info` says of folders: prepared genomes and pairs, labelled windows, runs and their results."""

from pathlib import Path
from typing import Any

from dnalm.commands.info_models import Finding, command, describe_checkpoint, describe_pt
from dnalm.commands.info_results import describe_json
from dnalm.errors import InputError
from dnalm.files import read_json
from dnalm.formats.detect import Head, read_head
from dnalm.genome.folder import PreparedGenome, held_out, left_out_words

RESULTS = ("results_*.json", "evaluation_*.json")
MODELS = ("gpt_binding_model_*.pt", "cnn_*_model.pt")
CORES = ("ckpt_*.pt",)
"""Files in a folder of runs; models and cores are those of the published scripts."""


def describe_folder(path: Path) -> Finding:
    """Describe a folder.

    Raises:
        InputError: if it is damaged, or of no known kind.
    """
    if (path / "meta.json").is_file():
        return describe_json(path / "meta.json", read_json(path / "meta.json")) or _prepared(path)
    if (path / "checkpoint.json").is_file():
        return describe_checkpoint(path)
    sequences, scores = _tables(path)
    if sequences and scores:
        facts: dict[str, Any] = {"sequences": sequences[0].name, "scores": [found.name for found in scores]}
        facts |= _table_facts(read_head(sequences[0])) | _table_facts(read_head(scores[0]))
        return Finding(
            "binding-set", "windows with a score at each base", facts, _train(sequences[0], scores[0])
        )
    if (path / "run.json").is_file():
        return _run_folder(path)
    if found := _folders(path):
        return found
    names = ", ".join(sorted(child.name for child in path.iterdir())[:5]) or "nothing"
    raise InputError(f"{path}: not a folder that dnalm knows: it holds {names}")


def _run_folder(path: Path) -> Finding:
    """Describe a run, and the model in it."""
    found = describe_json(path / "run.json", read_json(path / "run.json"))
    if found is None:
        raise InputError(f"{path / 'run.json'}: expected the record of a run, got something else")
    facts, commands = found.facts, found.next
    if (path / "checkpoint" / "checkpoint.json").is_file():
        model = describe_checkpoint(path / "checkpoint")
        facts, commands = model.facts | facts, commands or model.next
    return Finding("run-folder", f"folder of a {found.title}", facts, commands)


def _prepared(path: Path) -> Finding:
    """Describe a prepared genome."""
    genome = PreparedGenome(path)
    meta = genome.meta
    facts = {
        "mode": genome.mode + (" (the published text)" if meta["published"] else ""),
        "characters": meta["characters"],
        "sources": [source["name"] for source in meta["sources"]],
        "contigs": len(meta["contigs"]),
        "first_contigs": [contig["name"] for contig in meta["contigs"][:5]],
        "counts": meta["counts"],
        "split": held_out(meta),
        "digest": genome.digest,
    }
    if "genomes" in meta:
        facts |= {
            "genomes": {f"number {number}": each for number, each in enumerate(meta["genomes"])},
            "hold_out": left_out_words(meta),
        }
    commands = [command("pretrain", "--data", path, "--out", "outputs")]
    return Finding("prepared-genome", f"prepared genome, {genome.mode}", facts, commands)


def _folders(path: Path) -> Finding | None:
    """Describe a folder of prepared genomes, or of runs, their results and models in the published format."""

    def files(*patterns: str) -> list[Path]:
        return sorted(found for pattern in patterns for found in path.glob(pattern))

    runs = files("*/run.json")
    found = {each.parent.name: describe_folder(each.parent) for each in [*files("*/meta.json"), *runs]}
    if not found and not files(*RESULTS, *MODELS, *CORES):
        return None
    facts: dict[str, Any] = {name: each.title for name, each in found.items()}
    facts |= {"files": [each.name for each in files(*RESULTS, *MODELS, *CORES)]}
    commands = [command("compare", path)] if runs or files(*RESULTS) else []
    commands += [line for each in found.values() for line in each.next]
    for each in [] if found else files(*MODELS, *CORES):
        try:
            commands += describe_pt(each).next
        except InputError as error:
            facts[each.name] = f"cannot be used: {error}"
    return Finding("outputs", "prepared data, runs or models", facts, commands)


def _tables(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables of sequences and of scores in a folder, by their names."""
    return sorted(path.glob("*sequences.txt*")), sorted(path.glob("*scores*.txt*"))


def describe_table(path: Path, title: str, facts: dict[str, Any], head: Head) -> Finding:
    """Describe a table: one half of a binding set, or sequences and their classes."""
    sequences, scores = _tables(path.parent)
    is_half = sequences and scores and path in sequences + scores
    commands = _train(sequences[0], path if path in scores else scores[0]) if is_half else []
    return Finding("table", title, facts | _table_facts(head), commands)


def _table_facts(head: Head) -> dict[str, Any]:
    """Return what the first lines of a table show; what the head cuts is left out."""
    first, newline, rest = head.text.partition(b"\n")
    if newline and not first.startswith(b"sequence"):
        return {"windows": first.count(b"\t") + 1}
    sequence, tab, _ = rest.partition(b"\t")
    return {"window_bp": len(sequence)} if tab else {}


def _train(sequences: Path, scores: Path) -> list[str]:
    flags = ("--sequences", sequences, "--scores", scores, "--out", "models")
    core = ("--config", "vocab4", "--checkpoint-dir", "outputs")
    return [command("baseline", *flags), command("finetune", *core, *flags)]
