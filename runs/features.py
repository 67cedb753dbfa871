#!/usr/bin/env python3
"""Which layers should a head read? The last one against a learned mix, whitened or not, of each kind of core.

    runs/features.py --causal FOLDER [--masked FOLDER] --sequences FILE --scores FILE --out FOLDER

FOLDER is --out of `dnalm pretrain`, in vocab4. Each core is frozen and has an untrained twin; a causal
core reads one strand or both. All heads are trained on the same windows and evaluated on the test part,
with paired intervals. Run it again to go on, with --masked too. Writes FOLDER/run.json.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from dnalm.commands.finetune import default_options
from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import prepare_process
from dnalm.data.binding import read_split_set
from dnalm.device import Compute
from dnalm.record import Record
from dnalm.results.labels import PRETRAINED
from dnalm.train.binding_start import start_from_core
from dnalm.train.label_curve import CurveModel, PointCurve
from dnalm.train.run import RunConfig

BATCH, EPOCHS, CHANNELS = 16, 10, 32
READ = (("mix", False), ("last", False), ("mix", True), ("last", True))
"""Features, and whether they are whitened; the last is for the causal core on both strands alone."""
FIRST = "causal on both strands, mix, pretrained"
"""What all others are compared with."""


def curve_models(options: argparse.Namespace) -> dict[str, CurveModel]:
    """Return the models by core, strands, features, and whether the core was pretrained."""
    base = default_options()
    head = replace(base.head, channels=CHANNELS)
    config = replace(
        base,
        sequences=options.sequences,
        scores=options.scores,
        out=options.out,
        augment=replace(base.augment, max_shift=0),
        train=replace(base.train, batch_size=BATCH, epochs=EPOCHS),
    )
    cores = [
        ("causal on both strands", options.causal, True),
        ("causal on one strand", options.causal, False),
    ]
    if options.masked:
        cores.append(("masked", options.masked, False))
    models = {}
    for core, folder, both in cores:
        for features, whiten in READ if both else READ[:-1]:
            for random in (False, True):
                what = f"{features}{' whitened' if whiten else ''}"
                name = f"{core}, {what}, {'untrained' if random else 'pretrained'}"
                tuning = replace(base.tuning, both_strands=both, features=features, whiten=whiten)
                start = start_from_core(folder, "vocab4", head, tuning, random_core=random)
                models[PRETRAINED if name == FIRST else name] = CurveModel(config, start)
    return models


def main() -> None:
    """Train what is not trained yet, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--causal", type=Path, required=True)
    parser.add_argument("--masked", type=Path)
    for name in ("sequences", "scores", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=2600, help="of the training part")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    models = curve_models(options)
    longest = min(each.start.shape.longest or 10**9 for each in models.values())
    data = read_split_set(options.sequences, options.scores, default_options().data, longest)
    curve = PointCurve("features", models, [options.windows], range(options.seeds), data)
    processor = prepare_process(Compute(threads=options.threads))
    recipe = {"batch_size": BATCH, "epochs": EPOCHS, "channels": CHANNELS, "first": FIRST}
    record = Record(
        options.out / "run.json", "features", recipe=recipe, seed=0, data=data.about, device=str(processor)
    )
    record.content["command"] = ["runs/features.py", *sys.argv[1:]]
    with record.ending():
        with progress_bar(quiet=False) as progress:
            metrics = curve.train(processor, RunConfig(resume=True), say=print, progress=progress)
        record.finish("done", metrics)
        curve.results.unlink()  # no label curve, for which `dnalm compare` would take it
    for name, (score,) in metrics["scores"].items():
        lead = metrics["minus"].get(name, [None])[0]
        print(f"{name:50}  {_text(score)}" + (f"  the first minus it {_text(lead)}" if lead else ""))


def _text(found: dict[str, float]) -> str:
    """Return a figure and its interval."""
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


if __name__ == "__main__":
    main()
