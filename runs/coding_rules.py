"""Rules that know what a gene is, on the test windows of a label curve of coding bases.

python runs/coding_rules.py CURVE... --genome FASTA --sequences FILE --scores FILE --out FOLDER

CURVE is label_curve_NAME.json of `dnalm finetune --label-fractions`, with label_curve_NAME/ beside it;
several are of the same core, models, seeds and windows, fewer labels first, and become one. Three rules
predict which bases code on strand +: the longest reading frame without a stop inside the window, the same
less that of strand -, and open reading frames of 450 bases or more on the whole genome. They and the
dilated CNN of each larger number of labels stand beside the models at each number of labels, with paired
intervals as of the curve. Writes FOLDER/run.json and FOLDER/coding.png.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dnalm.bootstrap import Numbers, moments
from dnalm.data.binding import SplitConfig, read_split_set
from dnalm.data.labelling import read_contigs
from dnalm.dna import COMPLEMENT
from dnalm.evaluate.baselines.reading_frames import longest_frames, open_reading_frames
from dnalm.evaluate.label_curve import curve_statistics, sum_stretches
from dnalm.files import finite, sha256
from dnalm.formats.binding import BindingSet, Scores, parse_name
from dnalm.formats.fasta import Source
from dnalm.record import Record, read_record
from dnalm.report.figures import save_all
from dnalm.report.label_curve import label_curve
from dnalm.report.pages import Table
from dnalm.report.sentences import interval
from dnalm.results import decode, read
from dnalm.results.labels import PRETRAINED, RULE, LabelCurve
from dnalm.train.label_curve import read_moments

LEAST = 450
"""Bases of an open reading frame."""
OF_MORE = "dilated CNN of "
COLUMNS = ("windows", "validation_windows", "bases")
TITLE = "coding bases of strand +"


def predictions(windows: BindingSet, genome: Path) -> dict[str, Scores]:
    """Return what each rule predicts for the windows, [N, L]."""
    places = [parse_name(name) for name in windows.names]
    with closing(Source(genome)) as source:
        frames = {name: open_reading_frames(letters, LEAST) for name, letters in read_contigs(source)}
    plus = longest_frames(windows.letters)
    minus = longest_frames(COMPLEMENT[windows.letters][:, ::-1])[:, ::-1]
    inside = np.stack([frames[contig][start:end] for contig, start, end in places])
    return {
        f"{RULE}: frame in the window, + less -": plus - minus,
        f"{RULE}: frame in the window, +": plus,
        f"{RULE}: ORF of {LEAST} on the genome": inside.astype(np.float32),
    }


def with_rules(
    curves: Sequence[LabelCurve], sums: dict[str, Numbers], test: BindingSet, genome: Path
) -> dict[str, Any]:
    """Return curves as one, the rules and the dilated CNN of more labels in it too."""
    columns = {name: [each for one in curves for each in getattr(one, name)] for name in COLUMNS}
    windows, shape, others = columns["windows"], sums[PRETRAINED].shape, {}
    for at, size in enumerate(windows[1:], 1):
        others[f"{OF_MORE}{size:,} windows"] = sums["dilated CNN"][at : at + 1]
    for name, track in predictions(test, genome).items():
        others[name] = sum_stretches(moments(test.scores, track), test.names)[None, None]
    every = sums | {name: np.broadcast_to(each, shape) for name, each in others.items()}
    found = curve_statistics(every, columns["bases"])
    found["saving"] = curve_statistics(sums, columns["bases"])["saving"]  # rules do not need labels
    content: dict[str, Any] = finite(asdict(curves[0]) | {"name": TITLE} | columns | found)
    return content


def table(curve: LabelCurve) -> Table:
    """Return a row for each model: its scores, and the pretrained model's less them."""
    bases = [f"{each:,} bases" for each in curve.bases]
    rows = []
    for name, scores in curve.scores.items():
        gaps = [interval(each, "+") for each in curve.minus.get(name, [])]
        rows.append([name, *map(interval, scores), *(gaps or [""] * len(bases))])
    return Table("Pearson R of the test part.", ["", *bases, *(f"ahead, {each}" for each in bases)], rows)


def main() -> None:
    """Evaluate the rules, print the table, and write the record and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("curve", type=Path, nargs="+")
    for name in ("genome", "sequences", "scores", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    curves = [read(path, LabelCurve) for path in options.curve]
    first, sizes = curves[0], [size for one in curves for size in one.windows]
    same = {(one.core, one.split.digest, tuple(one.seeds), tuple(one.scores)) for one in curves}
    if len(same) > 1 or sizes != sorted(set(sizes)):
        sys.exit("the curves must be of one core, the same windows, seeds and models, fewer labels first")
    data = read_split_set(options.sequences, options.scores, SplitConfig(), None)
    if data.about["digest"] != first.split.digest:
        sys.exit(f"{options.curve[0]}: its models were trained on other windows, or with another split")
    options.out.mkdir(parents=True, exist_ok=True)
    about = {
        "genome": sha256(options.genome),
        "files": data.about["files"],
        "curves": [sha256(path) for path in options.curve],
    }
    path = options.out / "run.json"
    training = [read_record(each.with_name(f"run_{each.name}")) for each in options.curve]
    about_training = [{key: one[key] for key in ("command", "recipe", "timings")} for one in training]
    recipe = {"least": LEAST, "training": about_training}
    record = Record(path, "coding rules", recipe=recipe, seed=0, data=about, device="cpu")
    record.content["command"] = ["runs/coding_rules.py", *sys.argv[1:]]
    with record.ending():
        test, models = data.part("test"), [name for name in first.scores if name != RULE]
        parts = [
            read_moments(each.with_suffix(""), models, one.windows, one.seeds, test.names)
            for each, one in zip(options.curve, curves, strict=True)
        ]
        sums = {name: np.concatenate([part[name] for part in parts]) for name in models}
        metrics = with_rules(curves, sums, test, options.genome)
        record.finish("done", metrics)
    beside = decode(metrics, LabelCurve, path)
    print(table(beside).text())
    scores, minus = (
        {name: found for name, found in each.items() if not name.startswith(OF_MORE)}
        for each in (beside.scores, beside.minus)
    )
    shown = partial(label_curve, replace(beside, scores=scores, minus=minus))
    save_all({options.out / "coding.png": shown}, print)


if __name__ == "__main__":
    main()
