"""Tests for dnalm/commands/interact_screen.py and dnalm/formats/smiles.py."""

import base64
import csv
import gzip
import json
import re
from collections import defaultdict

import numpy as np
import pytest

from dnalm.commands.interact_screen import Options, picture_name, run
from dnalm.commands.interact_train import Options as TrainOptions
from dnalm.commands.interact_train import run as train
from dnalm.commands.runs import RunOptions
from dnalm.data.pairs import open_pairs
from dnalm.device import Compute
from dnalm.errors import InputError
from dnalm.evaluate.pair_scores import probability
from dnalm.formats.smiles import read_molecules
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.open import open_interaction
from dnalm.models.pair import predict
from dnalm.models.pair_shape import EncodersConfig, PairTexts
from dnalm.models.pretrained import PretrainedEncoder
from dnalm.train.optim import EpochConfig

pytest.importorskip("rdkit")
CPU = Compute(device="cpu", precision="fp32")
LIBRARY = """# a comment
CCO ethanol
OCC	the same
nonsense what

CCCl
[Na+].CC(=O)[O-] acetate
c1ccccc1  benzene
"""


def trained(data, out, kind="foundation", dna="kmer", epochs=1):
    """The folder of a small model."""
    options = TrainOptions(
        data=data,
        model=kind,
        out=out,
        encoders=EncodersConfig(dna, "morgan"),
        attention=CrossAttentionConfig(16, 2, 16),
        train=EpochConfig(epochs=epochs, batch_size=16, lr=3e-3),
        run=RunOptions(compute=CPU, quiet=True),
    )
    train(options)
    return out


@pytest.fixture(scope="module")
def model(pair_folder, tmp_path_factory):
    return trained(pair_folder, tmp_path_factory.mktemp("runs") / "mine", epochs=3)


@pytest.fixture
def screen(model, pair_folder, tmp_path):
    """Screens, and returns the rows of the table."""

    def start(model=model, data=pair_folder, **options):
        out = tmp_path / "ranked.tsv"
        run(Options(model, data=data, out=out, compute=CPU, **options))
        with out.open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    return start


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "my lib.smi"
    path.write_text(LIBRARY)
    return path


@pytest.fixture
def looks(tmp_path):
    """The folder of --attention."""
    return tmp_path / "looks"


def expected(model, genes, smiles):
    """Probabilities worked out from the parts."""
    opened = open_interaction(model)
    temperature = json.loads((model / "results.json").read_text())["temperature"]
    tokens = opened.model.shape.tokens(PairTexts(genes, smiles))
    rows = np.array([(gene, molecule) for gene in range(len(genes)) for molecule in range(len(smiles))])
    return probability(predict(opened.model, tokens, rows[:, 0], rows[:, 1]), temperature)


def table(folder):
    """The rows of attention.tsv, by rank."""
    found = defaultdict(list)
    with (folder / "attention.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found[int(row["rank"])].append(row)
    return found


def test_molecules_are_ranked_by_their_probability_with_a_page_and_attention(
    screen, model, pair_folder, library, looks, tmp_path, capsys
):
    rows = screen(gene="g3", molecules=library, attention=looks, top=3)
    wanted = {"ethanol": "CCO", "CCCl": "CCCl", "acetate": "CC(=O)[O-]", "benzene": "c1ccccc1"}
    assert {row["name"]: row["gene_or_smiles"] for row in rows} == wanted
    pairs = open_pairs(pair_folder)
    gene = pairs.sequences[3]
    by_name = dict(zip(wanted, expected(model, [gene], list(wanted.values())), strict=True))
    for row in rows:
        assert float(row["probability"]) == pytest.approx(by_name[row["name"]], abs=1e-5)
    scores = [float(row["probability"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4]
    counted = {row["name"]: int(row["training_pairs"]) for row in rows}
    benzene = (pairs.molecule[pairs.parts["train"]] == pairs.smiles.index("c1ccccc1")).sum()
    assert counted["benzene"] == benzene > 0
    assert counted["CCCl"] == counted["ethanol"] == 0
    messages = capsys.readouterr().err
    for part in (
        "my lib.smi: line 4: 'nonsense'",
        "1 row repeats",
        "node rate",
        "negatives degree-matched",
        "attention.tsv",
    ):
        assert part in messages
    attention = table(looks)
    assert list(attention) == [1, 2, 3]
    page = (tmp_path / "ranked_report.html").read_text()
    for rank, row in enumerate(rows, 1):
        assert f'<th scope="row">{rank}. {row["name"]}</th>' in page
        assert f"<td>{float(row['probability']):.3f}</td>" in page
    for rank, row in enumerate(rows[:3], 1):
        assert {each["name"] for each in attention[rank]} == {row["name"]}
        sides = {side: [r for r in attention[rank] if r["side"] == side] for side in ("gene", "molecule")}
        for each in sides.values():
            assert sum(float(r["weight"]) for r in each) == pytest.approx(1.0, abs=1e-4)  # six digits
        ranges = [(int(r["begin"]), int(r["end"])) for r in sides["gene"]]
        assert ranges == [(at, at + 4) for at in range(len(gene) - 3)]
        assert [r["what"] for r in sides["gene"]] == [gene[begin:end] for begin, end in ranges]
        letters = [letter for letter in row["gene_or_smiles"].upper() if letter in "CONB"]
        for r in sides["molecule"]:
            assert len(r["atoms"].split(",")) == len(r["what"].split(",")) <= len(letters)
        picture = (looks / f"{rank:02d}_{row['name']}.png").read_bytes()
        assert picture[:4] == b"\x89PNG"
        assert base64.b64encode(picture).decode() in page  # the very picture
    assert len(list(looks.iterdir())) == 4
    assert page.count("data:image/png") == 4 + 1 + 3  # structures, histogram, attention
    results = json.loads((model / "results.json").read_text())
    for value in (results["node_rate_validation"], results["validation"]["auroc"]["value"]):
        assert f" {value:.4f}" in page
    assert '<th scope="row">line 4</th><td>nonsense</td><td>is no molecule</td>' in page


def test_genes_are_ranked_for_a_molecule_and_known_pairs_are_on_the_page(
    screen, model, pair_folder, tmp_path
):
    rows, pairs = screen(molecule="NCC"), open_pairs(pair_folder)
    wanted = dict(zip(pairs.gene_ids, expected(model, pairs.sequences, ["CCN"]), strict=True))
    assert {row["name"] for row in rows} == set(wanted)
    for row in rows:
        assert float(row["probability"]) == pytest.approx(wanted[row["name"]], abs=1e-5)
    page = (tmp_path / "ranked_report.html").read_text()
    column = pairs.smiles.index("CCN")
    wanted = {}
    for part, rows in pairs.parts.items():
        for row in rows[pairs.molecule[rows] == column]:
            label = "positive" if pairs.label[row] else "sampled as negative"
            wanted[f"g{pairs.gene[row]}"] = f"{label} in {'training' if part == 'train' else part}"
    cells = r'<th scope="row">\d+\. (g\d+)</th><td>[\d.]+</td><td>([^<]*)</td>'
    assert dict(re.findall(cells, page)) == wanted


def test_what_is_ranked_may_be_given_or_is_that_of_the_set(screen, pair_folder, tmp_path, looks, capsys):
    (tmp_path / "genes.fa").write_text(">new\nacgtacgtacgt\n>none\nNNNN\n>other\nGGGGCCCCAAAATTTT\n")
    (tmp_path / "short.fa").write_text(">short\nACG\n>long\nACGTACGT\n")
    (tmp_path / "one.smi").write_text("CCO\n")
    for options, names in (
        ({"molecule": "CCO", "genes": tmp_path / "genes.fa"}, {"new", "other"}),
        ({"gene": "g3", "molecules": tmp_path / "one.smi"}, {"CCO"}),
        ({"gene": "g3"}, set(open_pairs(pair_folder).smiles)),
        ({"molecule": "CCO", "genes": tmp_path / "short.fa", "attention": looks}, {"short", "long"}),
    ):
        assert {row["name"] for row in screen(overwrite=True, **options)} == names
    # A gene too short to be attended to is left out.
    assert {row["name"] for rows in table(looks).values() for row in rows} == {"long"}
    assert "short: " in capsys.readouterr().err


def test_mistakes_are_refused_and_nothing_is_written(screen, library, tmp_path, pair_set, write_set):
    pair_set.label[0] ^= 1
    other = write_set(tmp_path / "other", pair_set)
    for options, text, message in (
        ({}, LIBRARY, "`gene`"),
        ({"gene": "g3", "molecule": "CCO"}, LIBRARY, "`gene`"),
        ({"gene": "g99"}, LIBRARY, "`gene` g99"),
        ({"molecule": "nonsense"}, LIBRARY, "`molecule`"),
        ({"gene": "g3", "data": other}, LIBRARY, "trained on other pairs"),
        ({"gene": "g3", "molecules": library}, "nonsense\nCCO\nno\n", r"lib.smi: 2 of 3 rows .*'nonsense'"),
        ({"gene": "g3", "molecules": library}, "\n", r"lib.smi: 0 of 0 rows"),
    ):
        library.write_text(text)
        with pytest.raises(InputError, match=message):
            screen(**options)
        assert not (tmp_path / "ranked.tsv").exists()
    for name in ("ranked_report.html", "ranked.tsv"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name}: exists already"):
            screen(gene="g3")
        assert (tmp_path / name).read_text() == "mine"
        assert name == "ranked.tsv" or not (tmp_path / "ranked.tsv").exists()


def test_of_many_unreadable_rows_three_are_shown_with_their_number(screen, library, capsys):
    library.write_text("".join(f"{'C' * row}O\nInChI=1S/{'h' * row}\n" for row in range(1, 51)))
    assert len(screen(gene="g3", molecules=library)) == 50
    lines = [line for line in capsys.readouterr().err.splitlines() if "lib.smi" in line]
    assert len(lines) == 4
    assert "'InChI=1S/hh'" in lines[1]
    assert "50 rows" in lines[3]


def test_a_table_is_read_by_its_columns(tmp_path):
    path = tmp_path / "lib.csv.gz"
    path.write_bytes(gzip.compress(b'id,mass,smiles\nA1,46,CCO\n,32,"CO"\n'))
    rows = list(read_molecules(path))
    assert [tuple(row) for row in rows] == [(2, "A1", "CCO"), (3, "CO", "CO")]
    with pytest.raises(InputError, match="got a folder"):
        list(read_molecules(tmp_path))


def test_another_attention_replaces_what_the_former_has_written_and_nothing_else(screen, looks):
    screen(gene="g3", attention=looks, top=3)
    (looks / "01_mine.png").write_bytes(b"")
    with pytest.raises(InputError, match="attention.tsv: exists already"):
        screen(gene="g3", attention=looks)
    screen(molecule="CCO", attention=looks, top=2, overwrite=True)
    names = {picture_name(rank, rows[0]["name"]) for rank, rows in table(looks).items()}
    assert {path.name for path in looks.iterdir()} == {*names, "attention.tsv", "01_mine.png"}
    assert len(names) == 2
    (looks / "attention.tsv").write_text("another's\n")
    with pytest.raises(InputError, match="is no table of --attention"):
        screen(molecule="CCO", attention=looks, overwrite=True)
    with pytest.raises(InputError, match="expected a folder for --attention, got a file"):
        screen(molecule="CCO", attention=looks / "01_mine.png", overwrite=True)
    names = ["ethanol", "CC(=O)/C=C/[O-]", "../../etc/passwd", "\u00df:*?", "C" * 300]
    safe = ["ethanol", "CC_O_C_C_O", "etc_passwd", "hit", "C" * 60]
    assert [picture_name(7, name) for name in names] == [f"07_{name}.png" for name in safe]


@pytest.mark.parametrize(
    ("kind", "message"), [("original", "has no attention"), ("foundation-pooled", "nothing to choose")]
)
def test_a_model_without_attention_has_none_to_show(kind, message, screen, pair_folder, tmp_path, looks):
    made = trained(pair_folder, tmp_path / "mine", kind)
    for more, text in (({}, message), ({"top": 0}, "--top must be at least 1, got 0")):
        with pytest.raises(InputError, match=text):
            screen(made, gene="g3", attention=looks, **more)
        assert not (tmp_path / "ranked.tsv").exists()
        assert not looks.exists()


def test_of_a_frozen_encoder_spans_are_asked_for_the_first_hits_alone(
    screen, pair_folder, binding, tmp_path, looks, monkeypatch
):
    made = trained(pair_folder, tmp_path / "mine", dna=str(binding.outputs / "vocab4"))
    asked, spans = [], PretrainedEncoder.spans
    monkeypatch.setattr(PretrainedEncoder, "spans", lambda self, t: asked.append(t) or spans(self, t))
    screen(made, molecule="CCO", attention=looks, top=2)
    found, pairs = table(looks), open_pairs(pair_folder)
    assert asked == [pairs.sequences[pairs.gene_ids.index(rows[0]["name"])] for rows in found.values()]
    for rows, sequence in zip(found.values(), asked, strict=True):
        pieces = [row["what"] for row in rows if row["side"] == "gene"]
        assert "".join(pieces) == sequence  # 30 bases, one state each


def test_molecules_and_genes_are_made_clean_as_the_pairs_were(screen, pair_set, write_set, tmp_path):
    pair_set.meta.update(salts="keep", isotopes="drop", gene_kind="promoter,CDS")
    pair_set.gene_ids[3] = "ENSG00000123374"
    data = write_set(tmp_path / "kept", pair_set)
    made, library, genes = trained(data, tmp_path / "mine"), tmp_path / "salt.smi", tmp_path / "genes.tsv"
    library.write_text("[Na+].[13CH3]C(=O)[O-] acetate\n")
    name = "ENSG00000123374.9|ENST00000266970.9"
    genes.write_text(f"GeneID\tkind\tsequence\n{name}\tCDS\tACGTACGTACGT\n{name}\tpromoter\tTTTTGGGGTTTT\n")

    def ranked(**options):
        return [row["gene_or_smiles"] for row in screen(made, data, overwrite=True, **options)]

    assert ranked(gene="ENSG00000123374.2", molecules=library) == ["CC(=O)[O-].[Na+]"]
    assert ranked(gene="ENSG00000123374", molecules=library, salts="largest") == ["CC(=O)[O-]"]
    (row,) = screen(made, data, overwrite=True, molecule="CCO", genes=genes)
    assert (row["name"], row["gene_or_smiles"]) == ("ENSG00000123374", "TTTTGGGGTTTT")
    assert int(row["training_pairs"]) > 0
    assert ranked(molecule="CCO", genes=genes, gene_kind="CDS") == ["ACGTACGTACGT"]
    with pytest.raises(InputError, match="`gene_kind` needs kinds"):
        ranked(molecule="CCO", genes=genes, gene_kind=" ,")
