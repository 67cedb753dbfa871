"""The promises of README.md: its commands run, its files are there."""

import gzip
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

from dnalm.cli import VERBS, main
from dnalm.genome.simulate import simulate_pairs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TUNED = "--epochs 1 --gap 50"
SMALL = "--n-layer 1 --n-head 1 --n-embd 8 --block-size 16 --batch-size 4 --eval-bases 800"
SMALL += " --steps 40 --eval-every 10 --warmup 4"


def commands(text=README):
    """Every `dnalm ...` line of the bash blocks, without its comment."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [line.split(" #")[0].strip() for line in "".join(blocks).splitlines() if line.startswith("dnalm ")]


ROWS = ["0.7 0.1 0.1 0.1", "0.1 0.7 0.1 0.1", "0.1 0.1 0.7 0.1"] * 2
MOTIF = (
    "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF M\nletter-probability matrix: w= 6\n" + "\n".join(ROWS) + "\n"
)


def write_uses(folder, contig, letters):
    """Files that a trained model is used on: regions.bed, variants.vcf and genes.gff3 of a contig."""
    (folder / "regions.bed").write_text(f"{contig}\t300\t400\tone\n{contig}\t500\t540\ttwo\n")
    rows = [
        f"{contig}\t{at + 1}\t.\t{letters[at]}\t{'CA'[letters[at] == 'C']}\t.\t.\tAF={at / 1000}\n"
        for at in (310, 320, 520)
    ]
    (folder / "variants.vcf").write_text(f"##fileformat=VCFv4.2\n{VCF_HEAD}\n{''.join(rows)}")
    gene = f"{contig}\tx\tgene\t301\t600\t.\t+\t.\tID=g"
    cds = f"{contig}\tx\tCDS\t301\t600\t.\t+\t0\tID=c;Parent=g"
    (folder / "genes.gff3").write_text(f"##gff-version 3\n{gene}\n{cds}\n")


VCF_HEAD = '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n#' + "\t".join(
    ["CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
)


def test_commands_run_as_written(toy_fasta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa.gz").write_bytes(gzip.compress(toy_fasta.read_bytes()))
    relative = np.random.default_rng(1).choice(list("ACGT"), 900)
    (tmp_path / "relative.fa.gz").write_bytes(gzip.compress(f">chr1\n{''.join(relative)}\n".encode()))
    (tmp_path / "motif.meme").write_text(MOTIF)
    pytest.importorskip("rdkit")
    letters = "".join(toy_fasta.read_text().split(">")[1].splitlines()[1:]).upper()
    write_uses(tmp_path, "chr1", letters)
    simulate_pairs(tmp_path, seed=0)
    rows = (tmp_path / "pairs.csv").read_text().splitlines()[:1201]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    gene = rows[1].split(",")[0]
    (tmp_path / "library.smi").write_text("CCO ethanol\nc1ccccc1 benzene\n")
    verbs = [
        "prepare",
        "pretrain",
        "pretrain",
        "compare",
        *["prepare", "pretrain"],
        "label",
        "finetune",
        "finetune",
        "baseline",
        "evaluate",
        "compare",
        "finetune",
        *["predict", "variants", "explain", "score", "compare"],
        *["interact"] * 11,
    ]
    assert [line.split()[1] for line in commands()] == verbs
    # the model, the budget and the size of a window; a genome so small needs a p-value so large
    small = dict.fromkeys(["pretrain"], SMALL) | dict.fromkeys(["finetune", "baseline"], TUNED)
    for line in commands():
        line = line.replace("1e-5", "1e-2").replace("--gene 1017", f"--gene {gene}") + (
            " --window 16" if " label " in line else ""
        )
        line = line.replace("300,1500,1 --seeds 3", "1 --seeds 1")
        flags = "--epochs 1" if " interact train " in line else small.get(line.split()[1], "")
        flags = "" if "combined" in line else flags
        assert main(shlex.split(f"{line} {flags}")[1:]) == 0, line
    for name in re.findall(r"`(outputs/[\w./]+)`", README):
        for mode in ("full", "vocab4"):
            assert (tmp_path / name.replace("MODE", mode)).exists(), name
    for name in re.findall(r"[`, ](models/[\w./]+)`", README):
        assert (tmp_path / name.replace("NAME", "vocab4")).exists(), name
    assert (tmp_path / "models" / "report.html").is_file()
    assert (tmp_path / "curve" / "label_curve_vocab4.png").is_file()
    page = (tmp_path / "use" / "report.html").read_text()
    assert all(name in page for name in ("track.bw", "scored.vcf.gz", "explained", "scores.tsv"))
    assert (tmp_path / "runs" / "report.html").is_file()
    assert "ethanol" in (tmp_path / "ranked.tsv").read_text()
    assert "ethanol" in (tmp_path / "best.sdf").read_text()
    (python,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.py").write_text(python)
    names = runpy.run_path(str(tmp_path / "readme.py"))
    assert len(names["bits"]) == len(names["tracks"]) == len(names["chances"]) == 1
    assert names["states"].shape == (2, 8)


def test_the_tutorial_runs_as_written(tmp_path, monkeypatch):
    pytest.importorskip("pybigtools")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial-tracks-and-variants.md").read_text()
    draws = np.random.default_rng(1)
    genome = {name: "".join(draws.choice(list("ACGT"), 4000)) for name in ("I", "XV", "XVI")}
    (tmp_path / "yeast.fa.gz").write_bytes(
        gzip.compress("".join(f">{name}\n{letters}\n" for name, letters in genome.items()).encode())
    )
    (tmp_path / "motif.meme").write_text(MOTIF)
    write_uses(tmp_path, "XV", genome["XV"])
    for name in ("genes.gff3", "variants.vcf"):
        content = (tmp_path / name).read_text().replace("XV\tx", "chrXV\tx")  # as SGD has it
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    (tmp_path / "regions.bed").rename(tmp_path / "promoters.bed")
    small = {"pretrain": f"--size 1M {SMALL}", "baseline": TUNED, "label": "--window 16"}
    lines = commands(text)
    verbs = "prepare, pretrain, score, variants, label, baseline, predict, explain, compare"
    assert ", ".join(line.split()[1] for line in lines) == verbs
    for line in lines:
        words = line.replace("1e-5", "1e-2").replace("--size 1M --steps 1000", "")
        assert main(shlex.split(f"{words} {small.get(line.split()[1], '')}")[1:]) == 0, line
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        (tmp_path / "block.py").write_text(block)
        names = runpy.run_path(str(tmp_path / "block.py"))
    assert names["tracks"].keys() == {"one", "two"}
    assert len(names["scores"]) == 3
    assert (tmp_path / "use" / "report.html").is_file()


def test_flags_that_are_named_exist(capsys):
    shown = ""
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        shown += capsys.readouterr().out
    for flag in set(re.findall(r"`(--[a-z-]+)", README)):
        assert flag in shown, flag


def test_every_verb_is_listed():
    for verb in VERBS:
        assert f"`dnalm {verb}`" in README


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_make_targets_exist():
    targets = set(re.findall(r"`?make (?:PYTHON=\S+ )?([a-z-]+)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    for target in targets - {"it"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
