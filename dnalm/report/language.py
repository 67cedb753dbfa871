"""The chapters on a genome and on language models of it: do they beat Markov models?"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dnalm.errors import counted
from dnalm.files import read_json
from dnalm.report.figures import duration, loss_curve, markov_ladder, time_comparison
from dnalm.report.pages import Chapter, Table, how_made, picture
from dnalm.report.read import LanguageRun, read_language
from dnalm.report.sentences import language_findings, paragraphs
from dnalm.results.language import LanguageMetrics

CONTIGS_SHOWN = 30


def language_chapter(folders: Sequence[Path]) -> Chapter:
    """Return the chapter on pretraining runs in some folders; raises InputError as `read_language` does."""
    runs = read_language(folders)
    metrics = {name: run.metrics for name, run in runs.items()}
    ladder = picture(
        partial(markov_ladder, metrics),
        "Interpolated count models of every order, trained and evaluated on the same bases as the language "
        "models. Lower is better; a band is the 95 % bootstrap interval of a language model.",
        "Bits per base of count models and language models",
    )
    curves = [
        picture(
            partial(loss_curve, one, f"Pretraining: {name}"),
            f"{name}: losses (left) and {one.measure.replace('_', ' ')} of the held-out bases (right) during "
            f"training. Lower is better; the dashed line is the best {_counts(one)} model.",
            f"Loss curves of {name}",
        )
        for name, one in metrics.items()
    ]
    seconds = {name: run.seconds for name, run in runs.items()}
    times = []
    if len(runs) > 1:
        caption = "Elapsed time of each training."
        times = [picture(partial(time_comparison, seconds), caption, "Training times")]
    return Chapter(
        title="Pretraining",
        findings=language_findings(metrics),
        tables=[_results(runs)],
        figures=[ladder, *curves, *times],
        paragraphs=paragraphs("language", runs=runs),
        details=[how_made(name, run.folder) for name, run in runs.items()],
    )


def _results(runs: Mapping[str, LanguageRun]) -> Table:
    """Return the table of results, a column a run."""
    any_masked = any(run.metrics.masked for run in runs.values())
    columns = [_column(run, any_masked) for run in runs.values()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    caption = "Results on the held-out bases; a gain below zero means that the count model is better."
    if not any_masked:
        caption = caption.replace("count model", "Markov model")
    return Table(caption, ["", *runs], rows, printed=True)


def _column(run: LanguageRun, any_masked: bool) -> dict[str, str]:
    """Return the rows of one run; `any_masked`: those that tell masked models from causal ones too."""
    m = run.metrics
    bits, best, fixed = m.bits, m.counts.best, m.at_fixed
    own = {"bits per base": "" if m.masked else f"{bits.value:.4f}"}
    counts, unit, order = "Markov", " (bits per base)", f"{best.order}"
    if any_masked:
        own |= {"bits per masked base": f"{bits.value:.4f}" if m.masked else ""}
        own |= {"bits per base at masked positions": "" if fixed is None else f"{fixed.value:.4f}"}
        counts, unit = "count", " (bits)"
        order = f"{_counts(m)}, {counted(best.order, 'base')} {'a side' if m.masked else 'to the left'}"
    return {
        "vocabulary": f"{m.vocab_size} tokens",
        **({"predicts": "masked bases" if m.masked else "the next token"} if any_masked else {}),
        "parameters": f"{m.parameters:,}",
        "trained on": f"{m.tokens:,} tokens in {counted(m.step, 'step')}",
        "time": duration(run.seconds),
        "lowest validation loss (nats per token)": f"{m.best_val_loss:.4f}",
        **own,
        "its 95 % interval": f"{bits.low:.4f} to {bits.high:.4f}",
        f"best {counts} model{unit}": f"{best.bits:.4f}",
        "its order": f"{order}, {'both strands' if best.strands == 2 else 'one strand'} counted",
        f"gain over it{unit}": f"{best.bits - bits.value:+.4f}",
    }


def _counts(metrics: LanguageMetrics) -> str:
    """Return the kind of the count models beside a run."""
    return "two-sided count" if metrics.masked else "Markov"


def genome_chapter(data: Path) -> Chapter:
    """Return the chapter on a genome that `dnalm prepare` has written, for example data/full."""
    meta = read_json(data / "meta.json")
    parts = {(True, False): "training", (False, True): "validation", (True, True): "both, cut in two"}
    rows = [
        [c["name"], f"{c['length']:,}", f"{c['bases']:,}"]
        + [parts.get((bool(c["train"]), bool(c["val"])), "none")]
        for c in meta["contigs"][:CONTIGS_SHOWN]
    ]
    first = f"; the first {CONTIGS_SHOWN}" if len(meta["contigs"]) > CONTIGS_SHOWN else ""
    table = Table(f"Contigs{first}", ["contig", "length", "A, C, G and T", "part"], rows)
    return Chapter("The genome", tables=[table], paragraphs=paragraphs("genome", meta=meta))
