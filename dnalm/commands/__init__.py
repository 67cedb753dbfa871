"""The verbs: one file each, and this table of them, from which `dnalm --help` is written."""

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb: the module with its `Options` and `run`, a line for the help, and the help's section."""

    module: str
    summary: str
    section: str


PAIRED = "Genes and molecules"
VERBS: dict[str, Verb] = {
    "fetch": Verb("dnalm.commands.fetch", "list or download public data sets, checked by SHA-256", "Data"),
    "prepare": Verb("dnalm.commands.prepare", "cut a genome (FASTA, .gz, .2bit) into tokens", "Data"),
    "label": Verb("dnalm.commands.label", "score a genome base by base: a motif, peaks or tracks", "Data"),
    "pretrain": Verb(
        "dnalm.commands.pretrain", "train a GPT on it, beside Markov models of the same bases", "Models"
    ),
    "finetune": Verb(
        "dnalm.commands.finetune", "train it on a score at each base, such as TF binding", "Models"
    ),
    "baseline": Verb(
        "dnalm.commands.baseline", "train the CNN that it must beat, on the same windows", "Models"
    ),
    "evaluate": Verb("dnalm.commands.evaluate", "score binding models on windows, side by side", "Models"),
    "compare": Verb(
        "dnalm.commands.compare", "say which run of some folders is better, with a page", "Models"
    ),
    "interact prepare": Verb(
        "dnalm.commands.interact_prepare", "clean pairs, split them, draw negatives, report leakage", PAIRED
    ),
    "interact check": Verb(
        "dnalm.commands.interact_check", "open the encoders, take one step: does it all work here?", PAIRED
    ),
    "interact train": Verb(
        "dnalm.commands.interact_train", "train a model: original, or cross-attention", PAIRED
    ),
    "interact evaluate": Verb(
        "dnalm.commands.interact_evaluate", "score models beside a ladder of baselines", PAIRED
    ),
    "interact compare": Verb("dnalm.commands.interact_compare", "one table and page of several runs", PAIRED),
    "interact screen": Verb(
        "dnalm.commands.interact_screen", "rank molecules for a gene, or genes for a molecule", PAIRED
    ),
    "info": Verb("dnalm.commands.info", "say what a file or folder is and what to do with it", "Around them"),
    "demo": Verb(
        "dnalm.commands.demo", "all of it on a simulated genome, in minutes, with a report", "Around them"
    ),
}

GROUPS = {"interact": "pair genes with molecules: do they interact?"}
"""First words of verbs of two, with a line for the help."""
