"""Tests for dnalm/use/predict.py: a track has no seam, and a base's score does not depend on the regions."""

import tracemalloc

import numpy as np
import pytest
import torch

from dnalm.dna import other_strand
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.models.cnn import CNNConfig
from dnalm.models.dilated_cnn import DilatedCNNConfig
from dnalm.models.open import OpenedBinding
from dnalm.use import predict
from dnalm.use.binding import BindingModel
from dnalm.use.predict import Tiling, merged, predict_regions, tiling_of
from dnalm.use.regions import Region
from tests.models.small_binding import model as small

LENGTHS = {"long": 400, "short": 5, "gaps": 120, "none": 30}
CNN = CNNConfig(width=4, encoder_kernel=5)  # reaches 2 bases, and 1 more under the head


def opened(**how):
    module = small(**how).eval()
    return BindingModel(OpenedBinding("small", module, {}, ""), torch.device("cpu"))


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    draws = np.random.default_rng(1)
    texts = {name: "".join(draws.choice(list("ACGTacgt"), size)) for name, size in LENGTHS.items()}
    texts["gaps"] = "N" * 20 + texts["gaps"][20:60] + "NNR" + texts["gaps"][63:]
    texts["none"] = "N" * 30
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    with IndexedGenome(path) as made:
        made.texts = texts
        yield made


def full(contig):
    return Region(contig, 0, LENGTHS[contig], contig)


def scores(model, genome, regions, tiling=None, **how):
    tiling = tiling or tiling_of(model)
    return [found for _, found in predict_regions(model, genome, regions, tiling, **how)]


@pytest.mark.parametrize(
    ("window", "stride"), [(7, 1), (20, 14), (20, 8), (50, None), (None, None), (400, 100)]
)
def test_a_cnn_scores_as_one_window_over_the_full_contig(genome, window, stride):
    model = opened(encoder=CNN)
    assert model.reach == 3
    tiling = tiling_of(model, window, stride)
    for contig in ("long", "short"):
        (found,) = scores(model, genome, [full(contig)], tiling)
        expected = model.predict([genome.texts[contig]])[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)  # the edges too


@pytest.mark.parametrize("encoder", [CNN, DilatedCNNConfig(4, 5, 3, 2)])
def test_a_reach_is_what_a_score_depends_on(encoder):
    model, text = opened(encoder=encoder), "ACGTTGCAACGTAGC" * 2
    base = model.predict([text])[0]
    changed = model.predict([text[:12] + "C" + text[13:]])[0]
    assert np.flatnonzero(base != changed).tolist() == list(range(12 - model.reach, 13 + model.reach))


@pytest.mark.parametrize("stride", [None, 1, 4, 12])
def test_windows_of_a_gpt_are_averaged_with_their_weights(genome, stride):
    model, text = opened(), genome.texts["long"]
    tiling = tiling_of(model, None, stride)
    assert (tiling.window, tiling.stride) == (12, stride or 6)
    (found,) = scores(model, genome, [full("long")], tiling)
    total, weight = np.zeros(400), np.zeros(400)
    for at in [*range(0, 400 - 12, tiling.stride), 388]:
        weights = tiling.weights(12, first=at == 0, last=at == 388)
        total[at : at + 12] += weights * model.predict([text[at : at + 12]])[0]
        weight[at : at + 12] += weights
    np.testing.assert_allclose(found, total / weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("window", "stride", "margin"), [(12, 6, 0), (12, 3, 0), (40, 28, 3), (7, 1, 3), (9, 8, 0)]
)
def test_weights_fall_to_zero_at_the_edges_and_windows_hold_every_base(window, stride, margin):
    tiling = Tiling(window, stride, margin)
    weights = tiling.weights(window, first=False, last=False)
    assert (weights == weights[::-1]).all()
    assert (np.diff(weights[: window // 2]) >= 0).all()
    assert weights[:margin].sum() == 0
    assert weights[0] <= 0.5
    assert (tiling.weights(window, first=True, last=True) == 1).all()
    for length in (1, window - 1, window, window + 1, 10 * window):
        starts = tiling.starts(length, 0, length)
        assert starts == sorted(set(starts))
        held = np.zeros(length)
        for at in starts:
            size = min(window, length)
            assert at + size <= length
            held[at : at + size] += tiling.weights(size, first=at == 0, last=at + size == length)
        assert held.min() > 1e-3
        for first in range(0, length, 5):
            some = tiling.starts(length, first, first + 1)
            assert some == [at for at in starts if at <= first < at + window]


def test_the_score_of_a_base_does_not_depend_on_the_regions(genome, monkeypatch):
    for model in (opened(), opened(encoder=CNN)):
        (every,) = scores(model, genome, [full("long")])
        regions = [
            Region("long", a, b, "")
            for a, b in ((0, 1), (37, 38), (100, 260), (90, 120), (399, 400), (100, 260))
        ]
        for batch, piece in ((64, 1 << 18), (3, 50), (1, 7)):
            monkeypatch.setattr(predict, "PIECE", piece)
            model.batch_size = batch
            for region, found in zip(regions, scores(model, genome, regions), strict=True):
                np.testing.assert_allclose(found, every[region.start : region.end], rtol=1e-5, atol=1e-6)


def test_letters_that_are_no_base_are_gaps_and_no_others(genome):
    model = opened(encoder=CNN)
    gaps, none = scores(model, genome, [full("gaps"), full("none")])
    known = np.array([letter in "ACGTacgt" for letter in genome.texts["gaps"]])
    assert (np.isnan(gaps) == ~known).all()
    assert np.isnan(none).all()


def test_windows_of_n_are_not_computed(genome, monkeypatch):
    model, seen = opened(encoder=CNN), []
    monkeypatch.setattr(model, "predict", lambda texts: seen.extend(texts) or [])
    scores(model, genome, [full("none")])
    assert seen == []


def test_both_strands_are_averaged(genome):
    model = opened(encoder=CNN)
    text = genome.texts["long"]
    (found,) = scores(model, genome, [full("long")], both_strands=True)
    one, other = model.predict([text, other_strand(text)])
    np.testing.assert_allclose(found, (one + other[::-1]) / 2, rtol=0, atol=1e-5)


def test_regions_are_merged_in_the_order_of_the_genome(genome):
    rows = [
        ("short", 1, 3),
        ("long", 50, 60),
        ("long", 10, 20),
        ("long", 20, 30),
        ("long", 52, 55),
        ("long", 10, 20),
    ]
    stretches = merged([Region(*row, "") for row in rows], genome)
    assert [region[:3] for region in stretches] == [("long", 10, 30), ("long", 50, 60), ("short", 1, 3)]
    assert (stretches.bases, stretches.overlapping) == (32, 2)  # touching ones do not overlap


def test_windows_and_strides_out_of_range_are_refused():
    gpt, cnn = opened(), opened(encoder=CNN)
    for model, window, stride, message in (
        (gpt, 13, None, "`window` must be 1 to 12"),
        (gpt, 0, None, "`window`"),
        (gpt, None, 13, "`stride` must be 1 to 12"),
        (gpt, None, 0, "`stride`"),
        (cnn, 6, None, "`window` must be 7 or more"),
        (cnn, 20, 15, "`stride` must be 1 to 14"),
    ):
        with pytest.raises(InputError, match=message):
            tiling_of(model, window, stride)


def test_memory_does_not_grow_with_the_number_of_regions(genome):
    model = opened(encoder=CNN)
    tiling = tiling_of(model, 40)
    list(predict_regions(model, genome, [Region("long", 0, 9, "")], tiling))  # what is made once

    def peak(count):
        regions = (Region("long", at % 300, at % 300 + 100, "") for at in range(count))
        tracemalloc.start()
        for _ in predict_regions(model, genome, regions, tiling):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(1_000) < 1.2 * peak(100) + 20_000  # scores of 900 more regions are 360 kB


def test_from_python_regions_come_in_the_order_of_the_file(genome, tmp_path):
    model = opened(encoder=CNN)
    (tmp_path / "r.bed").write_text("long\t50\t60\tb\nlong\t10\t15\ta\nother\t0\t5\n")
    found = list(model.predict_regions(genome.path, tmp_path / "r.bed"))
    assert [(region.name, len(track)) for region, track in found] == [("b", 10), ("a", 5)]
    (every,) = scores(model, genome, [full("long")])
    np.testing.assert_allclose(found[0][1], every[50:60], rtol=1e-5, atol=1e-6)
    assert [region.contig for region, _ in model.predict_regions(str(genome.path))] == list(LENGTHS)
