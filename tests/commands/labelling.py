"""What the tests of `dnalm label` share."""

from dnalm.cli import main
from dnalm.formats.binding import read_binding


def run(capsys, *arguments):
    """Run the verb, which must end well: (stdout, stderr)."""
    code = main(["label", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def refuse(capsys, *arguments):
    """Run the verb, which must refuse: its message."""
    assert main(["label", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def binding(out):
    """The windows and scores that a run has written."""
    return read_binding(out / "sequences.txt.gz", out / "scores.txt.gz")


def write_genome(folder):
    """In tiles of 10: chr1 holds a site, one across two tiles, an N, and a rest of 4; chr2 holds none."""
    path = folder / "my genome.fa"
    chr1 = "".join(["ttaaacctgt", "CTCTCTCTAA", "ACCTCTCTCT", "CTCTNCTCTC", "CTCTCTCTCT", "GGTT"])
    path.write_text(f">chr1 words\n{chr1[:17]}\n{chr1[17:]}\n>empty\n>chr2\n{'CT' * 10}\n")
    return path
