"""Tests for dnalm/genome/hold_out.py: what is alike to validation in others, and folders without it."""

import json

import numpy as np
import pytest

from dnalm.commands import info
from dnalm.dna import BASES, encode, other_strand
from dnalm.errors import InputError
from dnalm.formats import fasta
from dnalm.genome import hold_out as module
from dnalm.genome.folder import PreparedGenome
from dnalm.genome.hold_out import Rule, Shared, alike_stretches, hold_out
from dnalm.genome.kmers import hashed, kmers_of
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare

BEGIN, END = 5_000, 9_000  # of the copy that is planted in another genome


def random_dna(draws, length):
    return "".join(draws.choice(list(BASES), length, p=[0.31, 0.19, 0.19, 0.31]))


def diverged(draws, text, share):
    """A copy in which this share of the bases is another one, and one base in 200 is lost."""
    codes = encode(text).copy()
    changed = draws.random(len(codes)) < share
    codes[changed] = (codes[changed] + draws.integers(1, 4, changed.sum())) % 4
    return "".join(BASES[code] for code in codes[draws.random(len(codes)) > 0.005])


def write(path, contigs, width=60):
    lines = []
    for name, text in contigs.items():
        lines += [f">{name} of a test", *(text[i : i + width] for i in range(0, len(text), width))]
    path.write_text("\n".join(lines) + "\n")
    return path


class Genomes:
    """Two genomes of contigs A and B; `two` has a copy of a part of one:A, on the other strand, in B."""

    def __init__(self, folder, divergence=0.05):
        draws = np.random.default_rng(11)
        a, b = random_dna(draws, 20_000), random_dna(draws, 12_000)
        copy = other_strand(diverged(draws, a[3_000:7_000], divergence))
        self.end = BEGIN + len(copy)
        around = random_dna(draws, 3_000), "NN" + random_dna(draws, BEGIN - 2), random_dna(draws, 6_000)
        self.texts = {"one": {"A": a, "B": b}, "two": {"A": around[0], "B": around[1] + copy + around[2]}}
        paths = [write(folder / f"{name}.fa", contigs) for name, contigs in self.texts.items()]
        names, val = tuple(self.texts), ("one:A",)
        self.settings = {"genomes": tuple(paths), "genome_names": names, "val_contigs": val}
        self.folder = folder / "data"

    def plan(self, **changes):
        return Plan(**({"out": self.folder} | self.settings | changes))

    def prepared(self, **changes):
        return {mode: PreparedGenome(path) for mode, path in prepare(self.plan(**changes)).items()}


@pytest.fixture
def genomes(tmp_path):
    return Genomes(tmp_path)


def test_kmers_by_hand_and_on_both_strands():
    codes = np.stack([encode("ACGTNACGTA"), encode("TTTTTCCCCA")])
    for k in (1, 2, 3, 5, 7):
        kmers, real = kmers_of(codes, k, both_strands=True)
        for row, text in enumerate(("ACGTNACGTA", "TTTTTCCCCA")):
            words = [text[i : i + k] for i in range(len(text) - k + 1)]
            assert real[row].tolist() == ["N" not in word for word in words]
            numbers = [
                min(int("".join(str(BASES.index(c)) for c in strand), 4) for strand in (w, other_strand(w)))
                for w in words
                if "N" not in w
            ]
            assert kmers[row][real[row]].tolist() == numbers
    assert kmers_of(codes[:, :3], 16)[0].shape == (2, 0)


@pytest.mark.parametrize(("divergence", "least"), [(0.05, 0.99), (0.15, 0.95), (0.25, 0)])
@pytest.mark.parametrize("sampled", [False, True])
def test_planted_homologues_are_found_and_nothing_else(tmp_path, monkeypatch, divergence, least, sampled):
    monkeypatch.setattr(module, "MOST_KMERS", 10_000 if sampled else 1 << 23)  # of 20,000
    genomes = Genomes(tmp_path, divergence)
    found = hold_out(genomes.plan())
    assert found.rule["one_in"] == 1 + sampled
    assert set(found.left_out) <= {"two:B"}  # one:B is of the genome of validation, two:A is unrelated
    runs = found.left_out.get("two:B", np.empty((0, 2), dtype=np.int64))
    covered = np.zeros(20_000, dtype=bool)
    for start, end in runs.tolist():
        covered[start:end] = True
    assert covered[BEGIN : genomes.end].mean() >= least
    assert covered[: BEGIN - 5].sum() + covered[genomes.end + 5 :].sum() == 0


def test_stretches_are_those_of_the_definition():
    draws, rule = np.random.default_rng(1), Rule(k=4, one_in=1, window=30, shared=3, length=40)
    positions = np.flatnonzero(draws.random(1_500) < np.repeat(draws.choice([0.01, 0.15], 15), 100))
    places = draws.choice([5, 200, 1 << module.CONTIG_BITS], len(positions))
    covered = np.zeros(1_504, dtype=bool)
    for place in set(places.tolist()):
        hits = positions[places == place]
        for first in hits:
            inside = hits[(hits >= first) & (hits < first + 30)]
            if len(inside) >= 3:
                covered[first : inside[-1] + 4] = True
    edges = np.flatnonzero(np.diff(np.pad(covered.astype(int), 1))).reshape(-1, 2)
    runs = edges[edges[:, 1] - edges[:, 0] >= 40].tolist()
    wanted = [runs[0]]
    for start, end in runs[1:]:
        if start - wanted[-1][1] < 30:
            wanted[-1][1] = end
        else:
            wanted.append([start, end])
    assert len(edges) > len(runs) > len(wanted) > 2
    hits = np.stack([positions, places], axis=1)
    assert alike_stretches(hits, rule).tolist() == wanted
    for count in range(18):  # one fewer than are needed, or less
        few = np.arange(count)[:, None] * [17, 0]
        assert alike_stretches(few, Rule(16, 1, 1_000, 18, 250)).shape == (0, 2)
    assert alike_stretches(np.arange(18)[:, None] * [17, 0], Rule(16, 1, 1_000, 18, 250)).tolist() == [
        [0, 305]
    ]


def test_the_places_of_two_validation_genomes_are_apart(genomes, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "Shared", lambda kmers, rule: seen.append(kmers) or Shared(kmers, rule))
    hold_out(genomes.plan(val_contigs=("one:A", "two:A"), hold_out="all"))
    assert [set(kmers[:, 1] >> module.CONTIG_BITS) for kmers in seen[0]] == [{0}, {1}]


def test_repeats_and_scattered_kmers_do_not_count():
    """Of one contig: a tandem repeat, a repeat of many copies, a single one, and k-mers from all over."""
    draws, rule = np.random.default_rng(2), Rule.of(20_000)
    once, often = encode(random_dna(draws, 40_000)), encode(random_dna(draws, 600))
    tandem = np.resize(encode("CAGTTG"), 600)
    text = np.concatenate([once, tandem, *([often, once[:2_500]] * (module.COMMON + 1))])

    def rows(codes):
        kmers, _ = kmers_of(codes[None], rule.k, both_strands=True)
        return hashed(kmers[0]), np.arange(kmers.shape[1])

    kmers, places = rows(text)
    shared = Shared([np.stack([kmers, places.astype(np.uint64)], axis=1)], rule)

    def alike(codes):
        return alike_stretches(shared.hits(*rows(codes)), rule).tolist()

    assert alike(tandem) == alike(often) == []
    scattered = np.concatenate([once[start : start + 20] for start in range(3_000, 39_000, 2_100)] * 2)
    assert len(shared.hits(*rows(scattered))) > 5 * rule.shared
    assert alike(scattered) == []
    assert alike(once[5_000:6_000]) == [[0, 1_000]]
    assert alike(once[5_000:5_200]) == []  # shorter than 250


def test_memory_holds_one_piece_of_a_genome_whatever_its_pieces(genomes, monkeypatch):
    """The same stretches from pieces of a few bases: nothing but hits goes from one piece to the next."""
    wanted = hold_out(genomes.plan()).left_out["two:B"].tolist()
    monkeypatch.setattr(fasta, "CHUNK", 97)
    monkeypatch.setattr(module, "CHUNK", 50)
    sizes = [len(codes) for _, _, codes in module._pieces(genomes.settings["genomes"][1], 16, None)]
    assert max(sizes) <= 65
    assert hold_out(genomes.plan()).left_out["two:B"].tolist() == wanted


@pytest.mark.parametrize("chunk", [1 << 20, 61])
def test_folders_hold_all_but_what_is_alike(genomes, monkeypatch, chunk):
    monkeypatch.setattr(fasta, "CHUNK", chunk)
    ((start, end),) = hold_out(genomes.plan()).left_out["two:B"].tolist()
    prepared = genomes.prepared()
    full, vocab4 = prepared["full"], prepared["vocab4"]
    assert full.genomes == vocab4.genomes == ["one", "two"]
    assert [c["name"] for c in full.meta["contigs"]] == ["one:A", "one:B", "two:A", "two:B"]
    length = len(genomes.texts["two"]["B"])
    kept = length - 2 - (end - start)
    for genome in prepared.values():
        # contig, position in it, length, base number: those of the files
        rows = [[1, 0, 12_000, 0], [2, 0, 3_000, 12_000], [3, 2, start - 2, 15_000]]
        rows += [[3, end, length - end, 15_000 + start - 2]]
        assert genome.segments("train").tolist() == rows
        for contig, position, count, base in rows:
            name, contig_name = genome.meta["contigs"][contig]["name"].split(":")
            text = genomes.texts[name][contig_name][position : position + count]
            assert genome.bases("train", base, base + count).tolist() == encode(text).tolist()
        first = {"name": "one", "train_bases": 12_000, "val_bases": 20_000, "left_out_bases": 0}
        second = {"name": "two", "train_bases": 3_000 + kept, "val_bases": 0, "left_out_bases": end - start}
        assert genome.meta["genomes"] == [first, second]
        assert [c["left_out_bases"] for c in genome.meta["contigs"]] == [0, 0, 0, end - start]
        numbers = genome.genome_numbers("train", np.arange(len(genome.tokens("train"))).reshape(1, -1))
        assert np.bincount(numbers[0]).tolist() == [
            sum(c["train"][1] for c in genome.meta["contigs"] if c["train"] and c["genome"] == number)
            for number in (0, 1)
        ]
        assert (np.diff(numbers) >= 0).all()
        assert genome.genome_numbers("val", [0, 19_999]).tolist() == [0, 0]
        genome.verify()
    assert vocab4.genome_numbers("train", [11_999, 12_000]).tolist() == [0, 1]
    lines = full.tokenizer.decode(full.tokens("train")).splitlines()
    assert [line for line in lines if line[0] == ">"] == [">B", ">A", ">B"]
    assert "" not in lines
    assert sum(line.endswith("N") for line in lines) == 1  # in place of the stretch


def test_what_is_left_out_is_chosen_by_a_flag(genomes, tmp_path):
    nothing = genomes.prepared(hold_out="none")["vocab4"]
    assert [genome["left_out_bases"] for genome in nothing.meta["genomes"]] == [0, 0]
    assert nothing.meta["split"]["hold_out"] == {"genomes": "none"}
    one = genomes.settings["genomes"][0]
    write(one, genomes.texts["one"] | {"B": genomes.texts["one"]["B"] + genomes.texts["one"]["A"][:4_000]})
    others = genomes.prepared(out=tmp_path / "others")["vocab4"]
    every = genomes.prepared(out=tmp_path / "all", hold_out="all")["vocab4"]
    alone = Plan((one,), tmp_path / "alone", val_contigs=("A",), genome_names=("one",), hold_out="all")
    left_out = [[g["left_out_bases"] for g in genome.meta["genomes"]] for genome in (others, every)]
    assert left_out[0] == [0, left_out[1][1]]
    assert 4_000 <= left_out[1][0] < 4_010
    own = PreparedGenome(prepare(alone)["vocab4"])
    assert own.meta["genomes"][0]["left_out_bases"] == left_out[1][0]
    assert [contig["name"] for contig in own.meta["contigs"]] == ["A", "B"]


def test_genomes_without_homology_give_the_same_files_as_without_names(genomes, tmp_path):
    one, two = genomes.settings["genomes"]
    write(two, {"C": genomes.texts["two"]["A"]})
    plain = PreparedGenome(prepare(Plan((one, two), tmp_path / "plain", val_contigs=("A",)))["full"])
    named = genomes.prepared(val_contigs=("A",))["full"]  # in one genome alone: its name is enough
    assert named.meta["files"] == plain.meta["files"]
    assert named.meta["split"]["val_contigs"] == ["one:A"]
    assert plain.genomes == ["genome"]  # as all folders of before
    assert not {"genomes", "hold_out"} & {*plain.meta, *plain.meta["split"]}
    assert plain.genome_numbers("train", [0, 14_000]).tolist() == [0, 0]
    assert plain.digest != named.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genome_names": ("one", "one")}, "'one' is there twice"),
        ({"genome_names": ("one",)}, "a name for each of 2 genome files, got 1: one"),
        ({"genome_names": ("one", "t:o")}, "without blank, colon, comma or >, got 't:o'"),
        ({"genome_names": ()}, r"'A' is in .*one\.fa and again in .*name the genomes with `genome_names`"),
        ({"val_contigs": ("A",)}, r"'A' is in several genomes \(one, two\).*as in one:A"),
        ({"val_contigs": ("one:C",)}, r"no contig 'one:C' in any genome.*there are: one:A, one:B, two:A"),
        ({"val_contigs": ("three:A",)}, "no contig 'three:A' in any genome"),
        ({"val_contigs": ()}, "several genomes need `val_contigs`.*`hold_out` to none"),
        ({"genome_names": (), "hold_out": "all"}, "`hold_out` all needs `genome_names`"),
        ({"published": True, "val_contigs": ()}, "leave out `genome_names`"),
    ],
)
def test_refuses_and_leaves_nothing(genomes, changes, message):
    with pytest.raises(InputError, match=message):
        genomes.prepared(**changes)
    assert not genomes.folder.exists() or [path.name for path in genomes.folder.iterdir()] == [".lock"]


def test_genomes_of_unlike_alphabets_are_refused_where_case_would_tell_them_apart(genomes):
    write(genomes.settings["genomes"][1], {"A": genomes.texts["two"]["A"].lower()})
    with pytest.raises(InputError, match="unlike alphabets: two with lower case .* one without.*vocab4"):
        genomes.prepared()
    assert genomes.prepared(modes=("vocab4",))["vocab4"].genomes == ["one", "two"]
    write(genomes.settings["genomes"][1], {"A": "AUGC" * 100})
    with pytest.raises(InputError, match=r"two\.fa, contig 'two:A', position 2: 'U' is no nucleotide code"):
        genomes.prepared(out=genomes.folder.parent / "other")


@pytest.mark.parametrize("harm", [{"genomes": [{"name": "one"}]}, {"contigs": [{"name": "A", "length": 1}]}])
def test_a_damaged_meta_is_refused(genomes, harm):
    folder = genomes.prepared()["vocab4"].folder
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | harm))
    with pytest.raises(InputError, match=r"damaged: no (genomes|contigs)\[0\]\."):
        info.identify(folder)


def test_chromosome_xv_of_a_relative_is_left_out_and_little_else(shared_data, tmp_path):
    paths = (
        shared_data / "genomes/yeast_R64-1-1.fa.gz",
        shared_data / "yeast/genomes/paradoxus_CBS432.fa.gz",
    )
    plan = Plan(paths, tmp_path, val_contigs=("XV",), genome_names=("cerevisiae", "paradoxus"))
    sizes = {name: int(np.diff(runs).sum()) for name, runs in hold_out(plan).left_out.items()}
    assert sizes["paradoxus:chrXV"] > 0.96 * 1_078_405  # no translocation in this strain
    assert sum(sizes.values()) < 0.96 * 1_078_405 + 0.04 * 10_942_923  # the other chromosomes
    assert not any(name.startswith("cerevisiae") for name in sizes)
