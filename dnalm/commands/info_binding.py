"""What `dnalm info` says of binding: labelled windows, what they are made from, results of models on them.

Only the beginnings of tables are read. `dnalm compare` checks results in full; here what is there is told.
"""

import re
from pathlib import Path
from typing import Any

from dnalm.commands.info_finding import Finding, dnalm, in_words, inside, known
from dnalm.commands.info_models import evaluate, record
from dnalm.files import read_json
from dnalm.formats.detect import NAMES, Head, Sniffed, read_head

PUBLISHED = ("gpt_binding_model_*.pt", "cnn_*_model.pt")
"""Names of models in the published format."""
LABELS = {"bed": "--peaks", "bigwig": "--track", "motif": "--motif"}
"""Flag of `dnalm label` for each kind of file that labels can be made from."""


def labels_from(kind: str, path: Path) -> list[str]:
    """Return the command that makes labels from a file of this kind, if there is one."""
    return [dnalm("label", "GENOME", LABELS[kind], path)] if kind in LABELS else []


def binding_set(path: Path) -> Finding | None:
    """Describe a folder of labelled windows: a table of sequences and a table of scores or more."""
    sequences = next(iter(sorted(path.glob("*sequences.txt*"))), None)
    tables = [found for found in sorted(path.glob("*scores*.txt*")) if sequences and found != sequences]
    if sequences is None or not tables:
        return None
    facts: dict[str, Any] = {"sequences": sequences.name, "scores": [found.name for found in tables]}
    facts |= _of_sequences(read_head(sequences)) | _of_scores(read_head(tables[0]))
    if (path / "run.json").is_file():
        told = record(path / "run.json").facts
        facts |= {name: told[name] for name in ("status", "command", "started") if name in told}
    return Finding("binding-set", "windows with a score at each base", facts, _train(sequences, tables[0]))


def table(path: Path, head: Head, sniffed: Sniffed, size: dict[str, int]) -> Finding:
    """Describe a table: one half of a binding set, or sequences and their classes."""
    facts, other = size | sniffed.facts, None
    commands = []
    if head.text.startswith(b"sequence\t"):
        facts |= _of_sequences(head)
        other = path.with_name(path.name.replace("sequences", "scores"))
        commands = _train(path, other)
    elif "scores" in sniffed.title:
        facts |= _of_scores(head)
        other = path.with_name(re.sub(r"scores(_[^.]*)?", "sequences", path.name))
        commands = _train(other, path)
    if other is None or other == path or not other.is_file():
        commands = []
    return Finding(sniffed.kind, sniffed.title, facts, commands)


def _of_sequences(head: Head) -> dict[str, Any]:
    lines = head.text.decode("utf-8", "replace").splitlines()
    cells = lines[1].split("\t") if len(lines) > 2 or (head.whole and len(lines) == 2) else []
    return {"window_bp": len(cells[0]), "first_window": cells[1]} if len(cells) == 2 else {}


def _of_scores(head: Head) -> dict[str, Any]:
    first, newline, _ = head.text.partition(b"\n")
    return {"windows": first.count(b"\t") + 1} if newline else {}


def _train(sequences: Path, scores: Path) -> list[str]:
    flags = ("--sequences", sequences, "--scores", scores, "--out", "models")
    return [
        dnalm("baseline", *flags),
        dnalm("finetune", "--config", "vocab4", "--checkpoint-dir", "outputs", *flags),
    ]


def motifs(path: Path, head: Head, size: dict[str, int]) -> Finding | None:
    """Describe a file of motifs: MEME, HOMER or JASPAR.

    Raises:
        InputError: if it begins like one and is damaged.
    """
    lines = [line.strip() for line in head.text.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    meme = bool(lines) and lines[0].startswith("MEME version")
    matrix = len(lines) > 1 and lines[0][0] == ">" and re.match(r"([ACGT]\s*\[?\s*)?[\d.]", lines[1])
    if not meme and not matrix:
        return None
    from dnalm.formats.motif import read_motifs

    found = list(read_motifs(path))
    facts: dict[str, Any] = {"motifs": len(found), "names": [motif.name for motif in found[:NAMES]]}
    command = labels_from("motif", path)[0]
    if len(found) == 1:
        facts |= {"bases": len(found[0].probabilities), "threshold_nats": found[0].threshold}
    else:
        command += " --name NAME"
    if found[0].threshold is None:
        command += " --pvalue 1e-4"
    return Finding("motif", "motifs, as matrices of probabilities", size | known(facts), [command])


def results(path: Path, content: dict[str, Any]) -> Finding:
    """Describe results_NAME.json."""
    name = str(content.get("name"))
    model, training = inside(content, "model") or {}, inside(content, "training") or {}
    facts = {
        **{key: inside(model, key) for key in ("kind", "tune", "both_strands", "random_core", "core")},
        **{key: inside(model, key) for key in ("parameters", "trained_parameters")},
        "split": inside(content, "split", "kind"),
        **(inside(content, "split", "windows") or {}),
        "judged_on": inside(content, "split", "part"),
        **_scores(inside(content, "scores")),
        **{key: inside(training, key) for key in ("epochs", "best_epoch", "seconds")},
    }
    commands = [dnalm("compare", path.parent), *_evaluations(path.parent, [name])]
    return Finding("binding-results", f"results of the binding model {name}", known(facts), commands)


def evaluation(path: Path, content: dict[str, Any]) -> Finding:
    """Describe what `dnalm evaluate --out` wrote."""
    facts: dict[str, Any] = {"judged_on": content.get("part"), "split": inside(content, "split", "kind")}
    facts |= {"windows": content.get("windows"), "bases": content.get("bases")}
    for name, one in ((inside(content, "models") or {}) | (inside(content, "baselines") or {})).items():
        facts[name] = _scores(inside(one, "scores"))
    pairs = inside(content, "pairs") or []
    differences = [
        f"{inside(pair, 'one')} less {inside(pair, 'other')}: {in_words(pair)}"
        for pair in pairs
        if in_words(pair) is not None
    ]
    facts["differences_in_r"] = differences or None
    return Finding(
        "binding-evaluation",
        "binding models judged side by side",
        known(facts),
        [dnalm("compare", path.parent)],
    )


def binding_models(path: Path) -> Finding | None:
    """Describe a folder of binding models: --out of `dnalm finetune` and `dnalm baseline`, or published."""
    trained = {found.stem.removeprefix("results_"): found for found in sorted(path.glob("results_*.json"))}
    evaluations = sorted(path.glob("evaluation_*.json"))
    published = sorted(found for pattern in PUBLISHED for found in path.glob(pattern))
    runs = {
        found.parent.name: record(found)
        for found in sorted(path.glob("*/run.json"))
        if inside(read_json(found), "verb") in ("finetune", "baseline")
    }
    if not (trained or evaluations or published or runs):
        return None
    facts: dict[str, Any] = {}
    for name in sorted(trained.keys() | runs.keys()):
        content = read_json(trained[name]) if name in trained else {}
        status = {"status": runs[name].facts.get("status")} if name in runs else {}
        judged = {"judged_on": inside(content, "split", "part"), **_scores(inside(content, "scores"))}
        facts[name] = known(status | judged)
    facts["models"] = [found.name for found in published]
    if evaluations:
        facts["evaluations"] = [found.name for found in evaluations]
    commands = [dnalm("compare", path)] if trained or evaluations else []
    commands += _evaluations(path, sorted(trained.keys() | runs.keys()))
    if not runs:
        commands += [dnalm("evaluate", found) for found in published]
    commands += [command for one in runs.values() for command in one.next]
    return Finding("binding-models", "binding models and their results", facts, commands)


def _evaluations(folder: Path, names: list[str]) -> list[str]:
    """Return a command for each model that is in `folder`."""
    return [
        evaluate(folder / name)
        for name in names
        if (folder / name / "checkpoint" / "checkpoint.json").is_file()
    ]


def _scores(scores: Any) -> dict[str, Any]:
    return known(
        {"pearson_r": in_words(inside(scores, "pearson_r"))}
        | {name: inside(scores, name) for name in ("mse", "auroc", "auprc")}
    )
