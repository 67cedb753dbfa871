"""Tests for explanations: mutagenesis, dependencies, DeepLIFT, stretches and motifs."""

import numpy as np
import pytest
import torch

import dnalm
from dnalm.dna import BASES, encode, other_strand
from dnalm.errors import InputError
from dnalm.formats.motif import read_motifs
from dnalm.models.cnn import CNNConfig
from dnalm.models.heads import RegressionHeadConfig
from dnalm.models.open import OpenedBinding
from dnalm.use import explain as explain_file
from dnalm.use.attribution import track_effects, track_sums, variants
from dnalm.use.binding import BindingModel
from dnalm.use.deeplift import OneHotModel, deeplift
from dnalm.use.explain import explain, shuffles
from dnalm.use.motif_matches import MotifLibrary, effect_matrix, important_stretches
from tests.models.small_binding import model as small_binding
from tests.use.test_load import BLOCK, save_language

TEXT = "ACGTTGCAAGGCTTACGATCGATTACAGG"
SITE = "TGTTTAC"


def wrapped(module):
    return BindingModel(OpenedBinding("small", module.eval(), {}, ""), torch.device("cpu"))


def cnn(**tuning):
    head = RegressionHeadConfig(channels=4, kernel=3, head_dropout=0.0)
    return wrapped(small_binding("", CNNConfig(width=6, encoder_kernel=5), head, **tuning))


@pytest.fixture
def language(tmp_path):
    save_language(tmp_path / "vocab4")
    return dnalm.load(tmp_path / "vocab4")


def changed(text, at, base):
    return text[:at] + base + text[at + 1 :]


class TestMutagenesis:
    @pytest.mark.parametrize("width", [3, 8, len(TEXT), 100])
    def test_each_base_is_changed_once_in_a_window_around_it(self, width):
        width_ = min(width, len(TEXT))
        seen = []
        for some in variants(TEXT, width):
            for at, start, rows, own in zip(some.at, some.starts, some.rows, some.own, strict=True):
                assert 0 <= start <= at < start + width_ <= len(TEXT)
                assert some.texts[own] == TEXT[start : start + width_]
                for base, row in zip(BASES, rows, strict=True):
                    assert some.texts[row] == changed(TEXT, at, base)[start : start + width_]
                seen.append(at)
        assert seen == list(range(len(TEXT)))

    @pytest.mark.parametrize("both_strands", [False, True])
    @pytest.mark.parametrize("text", [TEXT, "ACGTANNGCRATTACAGGAT" + TEXT, "A"])
    def test_effects_of_a_cnn_are_those_of_the_full_sequence(self, text, both_strands):
        model = cnn(both_strands=both_strands)
        assert model.context == 1 + 4 * (2 + 1) < len(TEXT)
        effects = track_effects(model, text)
        own = track_sums(model, [text])
        for at, letter in enumerate(text):
            sums = track_sums(model, [changed(text, at, base) for base in BASES])
            expected = sums - own if letter in BASES else np.full((2, 4), np.nan)
            np.testing.assert_allclose(effects[:, at], expected, atol=1e-4)  # float32, sums of tens

    def test_a_core_reads_its_block_around_a_base_of_a_longer_sequence(self):
        model = wrapped(small_binding())
        assert model.longest == 12
        effects = track_effects(model, TEXT)
        at, window = 15, TEXT[9:21]
        sums = track_sums(model, [window, changed(window, 6, "A")])
        np.testing.assert_allclose(effects[:, at, 0], sums[:, 1] - sums[:, 0], atol=1e-4)
        assert np.isfinite(explain(model, [TEXT], method="mutagenesis")[0].output)

    def test_the_two_strands_of_a_sequence_have_one_explanation(self, language):
        for model in (cnn(), language):
            text = TEXT[: BLOCK + 1]
            one, other = model.explain([text, other_strand(text)], method="mutagenesis")
            np.testing.assert_allclose(one.effects, other.effects[::-1, ::-1], atol=1e-4)
            np.testing.assert_allclose(one.attribution, other.attribution[::-1], atol=1e-4)
            assert one.output == pytest.approx(other.output, abs=1e-4)


class TestLanguage:
    def test_effects_are_changes_of_the_log_likelihood_of_both_strands(self, language):
        text = TEXT[: BLOCK + 1]
        (one,) = explain(language, [text])

        def likelihood(text):
            bits = [np.nansum(language.score([each]).per_base[0]) for each in (text, other_strand(text))]
            return -np.log(2) * np.mean(bits)

        assert one.output == pytest.approx(likelihood(text), rel=1e-4)
        for at, base in ((0, "T"), (3, "A"), (BLOCK, "C")):
            expected = likelihood(changed(text, at, base)) - one.output
            assert one.effects[at, BASES.index(base)] == pytest.approx(expected, abs=1e-4)

    def test_the_map_is_the_largest_change_of_the_log_odds(self, language):
        text = TEXT[: BLOCK + 1]
        found = explain(language, [text])[0].dependencies

        def odds(text):
            p = np.exp(language.both_strands([text])[0].astype(np.float64))
            return np.log(p / (1 - p))

        for i, j in ((2, 5), (5, 2), (0, BLOCK), (BLOCK, 0)):
            strand = 0 if j > i else 1
            changes = [
                np.abs(odds(changed(text, i, base)) - odds(text))[strand, j].max()
                for base in BASES
                if base != text[i]
            ]
            assert found[i, j] == pytest.approx(max(changes), rel=1e-3)
        assert np.isnan(np.diag(found)).all()

    def test_n_and_a_sequence_longer_than_the_block(self, language):
        text = TEXT[:6] + "NN" + TEXT[6:]
        (one,) = explain(language, [text])
        assert np.flatnonzero(np.isnan(one.attribution)).tolist() == [6, 7]
        assert np.isnan(one.dependencies[6]).all()
        assert np.isnan(one.dependencies[:, 6]).all()
        assert np.isnan(one.dependencies[0, BLOCK + 3])  # outside of the window
        assert np.isfinite([one.output, one.reference]).all()
        np.testing.assert_allclose(one.probabilities.sum(1), 1, rtol=1e-5)


class TestDeepLift:
    def test_the_one_hot_model_is_the_model(self):
        for both_strands in (False, True):
            model = cnn(both_strands=both_strands)
            bases = torch.eye(4)[torch.from_numpy(encode(TEXT).astype(np.int64))].T[None]
            sums = OneHotModel(model.module)(bases).detach().numpy()
            np.testing.assert_allclose(sums[0, 0], model.predict([TEXT])[0].sum(), rtol=1e-4)

    def test_contributions_add_up_to_the_difference_from_the_references(self):
        pytest.importorskip("tangermeme")
        model = cnn()
        found = deeplift(model.module, TEXT, torch.device("cpu"))
        assert found.delta < 1e-4
        (one,) = explain(model, [TEXT])
        assert one.method == "deeplift"
        assert one.completeness == pytest.approx(1, abs=1e-3)
        (one,) = explain(model, [TEXT + "N"])
        assert one.method == "mutagenesis"  # a letter that is no base has no one-hot code

    def test_what_does_not_converge_is_reported_and_not_used(self, monkeypatch):
        pytest.importorskip("tangermeme")
        monkeypatch.setattr(explain_file, "SMALL_DELTA", 0.0)
        (one,) = explain(cnn(), [TEXT], method="deeplift")
        assert one.method == "mutagenesis"
        assert one.delta > 0

    def test_a_missing_package_gives_the_line_that_installs_it(self, monkeypatch, tmp_path):
        monkeypatch.setattr(explain_file.importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(InputError, match=r'pip install "dnalm\[explain\]"'):
            explain(cnn(), [TEXT], method="deeplift")
        assert explain(cnn(), [TEXT])[0].method == "mutagenesis"
        monkeypatch.setitem(__import__("sys").modules, "memelite.tomtom", None)
        with pytest.raises(InputError, match=r'pip install "dnalm\[explain\]"'):
            MotifLibrary(tmp_path / "m.meme")


class TestStretches:
    def test_the_stretch_with_the_highest_sum_comes_first(self):
        track = np.zeros(60, dtype=np.float32)
        track[10:18], track[40:50], track[30] = 1.0, 2.0, -9.0
        first, second = important_stretches(track)
        assert first == (40, 50, 20.0)
        assert second == (10, 18, 8.0)
        assert not list(important_stretches(np.zeros(9, dtype=np.float32)))
        assert not list(important_stretches(np.full(9, np.nan, dtype=np.float32)))

    def test_a_short_one_is_widened_where_there_is_room(self):
        for at, length, expected in ((0, 20, (0, 6)), (19, 20, (14, 20)), (1, 3, (0, 3))):
            track = np.zeros(length, dtype=np.float32)
            track[at] = 1.0
            assert next(important_stretches(track))[:2] == expected

    def test_the_motif_that_was_planted_is_the_first_match(self, tmp_path):
        pytest.importorskip("memelite")
        draws, lines = np.random.default_rng(1), ["MEME version 4", "ALPHABET= ACGT"]
        for name in ["PLANTED", *(f"M{number}" for number in range(40))]:
            word = SITE if name == "PLANTED" else "".join(draws.choice(list(BASES), 8))
            rows = [" ".join("0.91" if base == letter else "0.03" for base in BASES) for letter in word]
            lines += [f"MOTIF {name}", f"letter-probability matrix: w= {len(rows)}", *rows]
        (tmp_path / "m.meme").write_text("\n".join(lines) + "\n")
        library = MotifLibrary(tmp_path / "m.meme")
        library.matches([np.full((6, 4), 0.25)])
        assert torch.get_num_threads() == 1  # as the tests set it: numba, inside, must not change it
        effects = np.where(np.eye(4)[encode(SITE)] > 0, 0, -1.0).astype(np.float32)
        forward, turned = library.matches([effect_matrix(effects), effect_matrix(effects[::-1, ::-1])])
        assert forward[0].motif == turned[0].motif == "PLANTED"
        assert (forward[0].strand, turned[0].strand) == ("+", "-")
        assert forward[0].e_value == pytest.approx(41 * forward[0].p_value)
        short = library.matches([effect_matrix(effects[:3])])[0]  # shorter than the motif
        assert short[0].p_value <= 1


def test_shuffles_have_the_bases_of_a_sequence_and_leave_other_letters():
    text = "ACGNNTTTTTA"
    for other in shuffles(text):
        assert sorted(other) == sorted(text)
        assert other[3:5] == "NN"


def test_what_cannot_be_explained_is_refused(language):
    with pytest.raises(InputError, match="sequence 1"):
        language.explain(["ACGT", ""])
    with pytest.raises(InputError, match="sequence 0.*at most"):
        language.explain(["A" * 2001])
    with pytest.raises(InputError, match="for a CNN"):
        language.explain([TEXT], method="deeplift")


def test_the_motif_of_foxa1_is_first_in_a_public_library(shared_data):
    pytest.importorskip("memelite")
    library = MotifLibrary(shared_data / "motifs" / "hocomoco_v12_core.meme")
    matrix = next(read_motifs(shared_data / "motifs" / "foxa1.meme")).probabilities
    assert library.matches([matrix])[0][0].motif.startswith("FOX")
