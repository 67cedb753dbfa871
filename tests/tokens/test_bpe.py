"""Tests for dnalm/tokens/bpe.py: tokens, bases, and that no more is tokenised than needed."""

import sys

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.files import sha256
from dnalm.tokens.bpe import DNABPE, LOOKAHEAD

LONGEST = 32
"""Bases of the longest token of the tokenizer that is made here, and of the published one."""


def random_bases(length, seed=0):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A byte-pair tokenizer of random and repeated bases; its special tokens are the published ones."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    options = {"vocab_size": 120, "initial_alphabet": list("ACGT"), "show_progress": False}
    text = [random_bases(300, seed) for seed in range(20)] + ["CA" * (LONGEST // 2)] * 200
    tokenizer.train_from_iterator(text, library.trainers.BpeTrainer(special_tokens=special, **options))
    tokenizer.enable_truncation(7)  # of no effect: lengths are asked for
    tokenizer.enable_padding(length=9)
    folder = tmp_path_factory.mktemp("hub")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def bpe(folder):
    return DNABPE(folder)


@pytest.fixture(scope="module")
def whole(bpe):
    """The library's own tokens of one piece, all of them."""
    return lambda text: bpe._tokenizer.encode(text, add_special_tokens=False).ids


def inner(tokens):
    assert (tokens.ids.dtype, tokens.spans.dtype) == (np.int32, np.int64)
    assert tokens.ids[[0, -1]].tolist() == [1, 2]
    assert tokens.spans.shape == (len(tokens.ids), 2)
    first, last = tokens.spans[1, 0], tokens.spans[-2, 1]
    assert tokens.spans[[0, -1]].tolist() == [[first, first], [last, last]]
    return tokens.ids[1:-1].tolist()


def test_tokens_spell_the_bases_of_their_spans_in_either_case_and_with_uracil(bpe):
    text = "nnN" + random_bases(50) + "NN-R" + random_bases(30, 1).lower() + "CACACAuUu" + "N"
    tokens = bpe.encode(text)
    names = [bpe._tokenizer.id_to_token(token) for token in inner(tokens)]
    spans = tokens.spans[1:-1]
    assert names == [text[begin:end].upper().replace("U", "T") for begin, end in spans]
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    covered = {at for begin, end in spans for at in range(begin, end)}
    assert covered == {at for at, letter in enumerate(text) if letter.upper() in "ACGTU"}
    for other in (text.lower(), text.upper().replace("T", "U")):
        assert np.array_equal(bpe.encode(other).ids, tokens.ids)


def test_pieces_are_tokenised_apart_and_joined(bpe, whole):
    one, two = random_bases(200, 1), random_bases(90, 2)
    for between in ("N", "nnnn", "R", "é", "\n", " "):
        tokens = bpe.encode(one + between + two)
        assert inner(tokens) == whole(one) + whole(two)
        assert tokens.spans[len(whole(one)) + 1, 0] == len(one + between)
    assert whole(one + two) != whole(one) + whole(two)


@pytest.mark.parametrize("repeat", ["", "CA", "A", "CACACAG", "CA" * (LONGEST // 2) + "G"])
def test_the_first_tokens_are_those_of_the_full_text(bpe, whole, repeat):
    text = repeat * (40_000 // len(repeat)) if repeat else random_bases(40_000)
    for longest in (1, 20, 300):
        assert inner(bpe.encode(text, longest)) == whole(text)[:longest]
    text = "N".join(text[at : at + 20] for at in range(0, 600, 20))
    every = inner(bpe.encode(text, 10_000))
    for longest in (1, 7, len(every) - 1, len(every), len(every) + 1):
        assert inner(bpe.encode(text, longest)) == every[:longest]


@pytest.mark.parametrize("text", [random_bases(400_000), "CA" * 200_000], ids=["random", "long tokens"])
def test_no_more_is_tokenised_than_needed(bpe, monkeypatch, text):
    fed, real = [], bpe._tokenizer

    class Counting:
        def encode(self, piece, **options):
            fed.append(len(piece))
            return real.encode(piece, **options)

    monkeypatch.setattr(bpe, "_tokenizer", Counting())
    assert len(inner(bpe.encode(text, 100))) == 100
    assert sum(fed) <= (100 + LOOKAHEAD) * LONGEST
    assert len(bpe.windows(text, 3, 100)) == 3
    assert sum(fed) <= 8 * (100 + LOOKAHEAD) * LONGEST


def test_windows_cover_a_sequence_that_fits(bpe):
    text = "NN" + random_bases(500, 1) + "NNN" + random_bases(333, 2) + "N"
    every = bpe.encode(text, 10_000)
    size = len(inner(every))
    for longest in (size, size - 1, size // 3, 20):
        needed = -(-size // longest)
        for count in (needed, needed + 5):
            windows = bpe.windows(text, count, longest)
            assert len(windows) == needed
            assert sum((inner(window) for window in windows), []) == inner(every)
            spans = np.concatenate([window.spans[1:-1] for window in windows])
            assert np.array_equal(spans, every.spans[1:-1])
            assert all(len(window.ids) == longest + 2 for window in windows[:-1])


def test_windows_are_evenly_spaced_over_a_longer_sequence(bpe, whole):
    text = random_bases(9_999)
    windows = bpe.windows(text, 3, 50)
    assert [window.spans[0, 0] for window in windows] == [0, 3333, 6666]
    for window in windows:
        start = int(window.spans[0, 0])
        assert inner(window) == whole(text[start : start + 3333])[:50]
    sparse = bpe.windows("N" * 400 + random_bases(400) + "N" * 800, 4, 20)
    assert [window.spans[0, 0] for window in sparse] == [400]  # of four parts only the second has bases
    text = random_bases(600) + "CA" * 300  # few tokens in the second half: its windows stop at their parts
    for count in range(1, 12):
        spans = np.concatenate([window.spans for window in bpe.windows(text, count, 19)])
        assert (spans[1:, 0] >= spans[:-1, 1]).all()


def test_refuses_no_base_senseless_sizes_and_what_is_no_tokenizer_of_dna(bpe, tmp_path, folder, monkeypatch):
    for text in ("", "NNNN", "-" * 30):
        with pytest.raises(InputError, match="at least one of A, C, G, T or U, got"):
            bpe.windows(text, 3)
    with pytest.raises(InputError, match="`count` and `longest` must be at least 1, got 0 and -1"):
        bpe.windows("ACGT", 0, -1)
    library = pytest.importorskip("tokenizers")
    text = (folder / "tokenizer.json").read_text()
    words = library.Tokenizer(library.models.WordLevel({"[UNK]": 0, "C": 1}, unk_token="[UNK]")).to_str()
    for content, message in (
        (None, "missing"),
        (text[:-300], "cut short .*fetch it again"),
        (words, "got no token A, G, T, "),
        (text.replace('"[SEP]"', '"</s>"'), r"no token \[SEP\]"),
    ):
        if content:
            (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(InputError, match=rf"tokenizer\.json: .*{message}"):
            DNABPE(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r'pip install "dnalm\[interaction\]"'):
        DNABPE(folder)


def test_golden_ids_of_the_published_tokenizer(shared_data):
    pytest.importorskip("tokenizers")
    bpe = DNABPE(shared_data / "hub" / "DNABERT-2-117M")
    assert bpe.digest == sha256(bpe.file) == DNABPE(bpe.file).digest
    tokens = bpe.encode("ATCGATCGGCTAAGCTTAGC")
    assert tokens.ids.tolist() == [1, 5, 359, 288, 79, 263, 19, 2]
    assert (bpe.vocab_size, bpe.longest_token) == (4096, LONGEST)
    for text in (random_bases(60_000), "TA" * 20_000, "TTTTAATGT" * 4_000, "A" * 30_000):
        whole = bpe._tokenizer.encode(text, add_special_tokens=False).ids
        assert inner(bpe.encode(text)) == whole[:510]
