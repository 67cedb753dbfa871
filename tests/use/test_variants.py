"""Tests for dnalm/use/variants.py and dnalm/use/variant_scores.py: scores against complete readings."""

import numpy as np
import pytest
import torch

import dnalm
from dnalm import checkpoint
from dnalm.data.labels import rename_rule
from dnalm.dna import encode, other_strand
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.formats.vcf import read_record
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.use import variants
from dnalm.use.language_variants import CausalScorer
from dnalm.use.markov import training_markov
from dnalm.use.variant_scores import BindingScorer, window_of
from dnalm.use.variants import Allele, Places, score_records

WINDOW = 40


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """A contig with a gap in it, a short one, and soft-masked bases."""
    letters = np.random.default_rng(3).choice(list("ACGT"), 400)
    letters[200:210] = "N"
    text = "".join(letters)
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(f">c1\n{text[:60].lower()}{text[60:]}\n>c2\nACGTTGCAAC\n>c3\nA\n")
    with IndexedGenome(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A language model of random weights."""
    torch.manual_seed(0)
    config = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=48)
    made = LanguageModel(config, 4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    tensors = {name: each for name, each in made.state_dict().items() if name != "lm_head.weight"}
    about = {"kind": "language", "encoder": {"name": "gpt", **vars(config)}, "characters": "ACGT"}
    folder = tmp_path_factory.mktemp("model") / "vocab4"
    checkpoint.save(folder, tensors, about | {"vocab_size": 4, "step": 5})
    return dnalm.load(folder, device="cpu")


@pytest.fixture
def scorer(model, genome):
    return CausalScorer(model, training_markov(model.path, genome, 3).model, WINDOW)


def allele(genome, start, length, alt):
    """An allele in its window of c1; REF is what the genome has."""
    ref = genome.letters("c1", start, start + length).upper()
    (placed,) = Places(genome, WINDOW, rename_rule(None)).place("c1", start, ref, [alt or ref[:1]])
    assert not isinstance(placed, str)
    return placed


def by_hand(model, one, core):
    """LLR and DEP from complete readings of both windows; `core` is what differs: at, of REF, of ALT."""
    at, size, other = core
    ratios, changes = [], []
    for turned in (False, True):
        ref = one.letters.upper()
        alt = ref[: one.at] + one.alt + ref[one.at + len(one.ref) :]
        first = at
        if turned:
            ref, alt, first = other_strand(ref), other_strand(alt), len(ref) - at - size
        alt = alt[:WINDOW]
        before, after = model.log_probabilities([ref, alt], overlap=0)
        total = 0.0
        for row in range(len(ref)):  # by position of the reference
            there = row if row < first + size else row - size + other
            if (first <= row < first + size and size != other) or there >= len(alt):
                continue
            codes = encode(ref[row] + alt[there])
            if row:
                total += float(after[there, codes[1]] - before[row, codes[0]])
            if row >= first + size:
                odds = [np.log(p / (1 - p)) for p in (np.exp(after[there]), np.exp(before[row]))]
                changes.append(np.abs(odds[0] - odds[1]).max())
        ratios.append(total)
    return np.mean(ratios), max(changes)


@pytest.mark.parametrize(
    ("start", "length", "alt", "core"),
    [
        (100, 1, "A", (0, 1, 1)),  # SNVs, at a place where the genome has another base
        (100, 3, "AAA", (0, 3, 3)),
        (120, 1, "+TT", (1, 0, 2)),
        (140, 4, "", (1, 3, 0)),
        (3, 1, "+GAC", (1, 0, 3)),
        (397, 1, "+GACC", (1, 0, 4)),
        (215, 1, "+C", (1, 0, 1)),
    ],
)
def test_scores_are_those_of_complete_readings(model, genome, scorer, start, length, alt, core):
    ends = alt[-1:] or genome.letters(
        "c1", start, start + 1
    )  # unlike each other, so that only one place fits
    while core[1] != core[2] and genome.letters("c1", start + length - 1, start + length).upper() == ends:
        start -= 1
        ends = alt[-1:] or genome.letters("c1", start, start + 1)
    ref = genome.letters("c1", start, start + length).upper()
    if alt == "A" * length:
        alt = "".join("C" if letter == "A" else "A" for letter in ref)
    if alt.startswith("+"):
        alt = ref + alt[1:]
    one = allele(genome, start, length, alt)
    shift = one.at + core[0]
    expected = by_hand(model, one, (shift, core[1], core[2]))
    found = scorer.score([one])[0]
    np.testing.assert_allclose(found[:2], expected, rtol=2e-4, atol=1e-5)  # float32
    markov = []
    for turned in (False, True):
        text = one.letters[: one.at] + one.alt + one.letters[one.at + len(one.ref) :]
        texts = [other_strand(each) if turned else each for each in (one.letters, text)]
        bits = scorer.markov.bits([encode(each) for each in texts])
        at = len(one.letters) - shift - core[1] if turned else shift
        if core[1] != core[2]:
            bits = [np.delete(each, slice(at, at + size)) for each, size in zip(bits, core[1:], strict=True)]
        markov.append((bits[0].sum() - bits[1].sum()) * np.log(2))
    assert found[2] == pytest.approx(np.mean(markov), abs=1e-9)


def test_a_score_does_not_depend_on_what_else_is_scored(genome, scorer):
    many = [
        allele(genome, start, 1, base)
        for start in range(62, 190, 3)
        for base in "ACGT"
        if base != genome.letters("c1", start, start + 1)
    ]
    together = scorer.score(many)
    assert not np.isnan(together).any()
    for row in (0, 7, len(many) - 1):
        np.testing.assert_allclose(scorer.score([many[row]])[0], together[row], rtol=1e-4, atol=1e-5)


def test_windows_shift_at_ends_and_gaps_and_are_shared_by_neighbours(genome):
    places = Places(genome, WINDOW, rename_rule(None))
    for start in range(400):
        if not 200 <= start < 210:
            first, letters = places._window("c1", start, start + 1)
            low, high = (0, 200) if start < 200 else (210, 400)
            assert len(letters) == WINDOW
            assert low <= first <= start < first + WINDOW <= high
            if 30 < start < 160:
                assert 0.35 * WINDOW <= start - first <= 0.65 * WINDOW
    assert len({places._window("c1", start, start + 1)[0] for start in range(100, 140)}) <= 5
    assert places._window("c2", 3, 4) == (0, "ACGTTGCAAC")


def test_what_cannot_be_scored_has_its_reason(genome):
    places = Places(genome, WINDOW, rename_rule(None))
    ref = genome.letters("c1", 100, 120)
    cases = {
        ("c1", 100, ref[0], "."): "no_alt",
        ("c1", 100, ref[0], "<DEL>"): "symbolic",
        ("c1", 100, ref[0], "N[c2:3["): "breakend",
        ("c1", 100, ref[0], "*"): "star",
        ("c1", 100, ref[0], "N"): "ambiguous",
        ("c1", 205, "N", "A"): "ambiguous",
        ("c1", 205, "A", "C"): "ambiguous",
        ("c1", 100, ref[0], ref[0].lower()): "same_as_ref",
        ("c1", 100, ref, ref[0]): "too_long",
        ("c9", 100, "A", "C"): "contig_missing",
        ("c2", 9, "CA", "C"): "beyond_contig",
        ("c2", -1, "C", "A"): "beyond_contig",
        ("c1", 100, "A" if ref[0] != "A" else "C", "G"): "ref_mismatch",
        ("c3", 0, "A", "C"): "no_context",
    }
    for (contig, start, letters, alt), reason in cases.items():
        alts = () if alt == "." else (alt,)
        assert places.place(contig, start, letters, alts) == [reason]
        assert reason in variants.REASONS
    assert set(cases.values()) == set(variants.REASONS)
    mixed = places.place("c1", 100, ref[0], ("<DEL>", "c" if ref[0] != "C" else "a"))
    assert mixed[0] == "symbolic"
    assert mixed[1].alt in "AC"


@pytest.mark.parametrize("count", [300, 3000])
def test_records_are_read_as_they_are_scored(genome, count):
    ahead, waiting = 0, 0

    def records():
        nonlocal ahead, waiting
        for _ in range(count):
            waiting += 1
            ahead = max(ahead, waiting)
            yield read_record("c1\t101\t.\tA\t<DEL>")

    places = Places(genome, WINDOW, rename_rule(None))
    for _record, scored in score_records(None, places, records()):
        waiting -= 1
        assert scored[0].reason
    assert (waiting, ahead) == (0, variants.CHUNK)


class Sites:
    """A binding model that scores 6 at each base of GATA."""

    longest = None

    def predict(self, texts):
        tracks = [np.zeros(len(text), dtype=np.float32) for text in texts]
        for text, track in zip(texts, tracks, strict=True):
            for at in range(len(text)):
                if text.upper().startswith("GATA", at):
                    track[at : at + 4] = 6
        return tracks


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", (-6, -24, 0, 1)),  # the site is broken
        ("AT", "A", (-6, -24, 0, 1)),
        ("A", "AGATAC", (0, 0, 1, 1)),  # one is broken, and another is new in what is inserted
    ],
)
def test_sites_that_are_lost_and_gained(ref, alt, expected):
    one = Allele("c", 0, "CCCCCCCCGATACCCCCCCCCCC", 9, ref, alt)
    assert BindingScorer(Sites(), 3.0, 40).score([one])[0].tolist() == list(expected)
    lost = {0: (6, 24, 1, 0)}
    back = Allele("c", 0, "CCCCCCCCGCTACCCCCCCCCCC", 9, "C", "A")
    assert BindingScorer(Sites(), 3.0, 40).score([back])[0].tolist() == list(lost[0])


def test_windows_that_a_model_cannot_read_are_refused(model):
    assert window_of(model, None) == 49
    assert window_of(model, 20) == 20
    for window in (50, 15):
        with pytest.raises(InputError, match="`window` must be 16 to 49"):
            window_of(model, window)
    with pytest.raises(InputError, match="genes and molecules"):
        window_of(object(), None)


def test_scores_from_python(model, genome):
    base = genome.letters("c1", 100, 101)
    alts = [each for each in "ACGT" if each != base][:2]
    found = model.score_variants(
        genome.path, [("c1", 100, base, ",".join(alts)), ("c1", 101, "N", "A")], window=WINDOW, markov_order=3
    )
    assert found.alleles == [("c1", 100, base, alts[0]), ("c1", 100, base, alts[1]), ("c1", 101, "N", "A")]
    assert found.reasons == ["", "", "ambiguous"]
    assert list(found.scores) == ["LLR", "DEP", "MARKOV"]
    assert [np.isnan(each).tolist() for each in found.scores.values()] == [[False, False, True]] * 3
