"""Tests for dnalm/data/region_weights.py."""

import numpy as np
import pytest

from dnalm.data.language import LanguageWindows
from dnalm.data.region_weights import RegionWeights
from dnalm.errors import InputError

MODES = ["full", "vocab4"]


def bed(path, *rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def given(tmp_path):
    """Two files of regions of the toy genome, of which chr1 begins with 50 N and has an R at 2,500."""
    exons = bed(tmp_path / "exons.bed", ("chr1", 0, 60), ("chr1", 2490, 2510), ("chr1", 2500, 2520))
    other = bed(tmp_path / "other.bed", ("chr2", 10, 13), ("chr3", 5, 9), ("chrUn", 1, 2))
    return [f"{exons}=0.1", f"{other}=3"]


@pytest.mark.parametrize("mode", MODES)
def test_bases_of_regions_have_their_weight_and_all_others_1(toy, given, mode):
    genome = toy[mode]
    regions = RegionWeights(genome, given)
    expected = np.ones(int(genome.meta["counts"]["train_bases"]), dtype=np.float32)
    expected[:10] = 0.1  # chr1 50 to 59
    expected[2440:2469] = 0.1  # chr1 2490 to 2519, without the R
    first = 5000 - 51
    expected[first + 10 : first + 13] = 3  # chr2; chr3 is held out
    found = [genome.text_span("train", base, base + 1)[0] for base in range(len(expected))]
    np.testing.assert_array_equal(regions.weights(np.array(found)), expected[: len(found)])
    assert "1 contig (chrUn)" in regions.caution
    assert "1 region left out, 2 read" in regions.caution
    assert [each["weight"] for each in regions.sources] == [0.1, 3.0]


def test_features_of_one_type_of_an_annotation_weigh_as_the_same_regions_of_a_bed(toy, tmp_path):
    lines = [("chr1", "CDS", 2491, 2510), ("chr1", "gene", 1, 4000), ("chr1", "CDS", 101, 160)]
    lines.append(("chr1", "chromosome", 1, 5000))
    gff = tmp_path / "genes.gff3"
    rows = ["\t".join((contig, "x", kind, str(a), str(b), ".", "+", ".", "")) for contig, kind, a, b in lines]
    gff.write_text("\n".join(["##gff-version 3", *rows, "no feature"]) + "\n")
    path = bed(tmp_path / "a.bed", ("chr1", 100, 160), ("chr1", 2490, 2510))
    at = np.arange(4000)
    found, expected = (RegionWeights(toy["vocab4"], [each]) for each in (f"{gff}:CDS=0.1", f"{path}=0.1"))
    np.testing.assert_array_equal(found.weights(at), expected.weights(at))
    assert (found.weights(at) != 1).sum() > 60
    assert "1 line left out" in found.caution
    genes = RegionWeights(toy["vocab4"], [f"{gff}=0.5"])  # of any type
    assert 3900 < (genes.weights(at) == 0.5).sum() < 4000
    with pytest.raises(
        InputError, match="no feature of type 'exon'; it has CDS .2., gene .1., chromosome .1."
    ):
        RegionWeights(toy["vocab4"], [f"{gff}:exon=0.1"])


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_regions_and_repeats_are_multiplied(toy, given, masked):
    genome, regions = toy["vocab4"], RegionWeights(toy["vocab4"], given)
    settings = {"length": 30, "batch_size": 300, "seed": 1, "masked": masked}
    one = LanguageWindows(genome, **settings, repeat_weight=0.5)
    both = LanguageWindows(genome, **settings, repeat_weight=0.5, regions=regions)
    at = one.starts(0)[:, None] + np.arange(31)
    own = regions.weights(at)[:, :-1] if masked else regions.weights(at)[:, 1:]
    np.testing.assert_allclose(
        both.batch(0).weights, one.batch(0).weights.numpy() * own, rtol=1e-6
    )  # of float32
    assert (own != 1).any()


@pytest.mark.parametrize(
    ("rows", "weight", "message"),
    [
        ([("chr1", 0, 9)], "", "expected FILE.bed=WEIGHT"),
        ([("chr1", 0, 9)], "-0.1", "at least 0"),
        ([("chr1", 0, 9)], "nan", "at least 0"),
        ([("1", 0, 9), ("2", 0, 9)], "0.1", r"it has regions of 2 contigs \(1, 2\) alone"),
        ([("chr1", 0, 5001)], "0.1", "another build"),
        ([], "0.1", "no region"),
        ([("chr1", 0, 5000), ("chr2", 0, 2500)], "0", "nothing to learn"),
    ],
)
def test_what_makes_no_sense_is_refused(toy, tmp_path, rows, weight, message):
    path = bed(tmp_path / "a.bed", *rows)
    with pytest.raises(InputError, match=message):
        RegionWeights(toy["vocab4"], [f"{path}={weight}"])


def test_regions_that_are_all_in_validation_give_a_caution(toy, tmp_path):
    (held_out,) = (each["name"] for each in toy["vocab4"].meta["contigs"] if each["train"] is None)
    found = RegionWeights(toy["vocab4"], [f"{bed(tmp_path / 'a.bed', (held_out, 0, 9))}=0.1"])
    assert found.caution == "no region is in the training part: `region_weight` has no effect"


def test_regions_of_two_weights_must_not_overlap_and_touching_ones_may(toy, tmp_path):
    one = bed(tmp_path / "a.bed", ("chr1", 100, 200))
    for start, wrong in ((199, True), (200, False)):
        other = bed(tmp_path / "b.bed", ("chr1", start, 300))
        if wrong:
            with pytest.raises(InputError, match="base 200 of chr1 is in regions of weight 0.1 and of 0.2"):
                RegionWeights(toy["vocab4"], [f"{one}=0.1", f"{other}=0.2"])
        else:
            found = RegionWeights(toy["vocab4"], [f"{one}=0.1", f"{other}=0.2"])
            assert found.weights(np.arange(148, 152)).tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])
        RegionWeights(toy["vocab4"], [f"{one}=0.1", f"{other}=0.1"])  # of one weight
