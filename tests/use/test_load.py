"""Tests for `dnalm.load`: every kind of model, on plain strings."""

import json

import numpy as np
import pytest
import torch

import dnalm
from dnalm import checkpoint
from dnalm.cli import main
from dnalm.data.pairs import open_pairs, write_pairs
from dnalm.errors import InputError
from dnalm.models.gpt import GPTConfig
from dnalm.models.language import LanguageModel, base_log_probabilities
from dnalm.tokens.characters import VOCAB4, CharacterTokenizer

BLOCK = 8
TEXT = "ACGTTGCAAGGCTTACGATCGATTACA"


def save_language(folder, characters="ACGT", **more):
    """A language model of random weights, saved as `dnalm pretrain` does."""
    torch.manual_seed(0)
    config = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=BLOCK, position="rotary")
    model = LanguageModel(config, len(characters))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    tensors = {name: each for name, each in model.state_dict().items() if name != "lm_head.weight"}
    about = {"kind": "language", "encoder": {"name": "gpt", **vars(config)}, "characters": characters}
    checkpoint.save(folder, tensors, about | {"vocab_size": len(characters), "step": 5} | more)
    return model.eval()


@pytest.fixture
def language(tmp_path):
    """A language model's folder, and its module."""
    return tmp_path / "vocab4", save_language(tmp_path / "vocab4")


def bits_by_hand(module, text, tokenizer=VOCAB4):
    """Bits of each base given all that is left of it, one token at a time."""
    ids = torch.from_numpy(tokenizer.encode(text).astype(np.int64))[None]
    logits = module(ids[:, :-1], torch.ones(1, len(text) - 1, dtype=torch.bool))[0]
    log_p = base_log_probabilities(logits, tokenizer)
    base = tokenizer.base_of_token[ids[0, 1:].numpy()].astype(np.int64)
    at = np.flatnonzero(base < 4)
    return -log_p[at, base[at]].detach().numpy() / np.log(2)


class TestLanguageModel:
    def test_a_short_sequence_is_scored_as_the_model_predicts_it(self, language):
        folder, module = language
        text = TEXT[: BLOCK + 1]
        scores = dnalm.load(folder).score([text, text.lower()])
        expected = bits_by_hand(module, text)
        for per_base in scores.per_base:
            assert np.isnan(per_base[0])
            np.testing.assert_allclose(per_base[1:], expected, rtol=1e-5)  # float32
        np.testing.assert_allclose(scores.bits_per_base, expected.mean(), rtol=1e-5)

    @pytest.mark.parametrize("overlap", [0, 3, BLOCK - 1])
    def test_each_base_of_a_long_one_has_at_least_the_overlap_as_context(self, language, overlap):
        folder, module = language
        (per_base,) = dnalm.load(folder).score([TEXT], overlap=overlap).per_base
        assert np.isnan(per_base).sum() == 1
        step = BLOCK - overlap
        for at in range(1, len(TEXT)):
            window = max(0, -(-(at - BLOCK) // step)) * step  # the first one that predicts this base
            start = min(window, at - 1)
            alone = bits_by_hand(module, TEXT[start : at + 1])[-1]
            assert per_base[at] == pytest.approx(alone, rel=1e-4)
            assert at < BLOCK or at - start > overlap

    def test_another_letter_breaks_a_sequence_in_two(self, language):
        model = dnalm.load(language[0])
        broken, first, second = model.score(["ACGTTNGCATT", "ACGTT", "GCATT"]).per_base
        np.testing.assert_allclose(broken, np.concatenate([first, [np.nan], second]), rtol=1e-5)
        np.testing.assert_allclose(model.score(["GCATT"]).per_base[0], second, rtol=1e-5)  # in any batch
        assert np.isnan(model.score(["N", "A"]).bits_per_base).all()

    def test_bits_of_the_full_vocabulary_add_both_cases(self, tmp_path):
        characters = "\n>ACGTNacgtn"
        module = save_language(tmp_path / "full", characters)
        (per_base,) = dnalm.load(tmp_path / "full").score(["ACgtTN"]).per_base
        expected = bits_by_hand(module, "ACgtTN", CharacterTokenizer(characters))
        np.testing.assert_allclose(per_base[1:5], expected, rtol=1e-5)
        assert np.isnan(per_base[5])  # N is read, but it is no base

    def test_states_are_those_of_the_last_layer_and_their_mean(self, language):
        folder, module = language
        model = dnalm.load(folder)
        text = TEXT[:BLOCK]
        ids = torch.from_numpy(VOCAB4.encode(text))[None]
        expected = module.transformer(ids, torch.ones_like(ids, dtype=torch.bool))[0].detach().numpy()
        (states,) = model.embed([text], pool="none")
        np.testing.assert_allclose(states, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.embed([text])[0], expected.mean(0), rtol=1e-4, atol=1e-5)
        long, broken = model.embed([TEXT, "ACNGT"], pool="none")
        assert long.shape == (len(TEXT), 8)
        assert not np.isnan(long).any()
        assert np.isnan(broken).all(axis=1).tolist() == [False, False, True, False, False]

    def test_what_is_no_sequence_is_refused_by_its_index(self, language):
        model = dnalm.load(language[0])
        for sequences, index in ((["ACGT", ""], 1), (["ACGT", "AC", "AXT"], 2), ([3], 0), (["AC GT"], 0)):
            for use in (model.score, model.embed):
                with pytest.raises(InputError, match=f"sequence {index}"):
                    use(sequences)
        with pytest.raises(InputError, match="list of sequences"):
            model.score("ACGT")
        with pytest.raises(InputError, match="overlap"):
            model.score(["ACGT"], overlap=BLOCK)
        with pytest.raises(InputError, match="pool"):
            model.embed(["ACGT"], pool="max")


class TestBindingModel:
    def test_scores_are_the_models_at_each_base(self, binding, tmp_path):
        train = ["--epochs", "1", "--gap", "100", "--out", str(tmp_path), "--device", "cpu", "--quiet"]
        files = ["--sequences", str(binding.sequences), "--scores", str(binding.scores)]
        assert main(["baseline", *train, *files]) == 0
        core = ["--checkpoint-dir", str(binding.outputs), "--config", "vocab4", "--both-strands"]
        assert main(["finetune", *core, *train, *files]) == 0
        folder, published = dnalm.load(tmp_path / "baseline"), dnalm.load(tmp_path / "cnn_baseline_model.pt")
        texts = ["ACGTTGCA", "acgttgca", "ACGNNACGTTTAC"]
        tracks = folder.predict(texts)
        assert [len(track) for track in tracks] == [8, 8, 13]
        np.testing.assert_array_equal(tracks[0], tracks[1])  # the case does not matter
        for one, other in zip(tracks, published.predict(texts), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        tuned = dnalm.load(tmp_path / "vocab4")
        assert tuned.both_strands
        assert tuned.predict(["ACGTTG"])[0].shape == (6,)
        with pytest.raises(InputError, match=r"sequence 1 has .* at most"):
            tuned.predict(["ACGT", "A" * (tuned.longest + 1)])
        with pytest.raises(InputError, match="sequence 0"):
            tuned.predict([""])


def test_what_is_no_model_is_refused_with_what_it_is(tmp_path, language):
    (tmp_path / "empty").mkdir()
    checkpoint.save(tmp_path / "runs" / "last", {"a": torch.zeros(2)}, {"step": 7})
    found = {"nowhere": "nowhere", "": "vocab4", "empty": "empty", "runs/last": "state of a training run"}
    for name, message in found.items():  # tmp_path itself is a folder of models
        with pytest.raises(InputError, match=message):
            dnalm.load(tmp_path / name)
    with pytest.raises(InputError, match="`pairs`"):
        dnalm.load(language[0], pairs=tmp_path)


def train_pairs(folder, out, *flags):
    quick = ["--epochs", "1", "--device", "cpu", "--quiet"]
    assert main(["interact", "train", "--data", str(folder), "--out", str(out), *quick, *flags]) == 0


@pytest.fixture(scope="module")
def original(pair_folder, tmp_path_factory):
    """A trained model of the published shape."""
    out = tmp_path_factory.mktemp("pairs of load") / "original"
    train_pairs(pair_folder, out)
    return out


class TestPairModel:
    @pytest.mark.parametrize("kind", ["original", "foundation"])
    def test_probabilities_are_the_calibrated_ones_of_training(
        self, pair_folder, binding, original, tmp_path, kind
    ):
        run = original
        if kind == "foundation":
            run = tmp_path / "run"
            encoders = ["--dna-encoder", str(binding.outputs / "vocab4"), "--mol-encoder", "morgan"]
            train_pairs(pair_folder, run, "--model", kind, "--width", "8", "--heads", "2", *encoders)
        pairs = open_pairs(pair_folder)
        rows = pairs.parts["validation"]
        ids = [pairs.gene_ids[row] for row in pairs.gene[rows]]
        sequences = [pairs.sequences[row] for row in pairs.gene[rows]]
        smiles = [pairs.smiles[row] for row in pairs.molecule[rows]]
        model = dnalm.load(run, pairs=pair_folder, cache=tmp_path / "cache")
        found = model.predict(ids, smiles)
        np.testing.assert_allclose(found, dnalm.load(run).predict(sequences, smiles), rtol=1e-5)
        results = json.loads((run / "results.json").read_text())
        assert model.temperature == pytest.approx(results["temperature"])
        logits = np.log(found) - np.log1p(-found)
        sharp = 1 / (1 + np.exp(-logits * model.temperature))  # as the results have them: before calibration
        brier = np.mean((sharp - pairs.label[rows]) ** 2)
        assert brier == pytest.approx(results["validation"]["brier"], rel=1e-3)
        one = model.predict([ids[0]], smiles[:3])  # one gene for all
        np.testing.assert_allclose(one, model.predict([ids[0]] * 3, smiles[:3]), rtol=1e-5)

    def test_molecules_are_made_clean_as_in_training(self, pair_folder, tmp_path):
        pairs = open_pairs(pair_folder)
        pairs.meta.update(salts="keep", isotopes="drop")
        write_pairs(tmp_path / "set", pairs, pairs.gene_ids, [], {})
        train_pairs(tmp_path / "set", tmp_path / "run")
        model, gene = dnalm.load(tmp_path / "run"), pairs.sequences[:1]
        salt, acid = model.predict(gene, ["CC(=O)[O-].[Na+]", "CC(=O)[O-]"])
        assert salt != acid
        assert model.predict(gene, ["[13CH3]CO"]) == model.predict(gene, ["CCO"])

    def test_what_cannot_be_read_is_named_by_its_index(self, original):
        model = dnalm.load(original)
        for genes, smiles, message in (
            (["ACGT", "12"], ["CCO", "CCN"], "gene 1.*`pairs`"),
            (["ACGT", ""], ["CCO", "CCN"], "gene 1"),
            (["ACGT"], ["CCO", "not a molecule"], "molecule 1"),
            (["ACGT", "ACGT"], ["CCO"] * 3, "2 genes and 3 molecules"),
        ):
            with pytest.raises(InputError, match=message):
                model.predict(genes, smiles)
