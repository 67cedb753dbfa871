"""The verbs, a module each with `Options` and `run`, and this table, which `dnalm --help` is written from."""

SECTIONS = {
    "Data": {
        "fetch": "list or download public data sets, checked by SHA-256",
        "prepare": "cut a genome (FASTA, .gz, .2bit) into tokens",
        "label": "score a genome base by base: a motif, peaks or tracks",
    },
    "Models": {
        "pretrain": "train a GPT on it, beside Markov models of the same bases",
        "finetune": "train it on a score at each base, such as TF binding",
        "baseline": "train the CNN that it must beat, on the same windows",
        "evaluate": "score binding models on windows, side by side",
        "compare": "say which run of some folders is better, with a page",
    },
    "On your files": {
        "predict": "a track of a model's scores along a genome, as bigWig",
        "explain": "why a model predicts what it does: logos, maps, motifs",
        "variants": "score the variants of a VCF, and say what scores are worth",
        "score": "bits per base of sequences, and what a model knows of genes",
    },
    "Genes and molecules": {
        "interact prepare": "clean pairs, split them, draw negatives, report leakage",
        "interact check": "open the encoders, take one step: does it all work here?",
        "interact train": "train a model: original, or cross-attention",
        "interact evaluate": "score models beside a ladder of baselines",
        "interact compare": "one table and page of several runs",
        "interact screen": "rank molecules for a gene, or genes for a molecule",
    },
    "Around them": {
        "info": "say what a file or folder is and what to do with it",
        "demo": "all of it on a simulated genome, in minutes, with a report",
    },
}
"""A line for the help of each verb, by section."""
VERBS = {verb: line for section in SECTIONS.values() for verb, line in section.items()}
GROUPS = {"interact": "pair genes with molecules: do they interact?"}
"""First words of verbs of two, with a line for the help."""
