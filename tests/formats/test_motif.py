"""Tests for dnalm/formats/motif.py."""

import gzip

import numpy as np
import pytest

from dnalm.errors import InputError
from dnalm.formats.motif import choose_motif, read_motifs

ROWS = "0.7\t0.1\t0.1\t0.1\n0.25\t0.25\t0.25\t0.25\n0.001\t0.997\t0.001\t0.001\n"
MATRIX = [[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.001, 0.997, 0.001, 0.001]]
HOMER = f">ANC\tX(Zf)/cells\t1.5\t-9.1\t0\n{ROWS}>AN\tY(Zf)\t2\n1\t0\t0\t0\n0\t0\t0\t1\n"
JASPAR = (
    ">MA1 X\nA [ 70 25 1 ]\nC [ 10 25 997 ]\nG [ 10 25 1 ]\nT [ 10 25 0 ]\n>MA2 Y\nA[1]\nC[0]\nG[0]\nT[0]\n"
)
MEME = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies (from here):\n"
    "A 0.3 C 0.2 G 0.2 T 0.3\n\nMOTIF MA1 X\nletter-probability matrix: alength= 4 w= 3 nsites= 9 E= 0\n"
    f"{ROWS}URL BLANK\n\nMOTIF MA2 Y\nletter-probability matrix:\n0 0 1 0\n"
)


def read(tmp_path, text):
    (tmp_path / "m.txt").write_text(text)
    return list(read_motifs(tmp_path / "m.txt"))


def test_homer(tmp_path):
    one, two = read(tmp_path, HOMER)
    assert (one.name, one.threshold, one.background) == ("X(Zf)/cells", 1.5, (0.25, 0.25, 0.25, 0.25))
    np.testing.assert_allclose(one.probabilities, MATRIX, rtol=1e-15)  # one division by a sum of about 1
    assert (two.name, two.threshold, two.width) == ("Y(Zf)", 2.0, 2)
    np.testing.assert_array_equal(two.probabilities, [[1, 0, 0, 0], [0, 0, 0, 1]])


def test_jaspar_counts_become_probabilities(tmp_path):
    one, two = read(tmp_path, JASPAR)
    assert (one.name, one.threshold, two.name) == ("MA1 X", None, "MA2 Y")
    wanted = [[0.7, 0.1, 0.1, 0.1], [0.25] * 4, [1 / 999, 997 / 999, 1 / 999, 0]]
    np.testing.assert_allclose(one.probabilities, wanted, rtol=1e-15)  # one division
    np.testing.assert_array_equal(two.probabilities, [[1, 0, 0, 0]])


@pytest.mark.parametrize(
    "text",
    [
        ">x\n.7 .25\n.1 .25\n.1 .25\n.1 .25\n",
        ">x\n7 4\n1 4\n1 4\n1 4\n",
        ">x\nA 3.5 2\nC 0.5 2\nG 0.5 2\nT 0.5 2\n",
        ">x\tname\na [.7 .25]\nc [.1 .25]\ng [.1 .25]\nt [.1 .25]\n",
    ],
    ids=["probabilities", "bare counts", "counts with fractions", "brackets and lower case"],
)
def test_jaspar_in_its_other_shapes(tmp_path, text):
    (motif,) = read(tmp_path, text)
    np.testing.assert_allclose(motif.probabilities, MATRIX[:2], rtol=1e-15)  # one division


def test_meme_with_its_own_background(tmp_path):
    one, two = read(tmp_path, MEME)
    assert (one.name, one.threshold, two.name) == ("MA1 X", None, "MA2 Y")
    np.testing.assert_allclose(one.background, (0.3, 0.2, 0.2, 0.3), rtol=1e-15)
    np.testing.assert_allclose(one.probabilities, MATRIX, rtol=1e-15)
    assert two.width == 1


def test_rounding_is_made_good_and_gzip_is_read(tmp_path):
    (tmp_path / "m.gz").write_bytes(gzip.compress(b">A\tx\t1\n0.33\t0.33\t0.33\t0\n"))
    motif = choose_motif(tmp_path / "m.gz")
    np.testing.assert_allclose(motif.probabilities, [[1 / 3, 1 / 3, 1 / 3, 0]], rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got 'an empty file'"),
        ("chr1\t5\t9\n", r"HOMER's, JASPAR's .* or MEME's format .*got 'chr1"),
        (HOMER.replace("0.7\t", "0.6\t"), r"motif X\(Zf\)/cells, position 1: .*sum to 1.*0\.6.*sum to 0\.9"),
        (HOMER.replace("0.7\t0.1", "0.9\t-0.1"), "position 1: .* 0 or more, .*got 0.9 -0.1"),
        (HOMER.replace("0.7\t", ""), "line 3: expected numbers, equally many"),
        (HOMER.replace("0.7", "nan"), "line 2: expected numbers, .*got 'nan"),
        (">A\tx\t1\n", "motif x: expected rows of 4 columns"),
        (HOMER.replace("Y(Zf)\t2", "Y(Zf)"), "line 5: expected >consensus, name and threshold"),
        (JASPAR.replace("G [ 10 25 1 ]\n", ""), "motif MA1 X: expected four rows, such as"),
        (JASPAR.replace("25 997", "997"), "line 3: expected numbers, equally many"),
        (JASPAR.replace("C [", "G ["), "motif MA1 X: expected four rows, such as"),
        (JASPAR.replace("[1]", "[0]"), "motif MA2 Y, position 1: .*sum to 0"),
        (JASPAR.replace("70", "x"), "expected numbers, .*got ' x"),
        (">x\n.5 .5\n.5 .5\n.5 0\n0 0\n", "position 1: .*sum to 1.5"),
        (MEME.replace("ACGT", "ACDEFGH"), "expected ALPHABET= ACGT, got 'ACDEFGH'"),
        (MEME.replace("w= 3", "w= 4"), "motif MA1 X: expected 4 rows, got 3"),
        (MEME.replace("G 0.2 T", "G 0.4 T"), "background frequencies.*summing to 1, got 'A 0.3 C 0.2 G 0.4"),
        (MEME.replace("A 0.3 C", "C"), "background frequencies.*got 'C 0.2 G 0.2 T 0.3"),
        (MEME.replace("0.7", "0.5"), "motif MA1 X, position 1: .*sum to 0.8"),
        (MEME.replace("MOTIF", "MOTIV"), "a MOTIF line above each matrix"),
        ("MEME version 4\n", "without a letter-probability matrix"),
    ],
)
def test_refuses(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_choosing(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text(HOMER)
    assert choose_motif(path, "Y(Zf)").name == "Y(Zf)"
    assert choose_motif(path, "X").name == "X(Zf)/cells"  # its first word will do
    with pytest.raises(InputError, match=r"2 motifs match .*; choose one by name: X\(Zf\)/cells, Y"):
        choose_motif(path)
    with pytest.raises(InputError, match=r"0 motifs match 'Y\(Zff\)'; did you mean Y\(Zf\)"):
        choose_motif(path, "Y(Zff)")
    path.write_text(HOMER.replace("Y(Zf)", "X(bHLH)"))
    with pytest.raises(InputError, match=r"2 motifs match 'X'.*: X\(Zf\)/cells, X\(bHLH\)"):
        choose_motif(path, "X")


def test_the_three_real_files_hold_one_matrix(shared_data):
    homer, jaspar, meme = (
        choose_motif(shared_data / "motifs" / f"foxa1.{name}") for name in ("homer.motif", "jaspar", "meme")
    )
    assert (homer.threshold, jaspar.threshold, meme.threshold) == (6.367158, None, None)
    # JASPAR's counts are of 1,000; MEME's rows of three decimals may sum to 0.999 or 1.001.
    np.testing.assert_allclose(jaspar.probabilities, homer.probabilities, atol=1e-3)
    np.testing.assert_allclose(meme.probabilities, homer.probabilities, atol=1e-3)


@pytest.mark.parametrize("name", ["jaspar_2024_consensus.meme", "hocomoco_v12_core.meme"])
def test_reads_whole_libraries(shared_data, name):
    path = shared_data / "motifs" / name
    motifs = list(read_motifs(path))
    assert len(motifs) == sum(line.startswith("MOTIF") for line in path.read_text().splitlines()) > 100
    assert all(np.allclose(motif.probabilities.sum(axis=1), 1) for motif in motifs)


ROWS_4 = ["1 2 95 2", "94 2 2 2", "3 1 1 95", "93 3 3 1"]
COLUMNS_4 = ["1 94 3 93", "2 2 1 3", "95 2 1 3", "2 2 95 1"]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS_4,
        COLUMNS_4,
        [f"{base} {row}" for base, row in zip("acgt", COLUMNS_4, strict=True)],
        ["A C G T", *ROWS_4],
        [*ROWS_4, "1 1 1 1"],
        [f"[ {row} 7 ]" for row in COLUMNS_4],
    ],
    ids=["positions", "bases", "letters", "letters above", "five positions", "five columns"],
)
def test_a_matrix_is_read_the_way_that_fits(tmp_path, rows):
    (motif,) = read(tmp_path, ">GATA4\n" + "\n".join(rows) + "\n")
    assert "".join("ACGT"[base] for base in motif.probabilities.argmax(axis=1))[:4] == "GATA"


@pytest.mark.parametrize("rows", [["1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1"], ["9 1 1 1", *ROWS_4[1:]]])
def test_four_by_four_that_fits_both_ways_or_none_needs_letters(tmp_path, rows):
    with pytest.raises(InputError, match="Begin the rows with A, C, G and T"):
        read(tmp_path, ">x\n" + "\n".join(rows) + "\n")


STARS = "*" * 80 + "\n"
BLOCK = (
    'ALPHABET "DNA" DNA-LIKE\nA "Adenine" CC0000 ~ T "Thymine" 008000\n'
    'C "Cytosine" 0000CC ~ G "Guanine = g" FFB300\nN "Any base" = ACGT\nX = ACGT\nEND ALPHABET\n'
)
MEME_TEXT = (
    f"{STARS}MEME - Motif discovery tool\n{STARS}MEME version 5.5.8 (Release date: Thu)\n\nALPHABET= ACGT\n"
    "Letter frequencies in dataset:\nA 0.2 C 0.3 G 0.3 T 0.2\nBackground letter frequencies (from file x):\n"
    f"A 0.3 C 0.2 G 0.2 T 0.3\n{STARS}MOTIF GAC MEME-1\twidth =   3  sites =  20  llr = 145\n{STARS}"
    "\tMotif GAC MEME-1 Description\nlog-odds matrix: alength= 4 w= 3 n= 99\n -1 2 3 4\n"
    f"letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 1.1e-020\n{ROWS}-----\n"
    f"MOTIF  2 MEME width =   15   sites =  20\nletter-probability matrix: alength= 4 w= 3\n{ROWS}"
)
STREME = MEME_TEXT.replace("MEME - Motif discovery tool", "STREME - Sensitive, Thorough")
DREME = (
    f"# DREME 5.5\n# command: dreme\nMEME version 5.5\n\n{BLOCK}\nstrands: + -\n\nBackground letter "
    "frequencies (from dataset):\nA 0.3 C 0.2 G 0.2 T 0.3\n\nMOTIF GAC DREME-1\n\n# Word Pos Neg\n"
    f"letter-probability matrix: alength= 4 w= 3 nsites= 23 E= 2.3e-9\n{ROWS}\nTime 0.3 secs.\n"
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MEME_TEXT, ["GAC MEME-1", "2 MEME"]),
        (STREME, ["GAC MEME-1", "2 MEME"]),
        (DREME, ["GAC DREME-1"]),
        (
            STREME.replace("ALPHABET= ACGT\n", STARS + BLOCK.replace("\n", "\n" + STARS, 1)),
            ["GAC MEME-1", "2 MEME"],
        ),
    ],
    ids=["meme", "streme", "dreme", "streme with its own alphabet"],
)
def test_full_output_of_the_meme_suite(tmp_path, text, names):
    motifs = read(tmp_path, text)
    assert [motif.name for motif in motifs] == names
    for motif in motifs:
        np.testing.assert_allclose(motif.background, (0.3, 0.2, 0.2, 0.3), rtol=1e-15)
        np.testing.assert_allclose(motif.probabilities, MATRIX, rtol=1e-15)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (BLOCK, "ALPHABET= ACGU\n", "RNA"),
        (BLOCK, "ALPHABET= ACDEFGHIKLMNPQRSTVWY\n", "protein"),
        (BLOCK, 'ALPHABET "ABCDE"\n', '"ABCDE"'),
        ('~ T "Thymine"', '~ U "Uracil"', "RNA"),
        ('N "Any base"', 'm "5-Methylcytosine"\nN "Any base"', "got 'ACGTm'"),
    ],
)
def test_other_alphabets_are_named(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, DREME.replace(old, new))
