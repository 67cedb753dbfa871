"""`dnalm demo`: command lines on simulated data, run one after the other, and a page of the results."""

import contextlib
import importlib.util
import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TextIO

import pysam

from dnalm.commands.runs import prepare_process
from dnalm.device import Compute
from dnalm.dna import encode
from dnalm.errors import InputError
from dnalm.files import lock, need_space, write_text
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.motif import choose_motif
from dnalm.formats.track_writer import write_track
from dnalm.genome.motif_scan import log_odds, site_scores, site_threshold
from dnalm.genome.simulate import (
    BEST_AUROC,
    GENES,
    MOLECULES,
    PAIRS,
    GenomeTruth,
    simulate_genome,
    simulate_pairs,
    simulate_variants,
)

MARKER = ".dnalm-demo"  # marks a folder as a demo's own, so that it may be replaced
DISK = 500_000_000  # bytes a demo needs at most
COMMANDS = """
prepare OUT/genome.fa --out OUT/data
pretrain --data OUT/data/full --out OUT/outputs PRETRAIN
pretrain --data OUT/data/vocab4 --out OUT/outputs PRETRAIN
label OUT/genome.fa MOTIF --window {window} --out OUT/data/binding
finetune --config vocab4 --both-strands --checkpoint-dir OUT/outputs --out OUT/models WINDOWS FIT
finetune --config vocab4 --both-strands --checkpoint-dir OUT/outputs --out OUT/models WINDOWS FIT \
  --random-core
baseline --out OUT/models WINDOWS FIT
evaluate OUT/models/vocab4 OUT/models/vocab4_random OUT/models/baseline WINDOWS MOTIF --part test \
  --out OUT/models/evaluation_test.json COMPUTE
predict OUT/models/baseline --genome OUT/genome.fa --regions OUT/use/regions.bed \
  --truth OUT/use/truth.bedgraph --out OUT/use/track.bw HARDWARE
variants OUT/models/baseline --genome OUT/genome.fa --vcf OUT/use/variants.vcf \
  --out OUT/use/scored.vcf.gz HARDWARE
explain OUT/models/baseline --genome OUT/genome.fa --regions OUT/use/regions.bed --motifs OUT/motif.meme \
  --sites OUT/genome.sites.bed --pictures 2 --out OUT/use/explained HARDWARE
interact prepare --pairs OUT/interaction/pairs.csv --genes OUT/interaction/genes.fa --out OUT/data/pairs SEED
interact train --model original --dna-length 300 --out OUT/interactions/original PAIRS --epochs {half_epochs}
interact train --model original --dna-encoder kmer --mol-encoder morgan --dna-length 600 \
  --out OUT/interactions/kmer-morgan PAIRS
interact train --model foundation --out OUT/interactions/foundation CORE PAIRS
interact train --model foundation-pooled --out OUT/interactions/foundation-pooled CORE PAIRS
interact evaluate OUT/interactions/original OUT/interactions/kmer-morgan OUT/interactions/foundation \
  OUT/interactions/foundation-pooled --data OUT/data/pairs --part test \
  --out OUT/interactions/evaluation_test.json COMPUTE
interact screen OUT/interactions/foundation --gene 1000 --data OUT/data/pairs --top 3 \
  --out OUT/interactions/screen.tsv --attention OUT/interactions/attention COMPUTE
"""
"""What the demo runs, without the program's name; words in capitals stand for more flags."""
FLAGS = {
    "PRETRAIN": "{model} --steps {steps} --warmup {warmup} --lr 2e-3 --min-lr 2e-4 --eval-every {eval_every} "
    "--checkpoint-every {steps} --eval-bases {eval_bases} SEED COMPUTE",
    "CORE": "--dna-encoder OUT/outputs/vocab4 --mol-encoder morgan {attention}",
    "PAIRS": "--data OUT/data/pairs --epochs {pair_epochs} --lr 1e-3 --min-lr 1e-3 SEED COMPUTE",
    "MOTIF": "--motif OUT/motif.meme --pvalue {pvalue}",
    "WINDOWS": "--sequences OUT/data/binding/sequences.txt.gz --scores OUT/data/binding/scores.txt.gz",
    "FIT": "--epochs {epochs} --gap {gap} SEED COMPUTE",
    "COMPUTE": "HARDWARE --precision {precision}",
    "HARDWARE": "--device {device} --threads {threads}",
    "SEED": "--seed {seed}",
}
GENOME_TEXT = (
    "This genome is simulated, so that the truth is known: a background whose GC content varies and which "
    "is poor in CpG, families of repeats in lower case, gaps of N, and {sites:,} sites of one motif. What a "
    "model does here shows that the tools work, and nothing about biology."
)
PAIRS_TEXT = (
    f"These pairs are simulated, so that the truth is known: {PAIRS:,} pairs of {GENES} genes and "
    f"{MOLECULES} molecules. Each gene holds one of two motifs, each molecule one of two fragments; nine of "
    "ten pairs are positive where the two belong together, and one of ten where they do not. Neither side "
    f"alone predicts anything, and the rule itself has an AUROC of {BEST_AUROC:g}. The models were trained "
    "for seconds: that one has not learned the rule in so short a time is no verdict on it."
)
SCREEN_TEXT = "foundation ranks all molecules for one gene on its own page, interactions/screen_report.html."


@dataclass(frozen=True)
class Scale:
    """How large the demo is."""

    bases: int = 2_000_000
    model: str = "--n-layer 4 --n-head 4 --n-embd 144 --block-size 256 --batch-size 32"
    """A GPT of 1.0 million parameters."""
    eval_bases: int = 25_600
    window: int = 200  # Bases of a labelled window, fewer than the block of the models.
    pvalue: float = 2e-5  # Of a site: about 80 words of 2 million bases, both strands, reach it by chance.
    gap: int = 400  # Bases between the parts of the windows: the contigs are short.
    pair_epochs: int = 4
    attention: str = "--width 128 --heads 4 --feed-forward 256"  # A quarter of the published width.


@dataclass(frozen=True)
class Options:
    """Simulate a genome, pretrain, fine-tune, compare, and write a report: in minutes, without any input."""

    out: Path = Path("demo")  # Where everything goes; an earlier demo there is replaced.
    steps: int = 120  # Pretraining steps of each vocabulary.
    epochs: int = 12  # Epochs of each binding model.
    compute: Compute = field(default_factory=Compute)
    seed: int = 0  # Of the genome, the weights and the batches.
    dry_run: bool = False  # Print the commands, and stop.
    quiet: bool = False  # No progress and no messages.


def run(options: Options, scale: Scale | None = None) -> None:
    """Run the demo's commands and write OUT/report.html; what the commands print goes to OUT/demo.log.

    Raises:
        InputError: if OUT holds something else than a demo, or an option is out of range.
    """
    scale = scale or Scale()
    commands = command_lines(options, scale)
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
            with _step(options, log, f"1/{steps} simulate {scale.bases:,} bases, and genes with molecules"):
                truth = simulate_genome(
                    options.out / "genome.fa", bases=scale.bases, contigs=4, seed=options.seed
                )
                _write_files_to_use(truth, scale, options.out / "use")
                simulate_pairs(options.out / "interaction", options.seed)
            from dnalm.cli import execute  # the door that every command comes through

            for number, words in enumerate(commands, 2):
                shown = " ".join(word for word in words[:3] if not word.startswith("--"))
                with _step(options, log, f"{number}/{steps} {shown}"):
                    code = execute(words)
                    assert code == 0, f"{words} ended with {code}; see demo.log"
            with _step(options, log, f"{steps}/{steps} write the report"):
                findings = _write_report(options.out, report)
    print("\n".join(findings))
    print(report)


def command_lines(options: Options, scale: Scale) -> list[list[str]]:
    """Return the commands of the demo as lists of words, without the program's name, in their order."""
    values = asdict(scale) | asdict(options) | asdict(options.compute)
    values["warmup"], values["eval_every"] = options.steps // 10, max(1, options.steps // 8)
    values["half_epochs"] = -(-scale.pair_epochs // 2)
    commands = []
    for line in COMMANDS.replace("\\\n", "").strip().splitlines():
        for name, flags in FLAGS.items():
            line = re.sub(rf"\b{name}\b", flags, line)
        words = [word.replace("OUT", str(options.out)) for word in line.format(**values).split()]
        group, name, *others = words
        words = [f"{group} {name}", *others] if group == "interact" else words
        commands.append([*words, "--overwrite", "--quiet"])
    return commands


def _write_files_to_use(truth: GenomeTruth, scale: Scale, folder: Path) -> None:
    """Write what the trained model is used on: regions, variants, and the true track of the genome."""
    simulate_variants(truth, folder / "variants.vcf", folder / "regions.bed")
    motif = choose_motif(truth.motif_file)
    threshold = site_threshold(motif, threshold=None, pvalue=scale.pvalue)
    with IndexedGenome(truth.genome) as genome:
        texts = ((contig, genome.letters(contig, 0, length)) for contig, length in genome.lengths.items())
        pieces = (
            (contig, 0, site_scores(encode(text), log_odds(motif), threshold)) for contig, text in texts
        )
        write_track(folder / "truth.bedgraph", genome.lengths, pieces)


def _check(options: Options) -> None:
    """Refuse a folder that is not a demo's, values out of range, and packages that are missing."""
    if options.steps < 1 or options.epochs < 1:
        raise InputError(f"`steps` and `epochs` must be at least 1, got {options.steps} and {options.epochs}")
    missing = [name for name in ("rdkit", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f'the demo needs {" and ".join(missing)}; run: pip install "dnalm[interaction]"')
    prepare_process(options.compute)
    out = options.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder or nothing, got a file; choose another --out")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names - {".lock"} and MARKER not in names:
        raise InputError(f"{out}: holds other files than a demo's; choose another --out")


def _write_report(out: Path, report: Path) -> list[str]:
    """Write the page of all results, and return its findings."""
    from dnalm.report.binding import binding_chapter
    from dnalm.report.explain import explain_chapter
    from dnalm.report.language import genome_chapter, language_chapter
    from dnalm.report.pages import write_page
    from dnalm.report.pairs import pair_chapter
    from dnalm.report.predict import predict_chapter
    from dnalm.report.variants import variants_chapter

    sites = len((out / "genome.sites.bed").read_text(encoding="utf-8").splitlines())
    genome, pairs = genome_chapter(out / "data" / "full"), pair_chapter([out / "interactions"])
    texts = [GENOME_TEXT.format(sites=sites), *genome.paragraphs]
    genome = replace(genome, title="The simulated genome", paragraphs=texts)
    pairs = replace(pairs, paragraphs=[PAIRS_TEXT, SCREEN_TEXT, *pairs.paragraphs])
    used, variants = [out / "use"], variants_chapter([out / "use"])
    variants = replace(variants, findings=[_broken_sites(out / "use" / "scored.vcf.gz")])
    chapters = [genome, language_chapter([out / "outputs"]), binding_chapter([out / "models"])]
    chapters += [predict_chapter(used), variants, explain_chapter(used), pairs]
    write_page(chapters, report, "dnalm demo: language, binding and interaction models of simulated data")
    return [finding for chapter in chapters for finding in chapter.findings]


def _broken_sites(vcf: Path) -> str:
    """Return with how many of the demo's variants the CNN loses a site."""
    lost: dict[bool, list[bool]] = {True: [], False: []}
    with pysam.VariantFile(str(vcf)) as file:
        for record in file:
            lost[record.info["SITE"] == 1].append(record.info["DNALM_LOST"][0] > 0)
    inside, outside = (f"{sum(each)} of {len(each)}" for each in (lost[True], lost[False]))
    return f"The CNN loses a site with {inside} variants inside planted sites, and with {outside} outside."


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
