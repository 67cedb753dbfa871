"""How well frozen states of the bases before a gene predict its expression, beside k-mers.

python runs/expression.py CORE... --genome FASTA --annotation GFF --genes TABLE --out FOLDER

CORE: folders of language models. Each gene has the mean of the last layer's states over the `--upstream`
bases before it, on both strands; a ridge regression predicts its expression, with the penalty that
cross-validation on the training genes chooses. Test genes are those on the contigs `--test-contigs`, which
the models must not have been trained on. Beside each core stands an untrained one of its shape, and beside
all the counts of k-mers of 1 to `--k` bases. TABLE, gzip, has the columns gene and expression, on a log
scale. `--every N` takes each N-th gene. Writes FOLDER/run.json.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dnalm
from dnalm.bootstrap import Numbers, moments, paired_difference, pearson_estimate
from dnalm.data.labels import contigs_by_name, rename_rule
from dnalm.dna import NOT_A_BASE, encode, other_strand
from dnalm.files import sha256
from dnalm.formats.gff import Gff
from dnalm.formats.indexed import IndexedGenome
from dnalm.models.core import load_core
from dnalm.models.gpt import GPT
from dnalm.models.language import LanguageModel
from dnalm.models.local_start import start_local
from dnalm.record import Record
from dnalm.report.pages import Table
from dnalm.report.sentences import interval

Array = npt.NDArray[np.floating]
PENALTIES = np.logspace(-1, 5, 25)
KMERS = "k-mers"


class Gene(NamedTuple):
    """A gene with a known expression."""

    contig: str
    upstream: str  # The bases before it, along its strand
    expression: float


def read_genes(genome: IndexedGenome, annotation: Path, table: Path, bases: int) -> Iterator[Gene]:
    """Yield the genes of the table that the annotation has with `bases` bases before them."""
    with gzip.open(table, "rt") as file:
        rows = csv.DictReader(file, delimiter="\t")
        expression = {row["gene"]: float(row["expression"]) for row in rows if row["expression"]}
    named = contigs_by_name(genome.lengths, rename_rule("chr"))
    for feature in Gff(annotation):
        name, contig = feature.first("ID"), named.get(feature.contig)
        if feature.kind != "gene" or name not in expression or contig is None:
            continue
        plus = feature.strand == "+"
        start = feature.start - bases if plus else feature.end
        if start >= 0 and start + bases <= genome.lengths[contig]:
            letters = genome.letters(contig, start, start + bases).upper()
            yield Gene(contig, letters if plus else other_strand(letters), expression[name])


def mean_states(model: dnalm.LanguageModel, texts: Sequence[str]) -> Array:
    """Return the mean state of each text on both strands, [N, 2 D]."""
    return np.hstack([model.embed(texts), model.embed([other_strand(text) for text in texts])])


def untrained(core: Path) -> dnalm.LanguageModel:
    """Return a model of the same shape as a core, as its training began."""
    model, known = dnalm.load(core), load_core(core, None)
    torch.manual_seed(0)
    model.module = LanguageModel(known.encoder, model.tokenizer.vocab_size).eval()
    if known.local_start and isinstance(model.module.transformer, GPT):
        start_local(model.module.transformer)
    return model


def kmer_counts(texts: Sequence[str], longest: int) -> Array:
    """Return how often each text has each word of 1 to `longest` bases, [N, 4 + 16 + ...]."""
    rows = []
    for text in texts:
        codes, counts = encode(text).astype(np.int64), []
        for k in range(1, longest + 1):
            words = np.lib.stride_tricks.sliding_window_view(codes, k)  # [.., k]
            known = words[(words != NOT_A_BASE).all(axis=1)]
            counts.append(np.bincount(known @ 4 ** np.arange(k), minlength=4**k))
        rows.append(np.concatenate(counts))
    return np.array(rows, dtype=np.float64)


def main() -> None:
    """Fit, evaluate on the test genes, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cores", type=Path, nargs="+")
    for name in ("genome", "annotation", "genes", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--test-contigs", default="XV,XVI")
    parser.add_argument("--upstream", type=int, default=1000)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    with IndexedGenome(options.genome) as genome:
        genes = list(read_genes(genome, options.annotation, options.genes, options.upstream))[
            :: options.every
        ]
    held = np.isin([gene.contig for gene in genes], options.test_contigs.split(","))
    if held.all() or not held.any():
        sys.exit(f"{options.annotation}: expected genes on {options.test_contigs} and on other contigs")
    texts, truth = [gene.upstream for gene in genes], np.array([gene.expression for gene in genes])
    files = {name: sha256(getattr(options, name)) for name in ("genome", "annotation", "genes")}
    recipe = {name: getattr(options, name) for name in ("test_contigs", "upstream", "k", "every")}
    options.out.mkdir(parents=True, exist_ok=True)
    record = Record(options.out / "run.json", "expression", recipe=recipe, seed=0, data=files, device="cpu")
    record.content["command"] = ["runs/expression.py", *sys.argv[1:]]

    def score(features: Array) -> Numbers:
        """Return the moments of the test genes, [N, 6]."""
        ridge = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(features[~held], truth[~held])
        return moments(truth[held, None], ridge.predict(features[held])[:, None])

    with record.ending():
        sums = {KMERS: score(kmer_counts(texts, options.k))}
        for core in options.cores:
            name = core.parent.name
            sums[name] = score(mean_states(dnalm.load(core), texts))
            sums[f"{name}, untrained"] = score(mean_states(untrained(core), texts))
        counts = {"train": int((~held).sum()), "test": int(held.sum())}
        rows = {
            name: {
                "r": pearson_estimate(one)._asdict(),
                "minus_kmers": paired_difference(one, sums[KMERS])._asdict(),
            }
            for name, one in sums.items()
        }
        names = [core.parent.name for core in options.cores]
        gaps = {name: paired_difference(sums[name], sums[f"{name}, untrained"])._asdict() for name in names}
        record.finish("done", {"genes": counts, "scores": rows, "minus_untrained": gaps})
    lines = [[name, interval(pearson_estimate(one))] for name, one in sums.items()]
    print(Table(f"Pearson R of {counts['test']:,} test genes.", ["", "R"], lines).text())


if __name__ == "__main__":
    main()
