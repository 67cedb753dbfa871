"""Tests for docs/make/yeast: each record of the battery is where its table has it."""

from docs.make import yeast
from docs.make.language import trained
from docs.make.markdown import NONE_YET
from tests.docs.test_make import cells
from tests.report.invented import make_run

NAMES = {core: f"yeast-battery-{{}}-{core}" for core in yeast.CORES}


def about(value):
    """An estimate."""
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def records(kind, **metrics_of_cores):
    """Records of a kind, by the names that the script gives them."""
    return {NAMES[core].format(kind): {"metrics": found} for core, found in metrics_of_cores.items()}


def test_what_there_is_no_record_of_has_no_table():
    tables = (yeast.paired_table, yeast.classes_table, yeast.substitutions_table, yeast.variants_table)
    tables += (yeast.cores_table, yeast.tasks_table, yeast.few_labels_table, yeast.expression_table)
    assert {table({}) for table in tables} == {NONE_YET}


def test_cores_stand_in_the_order_of_the_page():
    run = make_run("vocab4", 1.945)
    run["metrics"]["fixed_positions"] = {
        **about(1.9),
        "bases": 50,
        "markov": {"order": 6, "strands": 2, "bits": 1.92},
        "two_sided": {"order": 4, "strands": 2, "bits": 1.91},
        "gain": {**about(0.02), "winner": "neither"},
    }
    ((core, _, _, work, bits, _, fixed),) = cells(
        yeast.cores_table(trained({NAMES["causal"].format("core"): run}))
    )
    assert (core, bits[:6], fixed[:6]) == ("causal, one genome", "1.9450", "1.9000")
    shape, metrics = run["recipe"]["encoder"], run["metrics"]
    attention = 6 * shape["n_layer"] * shape["block_size"] * shape["n_embd"]
    flop = metrics["tokens"] * (6 * metrics["parameters"] + attention)
    assert work == f"{flop / 1e12:.0f}"


def test_each_core_has_its_column_of_features_and_substitutions():
    def aurocs(model):
        return {"model": about(model), "markov": about(0.5), "difference": about(model - 0.5)}

    found = {
        core: {
            "bases": bases,
            "features": [{"name": "coding", "bases": 500, "gain": about(gain)}],
            "substitutions": [{"name": "nonsense", "codons": 70} | aurocs(gain)],
        }
        for core, gain, bases in (("causal", 0.3, 3000), ("nine", 0.4, 1000))
    }
    scored = records("score", **found)
    columns = "| bases, of the first | causal, one genome, 3,000 bases | masked, nine genomes, 1,000 bases |"
    assert columns in yeast.classes_table(scored)
    coding = ["coding", "500", "+0.3000 (+0.2000 to +0.4000)", "+0.4000 (+0.3000 to +0.5000)"]
    assert cells(yeast.classes_table(scored)) == [coding]
    first, second = cells(yeast.substitutions_table(scored))
    assert first[:2] == ["causal, one genome", "nonsense against synonymous, 70 codons"]
    assert [each[:4] for each in first[2:]] == ["0.30", "0.50", "-0.2"]
    assert second[2][:4] == "0.40"


def test_variants_have_a_row_for_each_core_and_class():
    contrast = {"name": "count 1", "rare": 7, "common": 5, "scores": {"LLR": {"auroc": about(0.6)}}}
    ((core, which, llr),) = cells(yeast.variants_table(records("variants", masked={"contrasts": [contrast]})))
    assert (core, which, llr[:3]) == ("masked, one genome", "count 1: 7 against 5", "0.6")


def test_curves_are_rows_of_tasks_and_of_cores():
    scores = {"pretrained": [about(0.5)], "untrained": [about(0.3)]}
    curve = {"windows": [70], "scores": scores, "minus": {"untrained": [about(0.2)]}}
    rows = cells(yeast.tasks_table({"yeast-battery-reb1-14": {"metrics": curve}}))
    half, third = "0.5000 (0.4000 to 0.6000)", "0.3000 (0.2000 to 0.4000)"
    lead = "+0.2000 (+0.1000 to +0.3000)"
    assert rows == [["Reb1", "14", "70", half, third, lead]]
    assert cells(yeast.few_labels_table(records("coding", causal=curve))) == [
        ["causal, one genome", half, third, lead]
    ]


def test_pairs_and_expression_name_the_cores_in_words():
    minus = {"causal - nine": about(0.2)}
    paired = {"yeast-battery-paired": {"metrics": {"bases": 1000, "minus": minus}}}
    ((name, gap),) = cells(yeast.paired_table(paired))
    assert (name, gap[:4]) == ("causal, one genome less masked, nine genomes", "+0.2")
    rows = {
        name: {"r": about(0.3), "minus_kmers": about(0.1)} for name in ("k-mers", "nine", "nine, untrained")
    }
    found = {"yeast-battery-expression": {"metrics": {"genes": {"test": 9}, "scores": rows}}}
    names = [row[0] for row in cells(yeast.expression_table(found))]
    assert names == ["k-mers", "masked, nine genomes", "masked, nine genomes, untrained"]
