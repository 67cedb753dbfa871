"""`dnalm finetune --label-fractions`: how many labels does pretraining save?"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from dnalm.commands import baseline
from dnalm.commands.progress import progress_bar
from dnalm.commands.runs import forecast, prepare_process
from dnalm.data.binding import read_split_set
from dnalm.errors import InputError, counted
from dnalm.files import finite, sha256
from dnalm.formats.binding import read_binding
from dnalm.report.figures import save_all
from dnalm.report.label_curve import curve_findings, label_curve, score_table
from dnalm.results import decode
from dnalm.results.labels import PRETRAINED, LabelCurve
from dnalm.train.binding_start import start_from_core
from dnalm.train.label_curve import CurveModel, PointCurve, parse_fractions
from dnalm.train.run import Estimate

if TYPE_CHECKING:
    from dnalm.commands.finetune import Options


def run(options: "Options") -> None:
    """Train every model on every part of the labels, print the scores and what pretraining saves, and draw.

    Raises:
        InputError: for a mistake in the options, the core or the data, or too few windows.
    """
    if options.init_from is not None or options.random_core:
        raise InputError(
            "`label_fractions` trains from the core of `checkpoint_dir` and from an untrained one; leave "
            "`init_from` and `random_core` out"
        )
    if options.seeds < 1:
        raise InputError(f"`seeds` must be at least 1, got {options.seeds}")
    say, models = options.run.say, _models(options)
    start = models[PRETRAINED].start
    if start.caution:
        say(start.caution)
    data = read_split_set(options.sequences, options.scores, options.data, start.shape.longest)
    say(data.summary)
    sizes = parse_fractions(options.label_fractions, len(data.split.train))
    rule = None
    if options.rule is not None:
        rule = read_binding(options.sequences, options.rule).scores[data.split.test]
        file = {"name": options.rule.name, "path": str(options.rule), "sha256": sha256(options.rule)}
        data = replace(data, about=data.about | {"files": data.about["files"] | {"rule": file}})
    seeds = range(options.run.seed, options.run.seed + options.seeds)
    curve = PointCurve(options.name or options.config, models, sizes, seeds, data, rule)
    processor = prepare_process(options.run.compute, say)
    if options.run.dry_run:
        what = f"{counted(len(curve.points), 'model')} on parts of {len(data.split.train):,} windows"
        first = [point for point in curve.points if point.seed == options.run.seed]
        estimates = [curve.prepared(point, processor).estimate() for point in first]
        seconds = options.seeds * sum(each.seconds for each in estimates)
        memory = max(each.memory_bytes for each in estimates)
        disk = options.seeds * sum(each.disk_bytes for each in estimates)  # states stay to the end
        forecast(f"{what} into {curve.folder}", Estimate(seconds, memory, disk))
        return
    with progress_bar(quiet=options.run.quiet) as progress:
        results = curve.train(processor, options.run, say=say, progress=progress)
    if results is None:
        return
    found = decode(finite(results), LabelCurve, curve.results)
    print(score_table(found).text(), *curve_findings(found), sep="\n")
    drawn = save_all({curve.results.with_suffix(".png"): partial(label_curve, found)}, say)
    print(f"results {curve.results}", *(f"figure {path}" for path in drawn), sep="\n")


def _models(options: "Options") -> dict[str, CurveModel]:
    """Return the models of the curve: the CNNs by the recipe of `baseline`, as long as the others."""
    kinds: dict[str, Literal["cnn", "dilated"]] = {"CNN": "cnn", "dilated CNN": "dilated"}
    names = {"untrained": "untrained"} | {kind: name for name, kind in kinds.items()}
    chosen = options.compare_with.split(",")
    if not set(chosen) <= names.keys() or len(set(chosen)) < len(chosen):
        raise InputError(
            f"`compare_with`: expected some of {', '.join(names)}, each once, got {options.compare_with!r}"
        )
    head, tuning = options.head, options.tuning
    models = {}
    for name, random in ((PRETRAINED, False), ("untrained", True)):
        if name in (PRETRAINED, *chosen):
            start = start_from_core(options.checkpoint_dir, options.config, head, tuning, random_core=random)
            models[name] = CurveModel(options, start)
    length: dict[str, Any] = {
        name: getattr(options.train, name) for name in ("epochs", "patience", "batch_size", "accumulate")
    }
    for name, kind in kinds.items():
        if kind in chosen:
            base = replace(baseline.default_options(encoder=kind), kind=kind, head=head)
            config = replace(options, train=replace(base.train, **length))
            models[name] = CurveModel(config, base.start())
    return models
