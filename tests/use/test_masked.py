"""Tests for masked models on plain strings: `dnalm.load`."""

import numpy as np
import pytest
import torch

import dnalm
from dnalm import checkpoint
from dnalm.dna import BASES, encode, other_strand
from dnalm.evaluate.annotation import Codon
from dnalm.evaluate.baselines.markov import MarkovModel
from dnalm.formats.indexed import IndexedGenome
from dnalm.models.conv import ConvConfig
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.use.knowledge import codon_ratios

BLOCK = 8
SHAPES = {
    "gpt": GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=BLOCK, objective="masked"),
    "conv": ConvConfig(width=8, blocks=2, kernel=3, widest=2, block_size=BLOCK),
}
TEXT = "ACGTTGCAAGGCTTACGATCGATTACA"


@pytest.fixture(params=SHAPES)
def opened(request, tmp_path):
    """A masked model of random weights, opened from its folder, and its module."""
    torch.manual_seed(0)
    shape = SHAPES[request.param]
    module = LanguageModel(shape, 4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    tensors = {name: each for name, each in module.state_dict().items() if name != "lm_head.weight"}
    about = {"kind": "language", "encoder": {"name": request.param, **vars(shape)}, "characters": "ACGT"}
    checkpoint.save(tmp_path / "m", tensors, about | {"vocab_size": 4, "step": 5})
    return dnalm.load(tmp_path / "m"), module.eval()


def alone(module, text, at):
    """Log-probabilities of the one masked letter of a text."""
    tokens = torch.tensor([["ACGT".index(letter) for letter in text]])
    tokens[0, at] = 4
    found = module(tokens, torch.ones_like(tokens, dtype=torch.bool))
    return found[0, at].log_softmax(-1).detach().numpy()


def test_each_base_of_a_block_is_masked_alone_and_predicted_from_both_sides(opened):
    model, module = opened
    text = TEXT[:BLOCK]
    (found,) = model.log_probabilities([text])
    expected = [alone(module, text, at) for at in range(BLOCK)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)  # float32
    scores = model.score([text])
    bits = [-expected[at]["ACGT".index(letter)] / np.log(2) for at, letter in enumerate(text)]
    np.testing.assert_allclose(scores.per_base[0], bits, rtol=1e-4, atol=1e-5)


def test_a_long_text_is_read_in_windows_whose_middle_counts(opened):
    model, module = opened
    (found,) = model.log_probabilities([TEXT], overlap=4)
    for at in range(len(TEXT)):
        begin = 0 if at < 6 else min((at - 2) // 4 * 4, 20)  # 4 apart, the last one at 20
        expected = alone(module, TEXT[begin : begin + BLOCK], at - begin)
        # In a window of 8 letters no two of them are masked in one pass.
        np.testing.assert_allclose(found[at], expected, rtol=1e-4, atol=1e-5)


def test_other_letters_break_a_text_and_batches_do_not_matter(opened):
    model, _ = opened
    broken, first, second = model.log_probabilities(["ACGTTNGCATT", "ACGTT", "GCATT"])
    expected = np.concatenate([first, np.full((1, 4), np.nan), second])
    np.testing.assert_allclose(broken, expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(model.log_probabilities(["A"])[0]).all()


def test_both_strands_are_two_reads_turned_round(opened):
    model, _ = opened
    (both,) = model.both_strands([TEXT])
    (forward,) = model.log_probabilities([TEXT])
    turned = TEXT[::-1].translate(str.maketrans("ACGT", "TGCA"))
    (other,) = model.log_probabilities([turned])
    np.testing.assert_array_equal(both, np.stack([forward, other[::-1, ::-1]]))


def test_states_of_a_long_text_are_those_of_the_windows_middles(opened):
    model, module = opened
    (states,) = model.embed([TEXT], pool="none", overlap=4)
    tokens = torch.tensor([["ACGT".index(letter) for letter in TEXT[4:12]]])
    expected = module.transformer(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].detach().numpy()
    np.testing.assert_allclose(states[6:10], expected[2:6], rtol=1e-4, atol=1e-5)


def odds(module, text):
    """Log-odds of each base at each position of a text, nothing of it masked, [L, 4]."""
    tokens = torch.tensor([["ACGT".index(letter) for letter in text]])
    p = module(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].softmax(-1).detach().double().numpy()
    return np.log(p / (1 - p))


def test_variants_are_scored_from_both_sides(opened, tmp_path):
    model, module = opened
    (tmp_path / "g.fa").write_text(f">c\n{TEXT[:BLOCK]}\n")  # ACGTTGCA, one window
    variants = [("c", 3, "T", "A"), ("c", 4, "TG", "CA"), ("c", 5, "G", "GT"), ("c", 2, "GT", "G")]
    found = model.score_variants(tmp_path / "g.fa", variants, markov_order=1).scores
    changed = ["ACGATGCA", "ACGTCACA", "ACGTTGTCA", "ACGTGCA"]
    positions = [  # of what both windows have, in each
        (np.delete(np.arange(8), 3),) * 2,
        (np.delete(np.arange(8), [4, 5]),) * 2,
        (np.arange(8), np.delete(np.arange(9), 6)),
        (np.delete(np.arange(8), 3), np.arange(7)),
    ]
    for row, (alt, (before, after)) in enumerate(zip(changed, positions, strict=True)):
        ratios, changes = [], []
        for turned in (False, True):
            ref, other = (other_strand(each) if turned else each for each in (TEXT[:BLOCK], alt))
            one, two = (len(t) - 1 - at if turned else at for t, at in ((ref, before), (other, after)))
            fits = two < BLOCK  # a longer window is cut at its end
            change = odds(module, other[:BLOCK])[two[fits]] - odds(module, ref)[one[fits]]
            changes.append(np.abs(change).max())
            if row < 2:
                core = [at for at in range(BLOCK) if ref[at] != other[at]]
                ratios.append(masked_ratio(module, ref, other, core))
        np.testing.assert_allclose(found["DEP"][row], max(changes), rtol=1e-4)
        if row < 2:
            np.testing.assert_allclose(found["LLR"][row], np.mean(ratios), rtol=1e-4)
        else:
            assert np.isnan(found["LLR"][row])
    assert np.isfinite(found["MARKOV"]).all()


def masked_ratio(module, ref, alt, core):
    """Log-probability of the letters of `alt` less that of `ref` at masked positions."""
    tokens = torch.tensor([["ACGT".index(letter) for letter in ref]])
    tokens[0, core] = 4
    log_p = module(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].log_softmax(-1).detach().numpy()
    return sum(log_p[at, "ACGT".index(alt[at])] - log_p[at, "ACGT".index(ref[at])] for at in core)


def test_codons_are_scored_at_the_one_masked_base(opened, tmp_path):
    model, module = opened
    (tmp_path / "g.fa").write_text(f">c\n{TEXT}\n")
    markov, changes = MarkovModel([encode(TEXT)], 1), ((0, 3), (1, 0), (2, 2))
    codons = [Codon(0.0, "c", start, 0, changes) for start in (0, 12, 24)]
    found = codon_ratios(model, markov, IndexedGenome(tmp_path / "g.fa"), codons)
    for row, begin in enumerate((0, 8, 19)):
        window = TEXT[begin : begin + BLOCK]
        for column, (offset, new) in enumerate(changes):
            at = codons[row].start + offset - begin
            changed = window[:at] + BASES[new] + window[at + 1 :]
            strands = [(window, changed, at), (other_strand(window), other_strand(changed), BLOCK - 1 - at)]
            of_model = np.mean([masked_ratio(module, one, other, [site]) for one, other, site in strands])
            of_markov = [
                markov.bits([encode(one)])[0].sum() - markov.bits([encode(other)])[0].sum()
                for one, other, _ in strands
            ]
            np.testing.assert_allclose(
                found["model"][row, column], of_model / np.log(2), rtol=1e-3, atol=1e-5
            )
            np.testing.assert_allclose(found["markov"][row, column], np.mean(of_markov), rtol=1e-6)


def test_a_masked_base_beside_other_letters_is_predicted_from_its_own_stretch(opened):
    model, _ = opened
    texts, at = ["ACGTTNCA", "ACGTT", "NCAGG"], [3, 3, 0]
    broken, alone_there, unread = model.at_masked_bases(texts, at)
    np.testing.assert_allclose(broken, alone_there, rtol=1e-4, atol=1e-5)
    assert np.isnan(unread).all()
