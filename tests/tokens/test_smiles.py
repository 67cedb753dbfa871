"""Tests for dnalm/tokens/smiles.py: the hub tokenizer's own tokens, and what they lose."""

import csv
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.errors import InputError
from dnalm.tokens.smiles import SmilesVocabulary

TOKENS = """
[PAD] [unused1] c C ( ) O 1 2 = N . n F Cl >> - [C@H] [C@@H] [O-] Br # [nH] [Na+] [Cl-] %12 / \\ @ @@
[UNK] [CLS] [SEP] [MASK]
"""
VOCABULARY = {token: number + 3 * (number > 9) for number, token in enumerate(TOKENS.split())}


def write(folder, content=VOCABULARY, merges="#version: 0.2 - none\n"):
    (folder / "vocab.json").write_text(json.dumps(content))
    (folder / "merges.txt").write_text(merges)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return SmilesVocabulary(write(tmp_path_factory.mktemp("hub")))


@pytest.fixture(scope="module")
def library():
    """The hub's kind of tokenizer over the small vocabulary, by the library that made it."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=VOCABULARY, merges=[]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def read(vocabulary, smiles, how):
    """Names of the tokens between [CLS] and [SEP], and what is lost."""
    names = {number: token for token, number in vocabulary._vocabulary.items()}
    found = vocabulary.encode(smiles, how)
    assert (found.ids.dtype, found.spans.dtype) == (np.int32, np.int64)
    assert found.spans.shape == (len(found.ids), 2)
    assert (names[found.ids[0]], names[found.ids[-1]]) == ("[CLS]", "[SEP]")
    return " ".join(names[number] for number in found.ids[1:-1]), "".join(found.lost)


@pytest.mark.parametrize(
    ("smiles", "hub", "hub_lost", "atomwise", "atomwise_lost"),
    [
        ("c1ccccc1Cl", "c 1 c c c c c 1 C", "l", "c 1 c c c c c 1 Cl", ""),
        ("[Na+].[Cl-]", "N . C -", "[a+][l]", "[Na+] . [Cl-]", ""),
        ("N[C@@H](F)C%12=O", "N C @ @ ( F ) C 1 2 = O", "[H]%", "N [C@@H] ( F ) C %12 = O", ""),
        ("[13CH4]C", "1 C C", "[3H4]", "[UNK] C", "[13CH4]"),
        ("C%34CC%(100)", "C C C ( 1 )", "%34%00", "C [UNK] C C [UNK]", "%34%(100)"),
        ("C[C", "C C", "[", "C [UNK] C", "["),
        ("[]Cé C", "C C", "[]é ", "[UNK] [UNK] C [UNK] [UNK] C", "[]é "),
        ("[K+]", "", "[K+]", "[UNK]", "[K+]"),
        ("[MASK]", "", "[MASK]", "[UNK]", "[MASK]"),
        ("[unused1]", "n 1", "[uused]", "[UNK]", "[unused1]"),
        ("", "", "", "", ""),
    ],
)
def test_tokens_by_hand(vocabulary, smiles, hub, hub_lost, atomwise, atomwise_lost):
    assert read(vocabulary, smiles, "hub") == (hub, hub_lost)
    assert read(vocabulary, smiles, "atomwise") == (atomwise, atomwise_lost)


def test_spans_are_the_tokens_places_and_a_cut_keeps_both_ends(vocabulary):
    hub, atomwise = (vocabulary.encode("[Na+]OCl", how) for how in ("hub", "atomwise"))
    assert hub.spans.tolist() == [[1, 1], [1, 2], [5, 6], [6, 7], [7, 7]]
    assert atomwise.spans.tolist() == [[0, 0], [0, 5], [5, 6], [6, 8], [8, 8]]
    assert vocabulary.encode("[K]", "hub").spans.tolist() == [[0, 0], [0, 0]]
    whole, cut = (vocabulary.encode("CClN[Na+]", "atomwise", longest) for longest in (6, 5))
    assert not whole.cut
    assert cut.cut
    assert cut.ids.tolist() == [*whole.ids[:4].tolist(), whole.ids[-1]]
    assert cut.spans.tolist() == [[0, 0], [0, 1], [1, 3], [3, 4], [4, 4]]
    assert vocabulary.encode("C" * 10 + "l", "hub", 5).lost == ["l"]
    for length in (511, 512):
        found = vocabulary.encode("C" * length, "hub")
        assert (len(found.ids), found.cut) == (513, length == 512)


@given(st.text() | st.text("cC(ON=.[]@+-l1Br%2>\\/ \né"))
def test_hub_tokens_are_the_librarys_and_atomwise_ones_cover_every_character(library, vocabulary, text):
    found, wanted = vocabulary.encode(text, "hub", 10_000), library.encode(text)
    assert found.ids[1:-1].tolist() == wanted.ids
    covered = {place for begin, end in found.spans for place in range(begin, end)}
    assert "".join(found.lost) == "".join(c for place, c in enumerate(text) if place not in covered)
    found = vocabulary.encode(text, "atomwise", 10_000)
    inner = found.spans[1:-1]
    assert "".join(text[begin:end] for begin, end in inner) == text
    unknown = inner[found.ids[1:-1] == VOCABULARY["[UNK]"]]
    assert [text[begin:end] for begin, end in unknown] == found.lost


def test_published_tokens_are_the_librarys_on_real_molecules(shared_data):
    tokenizers = pytest.importorskip("tokenizers")
    published = SmilesVocabulary(shared_data / "hub" / "ChemBERTa-77M-MLM")
    wanted = tokenizers.Tokenizer.from_file(str(published.file.parent / "tokenizer.json"))
    with gzip.open(shared_data / "interaction" / "ctd_positive_pairs.csv.gz", "rt") as file:
        molecules = sorted({row["SMILES"] for row in csv.DictReader(file)})
    assert len(molecules) == 1081
    for smiles in molecules:
        found = published.encode(smiles, "hub", 10_000)
        assert found.ids.tolist() == wanted.encode(smiles).ids
        inner = "".join(smiles[begin:end] for begin, end in found.spans)  # the library's spans ignore drops
        assert inner == "".join(wanted.id_to_token(number) for number in found.ids[1:-1])
    assert published.vocab_size == 591
    assert published.encode("ClBr[C@@H][Na+]%12", "atomwise").ids.tolist() == [12, 28, 37, 35, 46, 202, 13]
    assert ": 704 of 1,081 molecules (65.1%)" in published.report(molecules, "hub")
    assert ": 35 of 1,081 molecules" in published.report(molecules, "atomwise")


def test_a_report_counts_what_is_lost_and_which_molecules_collide(vocabulary):
    smiles = ["CCl", "C", "C", "N", "N[K]", "[K+]", "C[Zn]C", "C[Fe]C", "O" * 9]
    assert vocabulary.report(smiles, "hub", 10).splitlines() == [  # two C are one molecule; CCl is C, C
        "SMILES tokens (hub): 5 of 9 molecules (55.6%) lose something",
        "  lost most often: '[' 4, ']' 4, 'K' 2, '+' 1, 'Z' 1, 'e' 1, 'l' 1",
        "  2 molecules in 1 group with identical tokens",
        "  1 molecule has no token left",
        "  1 molecule is cut at 10 tokens",
    ]
    atomwise = vocabulary.report(smiles, "atomwise", 10)
    for part in (": 4 of 9", "'[Fe]' 1, '[K+]' 1, '[K]' 1, '[Zn]' 1\n", " 2 molecules in 1 group "):
        assert part in atomwise
    assert "no token left" not in atomwise
    assert "0 of 0 molecules" in vocabulary.report([], "hub")


def test_the_digest_is_that_of_tokens_and_ids(vocabulary, tmp_path):
    turned = dict(reversed(VOCABULARY.items()))
    file = write(tmp_path, turned) / "vocab.json"
    file.with_name("merges.txt").unlink()  # a file alone will do
    assert SmilesVocabulary(file).digest == vocabulary.digest
    assert vocabulary.vocab_size == max(VOCABULARY.values()) + 1 > len(VOCABULARY)
    swapped = VOCABULARY | {"C": VOCABULARY["c"], "c": VOCABULARY["C"]}
    assert SmilesVocabulary(write(tmp_path, swapped)).digest != vocabulary.digest


@pytest.mark.parametrize(
    ("change", "merges", "message"),
    [
        ({"[CLS]": None, "C": None}, "", r"lacks \[CLS\]; lacks C"),
        *(({"C": number}, "", "not different integers") for number in (1.0, True, -1)),
        ({"C": VOCABULARY["c"]}, "", "not different integers"),
        ({}, "#version: 0.2\nC C\nc c\n", r"merges in the merges\.txt beside it"),
    ],
)
def test_refuses_what_is_no_such_vocabulary(tmp_path, change, merges, message):
    changed = {token: number for token, number in (VOCABULARY | change).items() if number is not None}
    with pytest.raises(InputError, match=message):
        SmilesVocabulary(write(tmp_path, changed, merges))


@pytest.mark.parametrize("options", [("bpe", 9), ("hub", 2)])
def test_refuses_other_options(vocabulary, options):
    with pytest.raises(InputError, match="`longest` at least 3, got '{}' and {}".format(*options)):
        vocabulary.encode("C", *options)
