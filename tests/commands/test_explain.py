"""Tests for `dnalm explain`: from files to a folder of tables, arrays, pictures and a record."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest

from dnalm.cli import main
from dnalm.use.explain_regions import KnownSites, Tally, explain_regions
from dnalm.use.regions import Regions
from tests.commands.conftest import SITE

FAST = ["--device", "cpu", "--threads", "1", "--quiet"]


@pytest.fixture(scope="module")
def genome(binding, tmp_path_factory):
    """A genome of the windows of the set, each a contig."""
    path = tmp_path_factory.mktemp("explained") / "my genome.fa"
    letters = binding.windows.letters[:30]
    path.write_text("".join(f">c{row}\n{each.tobytes().decode()}\n" for row, each in enumerate(letters)))
    return path


@pytest.fixture
def bed(tmp_path):
    """Regions with a name, overlapping, twice, and some that cannot be used."""
    path = tmp_path / "regions.bed"
    rows = ["track name=x", "c0\t0\t40\tfirst\t0\t-", "c1\t5\t40", "c1\t5\t40", "c1\t0\t30", "c2\t3\t6"]
    path.write_text("\n".join([*rows, "nowhere\t0\t9", "c3\t0\t99"]) + "\n")
    return path


def run(model, out, *flags):
    return main(["explain", str(model), "--out", str(out), *FAST, *map(str, flags)])


def table(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        head, *rows = [line.rstrip("\n").split("\t") for line in file]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_every_region_is_explained_or_counted(models, genome, bed, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(models / "baseline", out, "--genome", genome, "--regions", bed, "--pictures", 2) == 0
    printed = capsys.readouterr().out
    record = json.loads((out / "run.json").read_text())
    assert (record["verb"], record["status"]) == ("explain", "done")
    counts = record["metrics"]["counts"]
    assert (counts["read"], counts["written"]) == (7, 5)
    assert sum(counts["left_out"].values()) == 2
    regions = table(out / "regions.tsv")
    assert [row["region"] for row in regions] == ["first", "c1:6-40", "c1:6-40", "c1:1-30", "c2:4-6"]
    assert regions[1] == regions[2]
    assert "completeness" in printed
    assert "strands r" in printed
    bases = table(out / "attributions.tsv.gz")
    assert len(bases) == 40 + 35 + 35 + 30 + 3
    arrays = sorted((out / "arrays").iterdir())
    assert len(arrays) == 5
    first = np.load(arrays[0])
    letter = "ACGT".index(bases[7]["base"])
    assert (bases[7]["contig"], bases[7]["start"], bases[7]["end"]) == ("c0", "7", "8")
    assert float(bases[7][f"to_{'ACGT'[letter]}"]) == 0 == first["effects"][7, letter]
    assert float(bases[7]["attribution"]) == pytest.approx(first["attribution"][7], rel=1e-3)
    pictures = {path.name for path in out.iterdir() if path.suffix in (".png", ".svg")}
    assert pictures == {f"{name}.{end}" for name in ("0001_first", "0002_c1_6-40") for end in ("png", "svg")}
    for row in table(out / "stretches.tsv"):
        contig = int(row["contig"][1:])
        text = genome.read_text().split("\n")[2 * contig + 1]
        assert row["sequence"] == text[int(row["start"]) : int(row["end"])]


def test_a_language_model_has_maps_and_a_page(binding, genome, tmp_path, capsys):
    out = tmp_path / "runs" / "out"
    fasta = tmp_path / "two.fa"
    fasta.write_text(">one\nACGTTGCAAGGCTTACGATCGATT\n>two\nACGNNNTTGACCATTGA\n")
    assert run(binding.outputs / "vocab4", out, "--fasta", fasta) == 0
    assert (out / "0001_one_dependencies.svg").is_file()
    assert np.load(out / "arrays" / "0002_two.npz")["dependencies"].shape == (17, 17)
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs"), "--quiet"]) == 0
    assert "explained for 2 regions" in capsys.readouterr().out
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "What decides" in page
    assert page.count("data:image/png") == 4


def test_the_share_of_known_sites_is_beside_chance(models, genome, binding, tmp_path, capsys):
    bed, sites = tmp_path / "all.bed", tmp_path / "sites.bed"
    bed.write_text("".join(f"c{row}\t0\t40\n" for row in range(4)))
    starts = [each.tobytes().find(SITE.tobytes()) for each in binding.windows.letters[:4]]
    sites.write_text("".join(f"chrc{row}\t{at}\t{at + 6}\n" for row, at in enumerate(starts)))
    flags = ["--genome", genome, "--regions", bed, "--sites", sites, "--rename", "chr"]
    assert run(models / "baseline", tmp_path / "out", *flags, "--pictures", 0) == 0
    found = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]["sites"]
    hits = 0
    for row, at in enumerate(starts):
        (path,) = (tmp_path / "out" / "arrays").glob(f"{row + 1:04d}_*.npz")
        top = np.argsort(-np.load(path)["attribution"], kind="stable")[:6]
        hits += sum(at <= base < at + 6 for base in top)
    assert found == {"bases": 24, "share": pytest.approx(hits / 24), "chance": pytest.approx(6 / 40)}
    assert "by chance 15%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--genome"),
        (["--genome", "GENOME"], "needs --regions"),
        (["--genome", "GENOME", "--regions", "BED", "--fasta", "GENOME"], "--fasta"),
        (["--fasta", "GENOME", "--pictures", "-1"], "--pictures"),
        (["--genome", "GENOME", "--regions", "EMPTY"], "without any"),
        (["--genome", "GENOME", "--regions", "REVERSED"], "line 1"),
        (["--genome", "GENOME", "--regions", "OTHER"], "--rename"),
        (["--fasta", "LONG"], "longer than 2,000"),
        (["--fasta", "GENOME", "--motifs", "BED"], "expected motifs"),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_written(models, genome, bed, tmp_path, capsys, flags, message):
    files = {"GENOME": genome, "BED": bed}
    for name, text in {
        "EMPTY": "",
        "REVERSED": "c0\t9\t3\n",
        "OTHER": "X\t1\t3\n",
        "LONG": ">a\n" + "ACGTT" * 401 + "\n",
    }.items():
        files[name] = tmp_path / name
        files[name].write_text(text)
    out = tmp_path / "out"
    assert run(models / "baseline", out, *(files.get(flag, flag) for flag in flags)) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_folder_that_is_there_is_replaced_on_demand_if_it_is_explains_own(
    models, genome, bed, tmp_path, capsys
):
    out, flags = tmp_path / "out", ["--genome", genome, "--regions", bed, "--pictures", 0]
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert run(models / "baseline", out, *flags) == 2
    assert run(models / "baseline", out, *flags, "--overwrite") == 2
    assert "something else" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "mine"
    other = tmp_path / "other"
    for more in ([], ["--overwrite"]):
        assert run(models / "baseline", other, *flags, *more) == 0
    assert run(models / "baseline", other, *flags) == 2


def test_a_model_of_pairs_says_which_can(pair_folder, genome, tmp_path, capsys):
    train = ["--data", str(pair_folder), "--out", str(tmp_path / "pairs"), "--epochs", "1"]
    assert main(["interact", "train", *train, "--device", "cpu", "--quiet"]) == 0
    assert run(tmp_path / "pairs", tmp_path / "out", "--fasta", genome) == 2
    assert "finetune, baseline" in capsys.readouterr().err


def test_memory_is_flat_in_the_number_of_regions(tmp_path, monkeypatch):
    """Explanations of 100 kB each: ten times as many regions need no more than one of them more."""
    from dnalm.formats.indexed import IndexedGenome
    from dnalm.results.use import Explanation
    from dnalm.use import explain_regions as file

    big = np.zeros((200, 4), dtype=np.float32)

    def explain(_model, letters, **_how):
        attribution = np.arange(25_000, dtype=np.float32)[: len(letters[0])]
        more = np.ones((25_000,), dtype=np.float32)
        return [Explanation(letters[0], "mutagenesis", 1.0, 0.0, 1.0, 1.0, big, attribution, [], track=more)]

    monkeypatch.setattr(file, "explain", explain)
    (tmp_path / "g.fa").write_text(">c\n" + "ACGT" * 50 + "\n")
    (tmp_path / "s.bed").write_text("c\t3\t9\n")
    peaks = []
    for count in (20, 200):
        (tmp_path / "r.bed").write_text("c\t0\t200\n" * count)
        with IndexedGenome(tmp_path / "g.fa") as genome:
            regions = Regions(genome, tmp_path / "r.bed", lambda name: [name])
            tally = Tally(KnownSites(tmp_path / "s.bed", genome, lambda name: [name]))
            tracemalloc.start()
            for region, one in explain_regions(None, genome, regions, "mutagenesis", None):
                tally.add(region, one)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_two_processes_write_what_one_writes(models, genome, bed, tmp_path, two_processes):
    words = [
        "explain",
        str(models / "baseline"),
        "--genome",
        str(genome),
        "--regions",
        str(bed),
        "--pictures",
        "0",
    ]
    words += [*FAST, "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    ended, (shown,) = two_processes(tmp_path, [{"task": "command", "words": [*words, str(tmp_path / "two")]}])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert shown["code"] == [0, 0]
    for path in (tmp_path / "one").glob("*.tsv"):
        assert path.read_text() == (tmp_path / "two" / path.name).read_text()
    ones = sorted((tmp_path / "one" / "arrays").iterdir())
    assert [path.name for path in ones] == sorted(
        path.name for path in (tmp_path / "two" / "arrays").iterdir()
    )
    for path in ones:
        other = np.load(tmp_path / "two" / "arrays" / path.name)
        for name, array in np.load(path).items():
            np.testing.assert_array_equal(array, other[name])
