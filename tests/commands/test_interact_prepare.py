"""Tests for `dnalm interact prepare`."""

import gzip
import json
import re

import numpy as np
import pytest

from dnalm import cli
from dnalm.commands.interact_prepare import Options, run
from dnalm.data.pair_splits import split_pairs
from dnalm.data.pairs import PARTS, open_pairs

pytest.importorskip("rdkit")
GENES, MOLECULES, PAIRS = 60, 48, 240


def smiles_of(row):
    """A molecule of its own for each row: chains, and rings with chains."""
    return ("C" * (row // 2 + 1) + "O") if row % 2 else ("C" * (row // 2 + 1) + "c1ccccc1")


def table(rows, header="GeneID,SMILES,Label"):
    return header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def inputs(tmp_path):
    """Positives of 60 genes and 48 molecules in pairs.csv, and a gene file with a sequence for each."""
    draws = np.random.default_rng(1)
    keys = np.sort(draws.choice(GENES * MOLECULES, PAIRS, replace=False))
    rows = [(key // MOLECULES + 1, smiles_of(key % MOLECULES), 1) for key in keys]
    (tmp_path / "pairs.csv").write_text(table(rows))
    genes = ["".join(draws.choice(list("acgt"), 60)) for _ in range(GENES)]
    (tmp_path / "genes.tsv").write_text(
        "GeneID\tsequence\n" + "".join(f"{row + 1}\t{gene}\n" for row, gene in enumerate(genes))
    )
    return tmp_path


def prepared(folder, **options):
    values = {"pairs": folder / "pairs.csv", "genes": folder / "genes.tsv", "out": folder / "set"} | options
    run(Options(**values))
    return open_pairs(values["out"])


def dropped(folder):
    text = gzip.decompress((folder / "dropped.tsv.gz").read_bytes()).decode()
    return [line.split("\t") for line in text.splitlines()[1:]]


@pytest.mark.parametrize("split", ["random", "cold-molecule", "scaffold", "cold-gene", "cold-both"])
def test_each_split_gives_three_parts_with_as_many_negatives_as_positives(inputs, split):
    pairs = prepared(inputs, split=split)
    keys = pairs.gene * len(pairs.smiles) + pairs.molecule
    rows = np.concatenate([pairs.parts[part] for part in PARTS])
    assert sorted(rows) == list(range(len(keys)))
    assert len(np.unique(keys)) == len(keys)  # no pair twice: not as positive and negative, not in two parts
    for part, about in pairs.meta["parts"].items():
        label = pairs.label[pairs.parts[part]]
        assert about["rows"] == len(label) > 0
        assert about["positives"] == label.sum() == len(label) - label.sum()
    shared = json.loads((inputs / "set" / "leakage.json").read_text())["shared"]
    cold = {"cold-molecule": ["molecules"], "scaffold": ["molecules", "scaffolds"], "cold-gene": ["genes"]}
    cold["cold-both"] = ["genes", "molecules"]
    cold = {
        kind: [*what, "molecule_clusters"] if "molecules" in what else what for kind, what in cold.items()
    }
    for what in ["pairs", *cold.get(split, [])]:
        assert [entry[what] for entry in shared.values()] == [0, 0, 0]
    counts = pairs.meta["counts"]
    assert counts["read"] == counts["kept"] == PAIRS
    assert pairs.label.sum() == PAIRS - counts["between_parts"]
    assert (counts["between_parts"] > 0) == (split == "cold-both")
    assert (pairs.meta["split"], pairs.meta["negatives"], pairs.meta["ratio"]) == (split, "degree-matched", 1)


@pytest.mark.parametrize("negatives", ["degree-matched", "uniform"])
def test_negatives_are_of_their_parts_own_genes_and_molecules(inputs, negatives):
    pairs = prepared(inputs, split="cold-both", negatives=negatives, ratio=0.5)
    for rows in pairs.parts.values():
        positive = rows[pairs.label[rows] == 1]
        negative = rows[pairs.label[rows] == 0]
        assert len(negative) == round(len(positive) / 2)
        assert set(pairs.gene[negative]) <= set(pairs.gene[positive])
        assert set(pairs.molecule[negative]) <= set(pairs.molecule[positive])


def test_the_seed_decides_and_the_bytes_are_the_same(inputs):
    one, same, other = (
        prepared(inputs, out=inputs / name, seed=seed, split="cold-gene")
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert one.digest == same.digest != other.digest
    assert set(one.gene[one.parts["test"]]) != set(other.gene[other.parts["test"]])
    for path in (inputs / "one").iterdir():
        assert path.read_bytes() == (inputs / "same" / path.name).read_bytes()


def test_the_seed_is_also_that_of_the_negatives(inputs, monkeypatch):
    same = lambda *columns, seed: split_pairs(*columns, seed=0)  # noqa: E731
    monkeypatch.setattr("dnalm.commands.interact_prepare.split_pairs", same)
    assert prepared(inputs, seed=1).digest != prepared(inputs, seed=2, overwrite=True).digest


def test_every_row_that_is_not_kept_is_counted_and_listed(inputs, capsys):
    good = (inputs / "pairs.csv").read_text().splitlines()
    gene, smiles, _ = good[1].split(",")
    bad = [
        (999, "CCO", 1),  # no such gene
        (1, "", 1),
        (1, "C1CC", 1),
        (1, "CC" * 600, 1),
        (gene, f"{smiles}.Cl", 1),  # line 2 again, as a salt
        (f"{gene}.0", smiles, 1),  # and as a spreadsheet has it
        (5, "CCOCC", 1),
        (5, "C(C)OCC", 0),  # the same pair, the other label
    ]
    (inputs / "pairs.csv").write_text("\n".join(good) + "\n" + table(bad).split("\n", 1)[1])
    pairs = prepared(inputs)
    counts = pairs.meta["counts"]
    assert (counts["read"], counts["kept"]) == (PAIRS + 8, PAIRS)
    listed = dropped(inputs / "set")
    assert [(int(line), gene_id, text) for _, line, gene_id, text, _ in listed] == [
        (PAIRS + 2 + place, str(gene_id).removesuffix(".0"), text)
        for place, (gene_id, text, _) in enumerate(bad)
    ]
    reasons = [reason for *_, reason in listed]
    assert reasons == [
        "gene without a sequence",
        "no SMILES",
        "SMILES is no molecule",
        "SMILES of more than 1000 characters",
        "the same pair again",
        "the same pair again",
        "the same pair with both labels",
        "the same pair with both labels",
    ]
    assert counts["dropped"] == {reason: reasons.count(reason) for reason in reasons}
    told = capsys.readouterr().out
    assert f"{PAIRS + 8} rows read, {PAIRS} pairs kept" in told
    for reason in set(reasons):
        assert re.search(rf"\b{reasons.count(reason)} rows dropped: {reason}", told)


def test_a_folder_is_read_whole_and_a_dropped_row_names_its_file(inputs):
    whole = prepared(inputs).digest
    header, *rows = (inputs / "pairs.csv").read_text().splitlines()
    for part, some in (("train", rows[:200]), ("test", [*rows[200:], "999,CCO,1"])):
        (inputs / "both" / part).mkdir(parents=True)
        (inputs / "both" / part / "a.csv").write_text("\n".join([header, *some]) + "\n")
    assert prepared(inputs, pairs=inputs / "both", out=inputs / "two").digest == whole
    assert [row[:3] for row in dropped(inputs / "two")] == [["test/a.csv", "42", "999"]]


def test_half_of_the_smiles_may_be_none(inputs):
    rows = [(gene, text, 1) for gene in range(1, 21) for text in ("CCO", "")]
    (inputs / "pairs.csv").write_text(table(rows))
    assert prepared(inputs).meta["counts"]["dropped"] == {"no SMILES": 20}


def test_salts_may_be_kept(inputs):
    rows = [(gene, "CCC(=O)O.[Na+]", 1) for gene in range(1, 11)] + [
        (gene, "CCC(=O)O", 1) for gene in range(1, 11)
    ]
    (inputs / "pairs.csv").write_text(table(rows))
    assert len(prepared(inputs, out=inputs / "largest", negatives="none").smiles) == 1
    kept = prepared(inputs, out=inputs / "keep", negatives="none", salts="keep")
    assert kept.smiles == ["CCC(=O)O", "CCC(=O)O.[Na+]"]
    assert kept.meta["salts"] == "keep"


def test_of_several_sequences_the_preferred_kind_is_taken_and_of_a_kind_the_longest(inputs):
    (inputs / "pairs.csv").write_text(table([(gene, "C" * gene, 1) for gene in range(1, 13)]))
    lines = ["GeneID\tkind\tsource_id\tsequence"]
    for gene in range(1, 13):
        lines += [f"{gene}\tPROM60_EPDnew\tp\t{'ACGT' * 15}{'A' * gene}"]
    lines += ["1\tmRNA_CPAT\tlong\tACGTT", "1\tCDS_iCodon\tshort\tATG", "1\tcds_x\tlonger\tatgccc"]
    lines += [
        "2\tmRNA_CPAT\tm\tACGTAC",
        "3\tother\to\t" + "A" * 99,
        "4\tmRNA\tempty\t",
        "5\tprom\tlater\t" + "T" * 65,
    ]
    (inputs / "genes.tsv").write_text("\n".join(lines) + "\n")
    pairs = prepared(inputs)
    assert pairs.sequences[:2] == ["ATGCCC", "ACGTAC"]
    assert pairs.sequences[4] == "ACGT" * 15 + "A" * 5  # of equally long ones the first
    assert [kind.split("_")[0] for kind in pairs.kinds[:4]] == ["cds", "mRNA", "PROM60", "PROM60"]
    assert pairs.meta["gene_kinds"] == {"PROM60_EPDnew": 10, "cds_x": 1, "mRNA_CPAT": 1}
    assert set(pairs.gene[pairs.sequenced()]) == {0, 1}
    other = prepared(inputs, out=inputs / "promoters", gene_kind="promoter,")
    assert (pairs.meta["gene_kind"], other.meta["gene_kind"]) == ("CDS,mRNA,promoter", "promoter,")
    assert set(other.kinds) == {"PROM60_EPDnew"}


def test_genes_are_sorted_by_number_and_dna_is_upper_case(inputs):
    pairs = prepared(inputs)
    assert pairs.gene_ids == [str(gene) for gene in range(1, GENES + 1)]
    assert set("".join(pairs.sequences)) == set("ACGT")


def test_hdf5_that_lacks_a_gene_drops_its_pairs(inputs):
    h5py = pytest.importorskip("h5py")
    with h5py.File(inputs / "genes.hdf5", "w") as file:
        for line in (inputs / "genes.tsv").read_text().splitlines()[2:]:
            gene, sequence = line.split("\t")
            file[gene] = sequence
    pairs = prepared(inputs, genes=inputs / "genes.hdf5")
    assert "1" not in pairs.gene_ids
    assert {(row[2], row[4]) for row in dropped(inputs / "set")} == {("1", "gene without a sequence")}


def test_labels_that_are_given_are_kept_and_nothing_is_drawn(inputs, capsys):
    lines = (inputs / "pairs.csv").read_text().splitlines()
    zeros = [line[:-1] + "0" if place % 3 == 0 else line for place, line in enumerate(lines[1:])]
    (inputs / "pairs.csv").write_text("\n".join([lines[0], *zeros]) + "\n")
    pairs = prepared(inputs)
    assert (len(pairs.label), pairs.label.sum()) == (PAIRS, PAIRS * 2 // 3)
    assert (pairs.meta["negatives"], pairs.meta["ratio"]) == ("given", None)
    assert "negatives given" in capsys.readouterr().out


def test_a_part_of_one_class_is_said(inputs, capsys):
    prepared(inputs, negatives="none")
    assert "one class only, so that no AUROC is defined there" in capsys.readouterr().out
    prepared(inputs, out=inputs / "other")
    assert "one class" not in capsys.readouterr().out


def test_negatives_that_a_part_cannot_give_are_said(inputs, capsys):
    pairs = prepared(inputs, split="cold-both", ratio=50)
    missing = pairs.meta["counts"]["negatives_missing"]
    for part, about in pairs.meta["parts"].items():
        assert about["rows"] == about["genes"] * about["molecules"]  # every pair there is
        assert missing[part] == 51 * about["positives"] - about["rows"]
    assert f"{missing['test']:,} negatives fewer than asked for" in capsys.readouterr().out


def test_the_summary_tells_parts_leakage_and_folder(inputs, capsys):
    pairs = prepared(inputs, split="cold-gene")
    told = capsys.readouterr().out
    for part, about in pairs.meta["parts"].items():
        assert (
            f"{part}: {about['rows']} rows, {about['positives']} positive, {about['genes']} genes, "
            f"{about['molecules']} molecules"
        ) in told
    assert "train and test share 0 pairs (0% of test's rows), 0 genes" in told
    assert f"written to {inputs / 'set'}" in told
    assert json.loads((inputs / "set" / "leakage.json").read_text())["shared"]["train, test"]["genes"] == 0


def test_quiet_says_nothing(inputs, capsys):
    prepared(inputs, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_dry_run_writes_nothing(inputs, capsys):
    before = sorted(inputs.rglob("*"))
    run(Options(pairs=inputs / "pairs.csv", genes=inputs / "genes.tsv", out=inputs / "set", dry_run=True))
    assert f"would write {inputs / 'set'}" in capsys.readouterr().out
    assert sorted(inputs.rglob("*")) == before


def test_an_earlier_set_is_replaced_only_on_request(inputs):
    digest = prepared(inputs).digest
    with pytest.raises(ValueError, match="is there already; --overwrite replaces it"):
        prepared(inputs, seed=1)
    assert open_pairs(inputs / "set").digest == digest
    assert prepared(inputs, seed=1, overwrite=True).digest != digest


@pytest.mark.parametrize("file", ["meta.json", "photo.jpg"])
def test_what_is_no_set_of_pairs_is_never_replaced(inputs, file):
    """Not even a folder with a meta.json, as a prepared genome has."""
    (inputs / "set").mkdir()
    (inputs / "set" / file).write_text('{"format": "dnalm-genome"}')
    with pytest.raises(ValueError, match="holds something else than a set of pairs"):
        prepared(inputs, overwrite=True)
    (inputs / "file").write_text("text")
    with pytest.raises(ValueError, match="expected a folder to write, got a file"):
        prepared(inputs, out=inputs / "file", overwrite=True)


def test_a_run_that_fails_leaves_no_set_and_none_in_the_way(inputs, monkeypatch):
    def full(*_args, **_arrays):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        with pytest.raises(OSError, match="No space"):
            prepared(inputs)
    assert not (inputs / "set" / "meta.json").exists()
    assert prepared(inputs).digest


BAD_ROWS = [
    ("GeneID,Label\n1,1\n", "SMILES missing"),
    ("GeneID,SMILES,Label\n1,CCO,2\n", "line 2: expected the label 0 or 1, got '2'"),
    ("GeneID,SMILES,Label\n1,CCO,1\n1,CCN,\n", "line 3: expected the label 0 or 1, got ''"),
    ("GeneID,SMILES,Label\n1,CCO,1\n1,C1CC,1\n1,drug,1\n", "2 of 3 rows have no SMILES of a molecule"),
    (f"GeneID,SMILES,Label\n1,C,1\n1,{'C' * 1001},1\n1,{'C' * 1002},1\n", "more than 1,000 characters"),
    (
        "GeneID,SMILES,Label\n1,CCO,1\n1,CCO,0\n",
        "no pair is left of 2 rows: 2 the same pair with both labels",
    ),
    (
        "GeneID,SMILES,Label\n1001,CCO,1\n",
        "1 gene without a sequence; do --pairs and --genes name genes alike",
    ),
    ("GeneID,SMILES,Label\n", "no pair is left of 0 rows"),
    ("GeneID,SMILES,Label\n1,CCO,1\n2,CCO,1\n", "expected at least 3 pairs that may be parted, got 2"),
]


@pytest.mark.parametrize(("text", "said"), BAD_ROWS)
def test_bad_pairs_are_told_and_nothing_is_written(inputs, text, said):
    (inputs / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        prepared(inputs)
    assert not (inputs / "set").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ratio": 0}, "--ratio must be more than 0"),
        ({"ratio": float("nan")}, "--ratio must be more than 0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"gene_kind": " , "}, "--gene-kind needs kinds"),
        ({"ratio": -1, "seed": -1}, "--ratio .*; --seed "),  # all at once
    ],
)
def test_bad_options_are_told(inputs, options, said):
    with pytest.raises(ValueError, match=said):
        prepared(inputs, **options)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("cold-molecule", "at least 3 molecules"),
        ("scaffold", "at least 3 scaffolds"),
        ("cold-both", "at least 3"),
    ],
)
def test_fewer_molecules_or_scaffolds_than_a_cold_split_needs(inputs, split, said):
    rows = [(gene, smiles, 1) for gene in range(1, 9) for smiles in ("Cc1ccccc1", "Oc1ccccc1")]
    (inputs / "pairs.csv").write_text(table(rows))
    with pytest.raises(ValueError, match=said):
        prepared(inputs, split=split)


def test_the_command_line_and_its_exit_codes(inputs, monkeypatch, capsys):
    verb = cli.Verb("dnalm.commands.interact_prepare", "clean and split pairs", "Data")
    monkeypatch.setitem(cli.VERBS, "interact prepare", verb)
    words = ["interact", "prepare", "--pairs", f"{inputs}/pairs.csv", "--genes", f"{inputs}/genes.tsv"]
    words += ["--out", f"{inputs}/set", "--split", "cold-gene", "--quiet"]
    assert cli.main(words) == cli.DONE
    assert open_pairs(inputs / "set").meta["split"] == "cold-gene"
    assert cli.main(words) == cli.MISTAKE
    assert "--overwrite" in capsys.readouterr().err
    (inputs / "genes.tsv").unlink()
    assert cli.main([*words, "--overwrite"]) == cli.MISTAKE
    error = capsys.readouterr().err
    assert "genes.tsv: there is no such file" in error
    assert "Traceback" not in error


def test_real_pairs_are_all_explained(shared_data, tmp_path):
    folder = shared_data / "interaction"
    pairs = prepared(
        tmp_path,
        pairs=folder / "ctd_positive_pairs.csv.gz",
        genes=folder / "gene_sequences_entrez.tsv.gz",
        split="cold-both",
    )
    counts = pairs.meta["counts"]
    assert counts["read"] == 102_304
    assert counts["dropped"]["gene without a sequence"] == 102_304 - 96_121
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    assert len(dropped(tmp_path / "set")) == sum(counts["dropped"].values())
    assert pairs.label.sum() == counts["kept"] - counts["between_parts"]
    shared = json.loads((tmp_path / "set" / "leakage.json").read_text())["shared"]
    for entry in shared.values():
        assert (entry["pairs"], entry["genes"], entry["clusters"], entry["molecules"]) == (0, 0, 0, 0)
    assert 0 < pairs.sequenced().mean() < 1
