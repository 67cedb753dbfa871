"""Tests for dnalm/genome: what prepare writes, and what a prepared folder gives back."""

import copy
import errno
import json
import pickle
import shutil
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnalm import files
from dnalm.errors import InputError
from dnalm.formats import fasta
from dnalm.genome import stream
from dnalm.genome.folder import PreparedGenome
from dnalm.genome.plan import Plan
from dnalm.genome.prepare import prepare

PARTS = ("train", "val")


@pytest.fixture
def small(monkeypatch):
    """One window is 3 bases, the index has an entry every 4, and pieces end everywhere."""
    shrink(monkeypatch)


def shrink(monkeypatch, chunk=5, piece=64):
    for name, value in (
        ("prepare.SHORTEST", 1),
        ("folder.STRIDE", 4),
        ("folder.TEXT_PIECE", piece),
        ("stream.ROWS", 2),
    ):
        monkeypatch.setattr(f"dnalm.genome.{name}", value)
    monkeypatch.setattr(fasta, "CHUNK", chunk)


def prepared(plan):
    """What `prepare` wrote: meta.json by mode."""
    return {mode: PreparedGenome(folder).meta for mode, folder in prepare(plan).items()}


def write(path, records, width=7):
    lines = []
    for name, sequence in records:
        lines += [
            f">{name} a description",
            *(sequence[i : i + width] for i in range(0, len(sequence), width)),
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def normalised(records, width=7):
    """The text that full stands for."""
    lines = []
    for name, sequence in records:
        lines += [f">{name}", *(sequence[i : i + width] for i in range(0, len(sequence), width))]
    return "\n".join(lines) + "\n"


def slow_reference(records, part_of_base):
    """Segments and repeats of each part, base by base; `part_of_base(contig, number in the genome)`."""
    segments, repeats = {0: [], 1: []}, {0: [], 1: []}
    count, number = [0, 0], 0
    for contig, (_, sequence) in enumerate(records):
        last = None
        for position, letter in enumerate(sequence):
            if letter.upper() not in "ACGT":
                last = None
                continue
            part = part_of_base(contig, number)
            if last == part:
                segments[part][-1][2] += 1
            else:
                segments[part].append([contig, position, 1, count[part]])
            last = part
            if letter.islower():
                if repeats[part] and repeats[part][-1][1] == count[part]:
                    repeats[part][-1][1] += 1
                else:
                    repeats[part].append([count[part], count[part] + 1])
            count[part] += 1
            number += 1
    return segments, repeats


def check(out, records, part_of_base):
    """Every law that holds for a pair of folders."""
    full, vocab4 = PreparedGenome(out / "full"), PreparedGenome(out / "vocab4")
    segments, repeats = slow_reference(records, part_of_base)
    bases = "".join(c for _, sequence in records for c in sequence.upper() if c in "ACGT")
    assert full.meta["counts"]["bases"] == len(bases)
    for number, part in enumerate(PARTS):
        for genome in (full, vocab4):
            assert genome.segments(part).tolist() == segments[number]
            assert genome.repeats(part).tolist() == repeats[number]
            assert np.concatenate(list(genome.bases_of(part, 5))).tolist() == vocab4.tokens(part).tolist()
        count = len(vocab4.tokens(part))
        assert count == full.meta["counts"][f"{part}_bases"]
        assert full.bases(part, 0, count).tolist() == vocab4.tokens(part).tolist()
        written = full.tokenizer.decode(full.tokens(part))
        in_header = False
        number_of = 0
        for token, letter in enumerate(written):  # the tokens of each base, and back
            in_header = letter == ">" or (in_header and letter != "\n")
            if letter.upper() in "ACGT" and letter and not in_header:
                assert full.text_span(part, number_of, number_of + 1) == (token, token + 1)
                number_of += 1
        assert number_of == count
        index = np.load(out / "full/base_index.npy")
        offsets = [full.text_span(part, base, base + 1)[0] for base in range(0, count, 4)]
        assert index[index[:, 0] == number, 1].tolist() == offsets
        inner = (part, count // 3, count - 1)
        assert full.bases(*inner).tolist() == vocab4.bases(*inner).tolist()
        for genome, tokens in ((full, len(written)), (vocab4, count)):
            spans = [contig[part] for contig in genome.meta["contigs"] if contig[part]]
            ends = [start + length for start, length in spans]
            assert [start for start, _ in spans] == [0, *ends[:-1]]
            assert ends[-1] == tokens
    full.verify()
    vocab4.verify()
    return full, vocab4


sequences = st.lists(st.text("AACCGGTTacgtNNnRy-", max_size=30), min_size=1, max_size=4)


@settings(max_examples=20)
@given(sequences, st.sampled_from([0.1, 0.3, 0.5]), st.integers(1, 60), st.integers(1, 9))
def test_both_vocabularies_hold_the_genome_cut_at_one_base(tmp_path_factory, bodies, fraction, chunk, width):
    records = [(f"chrA{i}", body) for i, body in enumerate([*bodies, "ACgtTGCAgtNA"])]
    folder = tmp_path_factory.mktemp("genome")
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch, chunk)
        prepare(Plan((write(folder / "g.fa", records, width),), folder / "data", val_fraction=fraction))
        total = sum(c in "ACGTacgt" for _, body in records for c in body)
        cut = total - -(-total * round(fraction * 10) // 10)  # rounded down
        full, vocab4 = check(folder / "data", records, lambda contig, number: int(number >= cut))
    text, bases = (g.tokenizer.decode(np.concatenate([g.tokens(p) for p in PARTS])) for g in (full, vocab4))
    assert text == normalised(records, width)
    assert bases == "".join(c for _, body in records for c in body.upper() if c in "ACGT")


RECORDS = [
    ("chr1", "NNACGTacgtNRyACGTT"),
    ("chr2", "ggggTTTTAC"),
    ("chrN", "NN-N"),
    ("chr3", "aCGTNNNNNNNacgt"),
]


def test_whole_contigs_are_held_out_in_file_order(tmp_path, small):
    plan = Plan((write(tmp_path / "g.fa", RECORDS),), tmp_path / "data", val_contigs=("chr3", "chr1"))
    prepare(plan)
    full, _ = check(tmp_path / "data", RECORDS, lambda contig, number: int(contig in (0, 3)))
    assert full.tokenizer.decode(full.tokens("val")) == normalised([RECORDS[0], RECORDS[3]])
    assert full.tokenizer.decode(full.tokens("train")) == normalised(RECORDS[1:3])
    assert full.meta["split"] == {"kind": "contigs", "val_contigs": ["chr3", "chr1"]}
    assert [contig["train"] is None for contig in full.meta["contigs"]] == [True, False, False, True]


def test_split_and_counts_by_hand(tmp_path, small):
    # 13 + 10 + 8 = 31 bases; floor(0.8 * 31) = 24: base 24 is the second of chr3
    genome = (write(tmp_path / "g.fa", RECORDS),)
    with files.lock(tmp_path / "data"), pytest.raises(InputError, match="another dnalm"):
        prepare(Plan(genome, tmp_path / "data"))
    metas = prepared(Plan(genome, tmp_path / "data", val_fraction=0.2))
    split = {"kind": "fraction", "val_fraction": 0.2, "contig": "chr3", "position": 1}
    assert metas["full"]["split"] == split
    assert metas["vocab4"]["counts"] == {
        "bases": 31,
        "soft_masked": 13,
        "n": 13,
        "other_iupac": {"R": 1, "Y": 1, "-": 1},
        "train_bases": 24,
        "val_bases": 7,
        "train_tokens": 24,
        "val_tokens": 7,
    }
    chr2 = {"name": "chr2", "length": 10, "bases": 10, "train": [27, 18], "val": None}
    assert metas["full"]["contigs"][1] == chr2
    with pytest.raises(InputError, match=r"did you mean .*full or .*vocab4\?"):
        PreparedGenome(tmp_path / "data")
    # The fraction is the decimal number: (1 - 0.9) * 10 is 0.9999... in binary, and its floor 0.
    ten = write(tmp_path / "ten.fa", [("c", "ACGTACGTAC")])
    assert prepared(Plan((ten,), tmp_path / "1", val_fraction=0.9))["full"]["counts"]["train_bases"] == 1


def test_several_files_are_one_genome(tmp_path, small):
    first, second = write(tmp_path / "a.fa", RECORDS[:2]), write(tmp_path / "b.fa", RECORDS[2:])
    first.write_text(first.read_text().rstrip("\n"))
    together = prepared(Plan((write(tmp_path / "all.fa", RECORDS),), tmp_path / "one"))
    apart = prepared(Plan((first, second), tmp_path / "two"))
    for mode in together:
        assert apart[mode]["files"] == together[mode]["files"]
        assert [source["name"] for source in apart[mode]["sources"]] == ["a.fa", "b.fa"]


def test_the_alphabet_is_hg38s_if_that_is_enough(tmp_path, small):
    enough = (write(tmp_path / "a.fa", [("chr1", "ACGTNacgtn")]),)
    other = (write(tmp_path / "b.fa", [("chrV", "ACGTACGT")]),)
    assert prepared(Plan(enough, tmp_path / "1"))["full"]["vocab_size"] == 40
    assert prepared(Plan(enough, tmp_path / "2", alphabet="hg38"))["full"]["alphabet"] == "hg38"
    assert prepared(Plan(enough, tmp_path / "3", alphabet="file"))["full"]["characters"] == "\n1>ACGNTacghnrt"
    meta = prepared(Plan(other, tmp_path / "4"))["full"]
    assert (meta["alphabet"], meta["characters"]) == ("file", "\n>ACGTVchr")


def test_one_vocabulary_alone_is_the_same_as_with_the_other(tmp_path, small):
    genome = (write(tmp_path / "g.fa", RECORDS),)
    both = prepared(Plan(genome, tmp_path / "both"))
    for mode in both:
        assert prepared(Plan(genome, tmp_path / "one", modes=(mode,)))[mode] == both[mode]


def test_published_text_by_hand(tmp_path, small):
    # the published way: every upper-case A, C, G, T of the text, headers too; all characters of the text
    (tmp_path / "g.fa").write_text(">chrA Tom\nACGTacgt\nNNCC\n>chrC\nGG\n")
    prepare(Plan((tmp_path / "g.fa",), tmp_path / "data", published=True))
    whole = (tmp_path / "g.fa").read_text()
    for mode, letters in {"vocab4": "".join(c for c in whole if c in "ACGT"), "full": whole}.items():
        genome = PreparedGenome(tmp_path / "data" / mode)
        assert genome.meta["published"]
        train, val = (genome.tokenizer.decode(genome.tokens(part)) for part in PARTS)
        assert (train, val) == (letters[: int(0.9 * len(letters))], letters[int(0.9 * len(letters)) :])
        for part, body in zip(PARTS, (train, val), strict=True):
            bases = [c for c in body.upper() if c in "ACGT"]
            assert genome.segments(part)[:, 2].tolist() == [len(bases)]
            assert genome.bases(part, 0, len(bases)).tolist() == ["ACGT".index(c) for c in bases]
    assert genome.tokenizer.characters == "".join(sorted(set(whole)))


def test_a_long_header_or_gap_between_two_bases_is_stepped_over(tmp_path, monkeypatch):
    shrink(monkeypatch, piece=64)
    records = [("c", "ACGTA" + "N" * 40), ("acgt" * 10, "ACGTN" + "N" * 300 + "ACGT"), ("d", "ACGTAC")]
    prepare(Plan((write(tmp_path / "g.fa", records, 60),), tmp_path / "data", val_fraction=0.3))
    check(tmp_path / "data", records, lambda contig, number: int(number >= 13))


def test_pickles_without_the_genome(tmp_path, small):
    prepare(Plan((write(tmp_path / "g.fa", [("chr1", "ACGT" * 5_000)]),), tmp_path / "data"))
    genome = PreparedGenome(tmp_path / "data/vocab4")
    assert len(genome.tokens("train")) == 18_000
    sent = pickle.dumps(genome)
    assert len(sent) < 3_000
    again = copy.deepcopy(genome)  # by the same state that is pickled
    assert (again.bases("val", 0, 2_000) == genome.bases("val", 0, 2_000)).all()


def test_digest_is_of_the_content(tmp_path, small):
    genome = (write(tmp_path / "g.fa", RECORDS),)
    prepare(Plan(genome, tmp_path / "a"))
    prepare(Plan(genome, tmp_path / "b"))
    prepare(Plan(genome, tmp_path / "c", val_fraction=0.2))
    digests = [PreparedGenome(tmp_path / name / "full").digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


@pytest.fixture
def folder(tmp_path, small):
    prepare(Plan((write(tmp_path / "g.fa", RECORDS),), tmp_path / "data"))
    return tmp_path / "data/full"


def edit(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "meta.json").unlink(), "no meta.json"),
        (lambda f: (f / "meta.json").write_text("{"), "expected JSON"),
        (lambda f: (f / "meta.json").write_text("[]"), "another meta.json"),
        (lambda f: edit(f, format="other"), "another meta.json"),
        (lambda f: edit(f, format_version=2), r"format 2, this dnalm reads 1"),
        (lambda f: (f / "val.bin").unlink(), "val.bin: damaged"),
        (lambda f: (f / "val.bin").write_bytes(b"\1"), r"val.bin: damaged: expected 6 bytes, got 1"),
        (lambda f: (f / "segments.npy").write_bytes(bytes(288)), r"segments\.npy: .*damaged"),
    ],
)
def test_refuses_what_is_not_complete(folder, harm, message):
    harm(folder)
    with pytest.raises(InputError, match=message) as error:
        PreparedGenome(folder).segments("val")
    assert str(folder) in str(error.value)


def test_verify_sees_one_changed_byte(folder):
    data = bytearray((folder / "train.bin").read_bytes())
    data[3] ^= 1
    (folder / "train.bin").write_bytes(data)
    genome = PreparedGenome(folder)  # the size is right
    with pytest.raises(InputError, match=r"train\.bin: damaged: its SHA"):
        genome.verify()


def test_refuses_bases_and_parts_that_are_not_there(folder):
    genome = PreparedGenome(folder)
    with pytest.raises(InputError, match="train's 27, got 0 to 999"):
        genome.bases("train", 0, 999)
    with pytest.raises(InputError, match="train or val, got 'test'"):
        genome.tokens("test")


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()
    }


@pytest.mark.parametrize("failing", ["writing", "sealing"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(folder, monkeypatch, failing):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = everything(folder.parent)
    if failing == "writing":
        monkeypatch.setattr(stream.Part, "_add_index", full_disk)
    else:
        monkeypatch.setattr("dnalm.genome.prepare._seal", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare(Plan((folder.parent.parent / "g.fa",), folder.parent, overwrite=True, val_fraction=0.3))
    assert everything(folder.parent) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", "full", "vocab4"]


def test_says_beforehand_that_the_disk_is_too_small(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    genome = write(tmp_path / "g.fa", [("chr1", "ACGT" * 1_000)])
    with pytest.raises(InputError, match="MB are needed"):
        prepare(Plan((genome,), tmp_path / "data"))
    assert not (tmp_path / "data").exists()
