"""Tests for dnalm/commands/demo.py: all of it once, very small, and the files that it brings."""

import gzip
import hashlib
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pysam
import pytest

from dnalm import cli
from dnalm.commands import demo
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.formats.gff import Gff
from dnalm.genome import simulate

SAMPLE = resources.files("dnalm") / "sample"
TINY = demo.Scale(
    model="--n-layer 1 --n-head 1 --n-embd 8 --block-size 300 --batch-size 2 --lr 1e-3",
    eval_bases=1_000,
    final_bases=20_000,
    scored_bases=2_000,
    codons=20,
    windows=("XV", 30_000, 120_000),
    labels="40,160",
    head="--batch-size 16 --channels 2 --kernel 3",
    pair_epochs=1,
)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A demo that has run, in a path with a blank."""
    pytest.importorskip("rdkit", reason="needs the extra interaction")
    out = tmp_path_factory.mktemp("demo") / "my demo"
    options = demo.Options(out=out, steps=8, epochs=1, compute=Compute(device="cpu"), quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "PAIRS", 300)
        demo.run(options, TINY)
    return options


def test_every_command_leaves_its_results_and_the_page_shows_them(options):
    out = options.out
    records = [out / "outputs/vocab4/run.json", *(out / "use").glob("run_*.json")]
    records += [out / "data/coding/run.json", out / "interactions/kmer-morgan/run.json"]
    assert [json.loads(path.read_text())["status"] for path in records] == ["done"] * 5
    ladder = json.loads((out / "outputs/vocab4/run.json").read_text())
    assert ladder["data"]["split"] == {"kind": "contigs", "val_contigs": ["XV", "XVI"]}
    curve = json.loads((out / "models/label_curve_coding.json").read_text())
    assert list(curve["scores"]) == ["pretrained", "untrained", "CNN"]
    with pysam.VariantFile(str(out / "use/scored.vcf.gz")) as file:
        assert sum("DNALM_LLR" in record.info for record in file) == 200
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 4
    for text in ("on too few bases to decide", "No dilated CNN was trained", "an AUROC of 0.9", "CC BY 4.0"):
        assert text in page
    assert (out / "demo.log").stat().st_size > 1_000


def test_without_the_packages_for_pairs_the_rest_runs(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(cli, "execute", lambda words: seen.append(words) or 0)
    monkeypatch.setattr(demo, "_write_report", lambda out, page, with_pairs: [f"pairs {with_pairs}"])
    monkeypatch.setattr(demo, "INTERACTION", ("no_such_package",))
    demo.run(demo.Options(out=tmp_path / "d", compute=Compute(device="cpu")), TINY)
    assert [words[0] for words in seen][-1] == "variants"
    shown = capsys.readouterr()
    assert "pairs False" in shown.out
    assert "no_such_package" in shown.err
    assert 'pip install "dnalm[interaction]"' in shown.err


def test_the_sample_is_what_its_notice_says():
    text = gzip.decompress((SAMPLE / demo.GENOME).read_bytes())
    assert sum(len(line) for line in text.splitlines() if not line.startswith(b">")) == 12_157_105
    assert hashlib.sha256((SAMPLE / demo.GENOME).read_bytes()).hexdigest().startswith("06ce55bae25c4efd")
    contigs = {record.split()[0].decode(): record for record in text.split(b">")[1:]}
    with resources.as_file(SAMPLE / demo.ANNOTATION) as path:
        genes = list(Gff(path))
    assert {feature.contig for feature in genes} == {"chrXV", "chrXVI"}
    assert sum(feature.kind == "gene" for feature in genes) == 1_108
    minor = []
    with resources.as_file(SAMPLE / demo.VARIANTS) as path, pysam.VariantFile(str(path)) as file:
        for record in file:
            letters = contigs[record.chrom].split(b"\n", 1)[1].replace(b"\n", b"")
            assert letters[record.start : record.stop].decode() == record.ref
            count = min(record.info["AC"][0], record.info["AN"] - record.info["AC"][0])
            minor.append((count, count / record.info["AN"]))
    assert sum(count == 1 for count, _ in minor) == 100
    assert sum(count > 1 and frequency >= 0.05 for count, frequency in minor) == 100
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    for name in (demo.GENOME, demo.ANNOTATION, demo.VARIANTS):
        assert f"\n{name}\n" in notice
    assert {path.name for path in SAMPLE.iterdir()} == {demo.GENOME, demo.ANNOTATION, demo.VARIANTS}


def test_a_second_run_replaces_its_own_folder_with_a_line_a_step(options, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(cli, "execute", lambda words: seen.append(words) or 0)  # results are there already
    monkeypatch.setattr(demo, "_write_report", lambda out, page, with_pairs: [str(page.write_text("new"))])
    (options.out / "report.html").write_text("old")
    (options.out / "notes.txt").write_text("mine")
    demo.run(replace(options, quiet=False, seed=3), TINY)
    assert all("--overwrite" in words for words in seen)
    assert [words[0] for words in seen][:3] == ["prepare", "pretrain", "score"]
    assert (options.out / "report.html").read_text() == "new"
    assert (options.out / "notes.txt").read_text() == "mine"
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == str(options.out / "report.html")
    assert len(shown.err.splitlines()) == len(seen) + 2


def test_an_interrupted_run_leaves_no_old_report(options, monkeypatch):
    def interrupt(_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "execute", interrupt)
    (options.out / "report.html").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        demo.run(options, TINY)
    assert not (options.out / "report.html").exists()


def test_a_folder_that_is_not_its_own_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError):
            demo.run(demo.Options(out=out, compute=Compute(device="cpu")))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"compute": Compute(precision="fp16", device="cpu")}])
def test_wrong_options_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InputError):
        demo.run(demo.Options(out=tmp_path / "demo", **wrong))
    assert not (tmp_path / "demo").exists()


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path, capsys):
    demo.run(demo.Options(out=tmp_path / "demo", dry_run=True, compute=Compute(device="cpu")))
    assert capsys.readouterr().out.count("dnalm ") == len(demo.command_lines(demo.Options(), demo.Scale()))
    assert not (tmp_path / "demo").exists()


def test_every_command_is_one_that_the_command_line_takes():
    for verb, *words in demo.command_lines(demo.Options(out=Path("a b")), demo.Scale()):
        assert not isinstance(cli.parse(verb, words), int)


def test_every_gene_has_a_motif_in_what_is_read_of_it():
    third = simulate.GENE_LENGTHS[1] // simulate.COPIES
    commands = demo.command_lines(demo.Options(), demo.Scale())
    read = [words[words.index("--dna-length") + 1] for words in commands if "--dna-length" in words]
    assert read
    assert all(third <= int(length) for length in read)
