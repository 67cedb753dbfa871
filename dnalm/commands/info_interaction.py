"""What `dnalm info` says of genes and molecules: sets of pairs, models of them, results of models.

`dnalm interact compare` checks results in full; here what is there is told.
"""

from pathlib import Path
from typing import Any

from dnalm.commands.info_finding import Finding, dnalm, in_words, inside, known
from dnalm.record import read_record

PAIRS = "dnalm-pairs"
"""Format of the meta.json of prepared pairs."""
DATA = "data/pairs"
"""Where `dnalm interact` looks for pairs unless told."""


def pair_set(path: Path) -> Finding:
    """Describe a folder of `dnalm interact prepare`.

    Raises:
        InputError: if it is damaged.
    """
    from dnalm.data.pairs import open_pairs

    pairs = open_pairs(path)
    meta = pairs.meta
    facts: dict[str, Any] = {
        "split": meta.get("split"),
        "negatives": meta.get("negatives"),
        "ratio": meta.get("ratio"),
        "seed": meta.get("seed"),
        "genes": len(pairs.gene_ids),
        "molecules": len(pairs.smiles),
        **{name: dict(inside(meta, "parts", name) or {}) for name in pairs.parts},
        "sequences": meta.get("gene_kinds"),
        "rows_read": inside(meta, "counts", "read"),
        "pairs_kept": inside(meta, "counts", "kept"),
        "rows_dropped": inside(meta, "counts", "dropped"),
        "pairs_between_parts": inside(meta, "counts", "between_parts"),
        "sources": [inside(source, "name") for source in meta.get("sources") or []],
        "digest": pairs.digest,
    }
    commands = [
        dnalm("interact", "train", "--data", path),
        dnalm("interact", "evaluate", "--ladder-only", "--data", path),
    ]
    return Finding("pairs", "pairs of genes and molecules, prepared", known(facts), commands)


def evaluate_run(run: Path) -> str:
    """Return the command that judges a model on the pairs of its run, where these are known."""
    data = DATA
    if (run / "run.json").is_file():
        words = read_record(run / "run.json").get("command") or []
        given = [after for word, after in zip(words, words[1:], strict=False) if word == "--data"]
        given += [word.removeprefix("--data=") for word in words if word.startswith("--data=")]
        data = given[-1] if given else data
    return dnalm("interact", "evaluate", run, "--data", data, "--part", "test")


def results(path: Path, content: dict[str, Any]) -> Finding:
    """Describe results.json of `dnalm interact train`."""
    facts = {
        **{key: inside(content, "model", key) for key in ("kind", "parameters", "trained_parameters")},
        **_protocol(content),
        "judged_on": "validation",
        **_scores(inside(content, "validation")),
        "node_rate_auroc": inside(content, "node_rate_validation"),
        **{key: inside(content, "training", key) for key in ("epochs", "best_epoch", "seconds")},
    }
    commands = [evaluate_run(path.parent), dnalm("interact", "compare", path.parent)]
    title = f"results of the interaction model {content.get('name')}"
    return Finding("interaction-results", title, known(facts), commands)


def evaluation(path: Path, content: dict[str, Any]) -> Finding:
    """Describe what `dnalm interact evaluate --out` wrote."""
    facts: dict[str, Any] = {"judged_on": content.get("part"), **_protocol(content)}
    facts |= {key: content.get(key) for key in ("rows", "positives", "best_rung")}
    for name, one in ((inside(content, "models") or {}) | (inside(content, "ladder") or {})).items():
        facts[name] = _scores(inside(one, "scores"))
        behind = in_words(inside(one, "minus_best_rung"))
        facts[name] |= {"auroc_less_best_rung": behind} if behind else {}
    title = "interaction models judged beside the ladder of baselines"
    return Finding("interaction-evaluation", title, known(facts), [dnalm("interact", "compare", path.parent)])


def _protocol(content: dict[str, Any]) -> dict[str, Any]:
    return {key: content.get(key) for key in ("split", "negatives", "ratio", "seed")}


def _scores(scores: Any) -> dict[str, Any]:
    return known(
        {name: in_words(inside(scores, name)) for name in ("auroc", "auprc")}
        | {name: inside(scores, name) for name in ("prevalence", "brier", "ece")}
        | {name: inside(scores, name, "value") for name in ("auroc_per_gene", "auroc_per_molecule")}
    )
