"""Are language models of one genome different? Bits per base at the same positions, in pairs.

python runs/paired_bits.py CORE... --data FOLDER [--bases N] --out FOLDER

CORE: folders of language models, causal or masked, of one vocabulary. DATA: a folder of `dnalm prepare`
whose validation part none was trained on. All are evaluated at the positions by which masked models are, one
base in 20 of about N validation bases (0: all). Each difference, the first model's bits less the second's,
has an interval that resamples pieces of the genome. Writes FOLDER/run.json.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import dnalm
from dnalm.bootstrap import Estimate
from dnalm.evaluate.language import LanguageScores, interval, score
from dnalm.genome.folder import PreparedGenome
from dnalm.record import Record
from dnalm.report.pages import Table
from dnalm.report.sentences import interval as written


def fixed_bits(core: Path, genome: PreparedGenome, bases: int) -> LanguageScores:
    """Return what a model spends at the fixed positions of each piece."""
    model = dnalm.load(core)
    if not isinstance(model, dnalm.LanguageModel):
        sys.exit(f"{core}: expected a language model")
    found = score(model.module, genome, "val", bases, model.block_size, masked=not model.causal)
    assert found.fixed_bits is not None
    assert found.fixed_bases is not None
    return LanguageScores(found.nats_per_token, found.fixed_bits, found.fixed_bases)


def as_dicts(estimates: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Return estimates as a record has them."""
    return {name: each._asdict() for name, each in estimates.items()}


def main() -> None:
    """Evaluate, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cores", type=Path, nargs="+")
    for name in ("data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--bases", type=int, default=0)
    options = parser.parse_args()
    genome, names = PreparedGenome(options.data), [core.parent.name for core in options.cores]
    options.out.mkdir(parents=True, exist_ok=True)
    data = {"name": genome.mode, "digest": genome.digest, "split": genome.meta["split"]}
    recipe = {"bases": options.bases}
    record = Record(options.out / "run.json", "paired bits", recipe=recipe, seed=0, data=data, device="cpu")
    record.content["command"] = ["runs/paired_bits.py", *sys.argv[1:]]
    with record.ending():
        scores = [fixed_bits(core, genome, options.bases) for core in options.cores]
        own = {
            name: Estimate(one.bits_per_base, *interval(one.bits, one.bases))
            for name, one in zip(names, scores, strict=True)
        }
        gaps = {
            f"{name} - {other}": Estimate(
                one.bits_per_base - two.bits_per_base, *interval(one.bits - two.bits, one.bases)
            )
            for (name, one), (other, two) in combinations(zip(names, scores, strict=True), 2)
        }
        bases = int(scores[0].bases.sum())
        record.finish("done", {"bases": bases, "bits": as_dicts(own), "minus": as_dicts(gaps)})
    rows = [[name, written(each, "+" if name in gaps else "")] for name, each in (own | gaps).items()]
    print(Table(f"Bits per base at {bases:,} masked positions.", ["", "bits"], rows).text())


if __name__ == "__main__":
    main()
