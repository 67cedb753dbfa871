"""`dnalm demo`: command lines on the genome of yeast, run one after the other, and a page of the results."""

import contextlib
import gzip
import importlib.util
import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TextIO

from dnalm.commands.runs import prepare_process
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.files import atomic_file, lock, need_space, write_text
from dnalm.genome.simulate import BEST_AUROC, GENES, MOLECULES, PAIRS, simulate_pairs

MARKER = ".dnalm-demo"  # marks a folder as a demo's own, so that it may be replaced
DISK = 300_000_000  # bytes a demo needs at most
GENOME, ANNOTATION, VARIANTS = (
    "yeast_R64-1-1.fa.gz",
    "yeast_genes_XV_XVI.gff3.gz",
    "yeast_promoter_snvs.vcf",
)
"""Files of dnalm/sample; their terms are in NOTICE."""
COMMANDS = """
prepare OUT/yeast.fa --out OUT/data --vocab vocab4 --val-contigs XV,XVI
pretrain --data OUT/data/vocab4 --out OUT/outputs {model} --steps {steps} --warmup {warmup} \
  --eval-every {eval_every} --checkpoint-every {steps} --eval-bases {eval_bases} --final-bases {final_bases} \
  SEED COMPUTE
score OUT/outputs/vocab4 --genome OUT/yeast.fa --annotation OUT/genes.gff3 --rename chr \
  --bases {scored_bases} --codons {codons} --out OUT/use/scores.tsv HARDWARE
label OUT/yeast.fa --annotation OUT/genes.gff3 --feature CDS --strand + --rename chr \
  --windows OUT/windows.bed --all --out OUT/data/coding
finetune --checkpoint-dir OUT/outputs --out OUT/models --name coding --both-strands --features last \
  --sequences OUT/data/coding/sequences.txt.gz --scores OUT/data/coding/scores.txt.gz \
  --label-fractions {labels} --compare-with untrained,cnn --seeds 1 --max-shift 0 --epochs {epochs} {head} \
  SEED COMPUTE
variants OUT/outputs/vocab4 --genome OUT/yeast.fa --vcf OUT/variants.vcf --allele-frequency AF \
  --window 160 --out OUT/use/scored.vcf.gz HARDWARE
"""
"""What the demo runs, without the program's name; words in capitals stand for more flags."""
PAIR_COMMANDS = """
interact prepare --pairs OUT/interaction/pairs.csv --genes OUT/interaction/genes.fa --out OUT/data/pairs SEED
interact train --model original --dna-encoder kmer --mol-encoder morgan --dna-length 600 \
  --data OUT/data/pairs --epochs {pair_epochs} --lr 1e-3 --min-lr 1e-3 \
  --out OUT/interactions/kmer-morgan SEED COMPUTE
interact evaluate OUT/interactions/kmer-morgan --data OUT/data/pairs --part test \
  --out OUT/interactions/evaluation_test.json COMPUTE
"""
"""What it runs besides where `INTERACTION` is installed."""
INTERACTION = ("rdkit", "h5py", "sklearn")
FLAGS = {
    "COMPUTE": "HARDWARE --precision {precision}",
    "HARDWARE": "--device {device} --threads {threads}",
    "SEED": "--seed {seed}",
}
TITLE = "dnalm demo: a language model of the yeast genome, and what it is for"
GENOME_TEXT = (
    "Baker's yeast, Saccharomyces cerevisiae, assembly R64-1-1; genes by SGD (CC BY 4.0). Chromosomes XV and "
    "XVI are held out of pretraining: all scores of this page are of them, and so are the labels."
)
LABELS_TEXT = (
    "The task: which bases of chromosome XV code for protein on strand +, as the annotation has them? It "
    "stands for any track of which few windows are labelled. The pretrained model is frozen, and only a "
    "small head on it is trained, as on the untrained model of the same shape."
)
PAIRS_TEXT = (
    f"These pairs are simulated, so that the truth is known: {PAIRS:,} pairs of {GENES} genes and "
    f"{MOLECULES} molecules. Each gene holds one of two motifs, each molecule one of two fragments; nine of "
    "ten pairs are positive where the two belong together, and one of ten where they do not. Neither side "
    f"alone predicts anything, and the rule itself has an AUROC of {BEST_AUROC:g}."
)


@dataclass(frozen=True)
class Scale:
    """How large the demo is: minutes of two cores."""

    model: str = "--n-layer 3 --n-head 4 --n-embd 64 --block-size 300 --batch-size 16 --lr 6e-3 --beta2 0.98"
    """A GPT of 0.15 million parameters: the best found for 90 seconds of two cores."""
    eval_bases: int = 25_600
    final_bases: int = 100_000
    scored_bases: int = 50_000
    codons: int = 300
    windows: tuple[str, int, int] = ("XV", 30_000, 1_080_000)
    """Contig, start and end of the labelled windows, 300 bases each."""
    labels: str = "80,320"
    head: str = "--batch-size 16 --patience 4 --channels 16 --kernel 31 --head-dropout 0.5"
    pair_epochs: int = 3


@dataclass(frozen=True)
class Options:
    """Pretrain on the yeast genome, label, fine-tune, score variants, and write a report: in minutes."""

    out: Path = Path("demo")  # Where everything goes; an earlier demo there is replaced.
    steps: int = 480  # Pretraining steps.
    epochs: int = 8  # Epochs of each model of the label curve.
    compute: Compute = field(default_factory=Compute)
    seed: int = 0  # Of the weights, the batches and the simulated pairs.
    dry_run: bool = False  # Print the commands, and stop.
    quiet: bool = False  # No progress and no messages.


def run(options: Options, scale: Scale | None = None) -> None:
    """Run the demo's commands and write OUT/report.html; what the commands print goes to OUT/demo.log.

    Raises:
        InputError: if OUT holds something else than a demo, or an option is out of range.
    """
    scale = scale or Scale()
    missing = [name for name in INTERACTION if importlib.util.find_spec(name) is None]
    commands = command_lines(options, scale, with_pairs=not missing)
    _check(options)
    if options.dry_run:
        for words in commands:
            print("dnalm", words[0], shlex.join(words[1:]))
        print(f"minutes, less than 2 GB of memory, at most {DISK / 1e6:,.0f} MB of disk; nothing was written")
        return
    need_space(options.out, DISK)
    report = options.out / "report.html"
    with lock(options.out):
        write_text(options.out / MARKER, "dnalm demo may replace what is in this folder\n")
        report.unlink(missing_ok=True)  # no old report beside new results, if this run is interrupted
        with (options.out / "demo.log").open("w", encoding="utf-8") as log:
            steps = len(commands) + 2
            with _step(options, log, f"1/{steps} write the yeast genome and its files"):
                _write_files(options.out, scale)
                if not missing:
                    simulate_pairs(options.out / "interaction", options.seed)
            from dnalm.cli import execute  # the door that every command comes through

            for number, words in enumerate(commands, 2):
                shown = " ".join(word for word in words[:3] if not word.startswith("--"))
                with _step(options, log, f"{number}/{steps} {shown}"):
                    code = execute(words)
                    assert code == 0, f"{words} ended with {code}; see demo.log"
            with _step(options, log, f"{steps}/{steps} write the report"):
                findings = _write_report(options.out, report, with_pairs=not missing)
    if missing and not options.quiet:
        extra = 'pip install "dnalm[interaction]"'
        print(f"no pairs of genes and molecules: {' and '.join(missing)} not found; {extra}", file=sys.stderr)
    print("\n".join(findings))
    print(report)


def command_lines(options: Options, scale: Scale, *, with_pairs: bool = True) -> list[list[str]]:
    """Return the commands of the demo as lists of words, without the program's name, in their order."""
    values = asdict(scale) | asdict(options) | asdict(options.compute)
    values["warmup"], values["eval_every"] = options.steps // 16, max(1, options.steps // 4)
    commands = []
    text = COMMANDS + PAIR_COMMANDS.lstrip() * with_pairs
    for line in text.replace("\\\n", "").strip().splitlines():
        for name, flags in FLAGS.items():
            line = re.sub(rf"\b{name}\b", flags, line)
        words = [word.replace("OUT", str(options.out)) for word in line.format(**values).split()]
        group, name, *others = words
        words = [f"{group} {name}", *others] if group == "interact" else words
        commands.append([*words, "--overwrite", "--quiet"])
    return commands


def _write_files(out: Path, scale: Scale) -> None:
    """Write the genome, its genes and variants as plain text, and the windows to label."""
    sample = resources.files("dnalm") / "sample"
    for name, path in ((GENOME, "yeast.fa"), (ANNOTATION, "genes.gff3"), (VARIANTS, "variants.vcf")):
        content = (sample / name).read_bytes()
        with atomic_file(out / path) as file:
            file.write(gzip.decompress(content) if name.endswith(".gz") else content)
    contig, first, last = scale.windows
    rows = (f"{contig}\t{start}\t{start + 300}\n" for start in range(first, last - 299, 300))
    write_text(out / "windows.bed", "".join(rows))


def _check(options: Options) -> None:
    """Refuse a folder that is not a demo's, and values out of range."""
    if options.steps < 1 or options.epochs < 1:
        raise InputError(f"`steps` and `epochs` must be at least 1, got {options.steps} and {options.epochs}")
    prepare_process(options.compute)
    out = options.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder or nothing, got a file; choose another --out")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names - {".lock"} and MARKER not in names:
        raise InputError(f"{out}: holds other files than a demo's; choose another --out")


def _write_report(out: Path, report: Path, *, with_pairs: bool) -> list[str]:
    """Write the page of all results, and return its findings."""
    from dnalm.report.label_curve import label_chapter
    from dnalm.report.language import genome_chapter, language_chapter
    from dnalm.report.pages import write_page
    from dnalm.report.pairs import pair_chapter
    from dnalm.report.score import score_chapter
    from dnalm.report.variants import variants_chapter

    genome, labels = genome_chapter(out / "data" / "vocab4"), label_chapter([out / "models"])
    genome = replace(genome, title="The yeast genome", paragraphs=[GENOME_TEXT, *genome.paragraphs])
    labels = replace(labels, paragraphs=[LABELS_TEXT, *labels.paragraphs])
    used = [out / "use"]
    chapters = [language_chapter([out / "outputs"]), score_chapter(used), labels, variants_chapter(used)]
    if with_pairs:
        pairs = pair_chapter([out / "interactions"])
        chapters.append(replace(pairs, paragraphs=[PAIRS_TEXT, *pairs.paragraphs]))
    write_page([*chapters, genome], report, TITLE)
    return [finding for chapter in chapters for finding in chapter.findings[:1]]


@contextlib.contextmanager
def _step(options: Options, log: TextIO, what: str) -> Iterator[None]:
    """Print one line for a step with its time; all that the step prints goes to the log."""
    begin = time.monotonic()
    shown = None if options.quiet else sys.stderr
    print(f"\n== {what}", file=log, flush=True)
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
    if shown:
        print(f"{what:<60} {time.monotonic() - begin:6.1f} s", file=shown, flush=True)
