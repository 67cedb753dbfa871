"""The table of a ranking as TSV, CSV or SDF."""

import csv
import io
from collections.abc import Iterator

from dnalm.data.molecules import sdf_record
from dnalm.use.chemistry import Neighbourhood
from dnalm.use.screen import Ranking

COLUMNS = ("rank", "name", "probability", "training_pairs", "gene_or_smiles", "known")
NEAR_COLUMNS = ("similarity", "outside", "nearest_positive", "positive_similarity")
"""Of molecules: similarity to the nearest training molecule, whether it is outside the training set's range,
and the nearest known positive of the gene."""
SUFFIXES = (".tsv", ".csv", ".sdf")


def table_rows(ranking: Ranking, near: Neighbourhood | None) -> Iterator[dict[str, str]]:
    """Yield the columns of each pair, the most likely first; `from ...` of a combined model, in nats."""
    candidates = ranking.candidates
    for number, row in enumerate(ranking.order.tolist(), 1):
        values = [str(number), candidates.names[row], f"{ranking.probability[row]:.6f}"]
        values += [str(candidates.training_pairs[row]), candidates.descriptions[row], candidates.known[row]]
        cells = dict(zip(COLUMNS, values, strict=True))
        if near is not None:
            positive = near.positive[row]
            values = [f"{near.similarity[row]:.3f}", "yes" if near.outside[row] else "no", positive]
            values += [f"{near.positive_similarity[row]:.3f}" if positive else ""]
            cells |= dict(zip(NEAR_COLUMNS, values, strict=True))
        yield cells | {f"from {name}": f"{one[row]:.4f}" for name, one in ranking.contributions.items()}


def ranking_text(ranking: Ranking, near: Neighbourhood | None, suffix: str) -> str:
    """Return a ranking as the content of a file with one of `SUFFIXES`; an SDF holds molecules."""
    rows = list(table_rows(ranking, near))
    if suffix == ".sdf":
        return "".join(sdf_record(row["gene_or_smiles"], row["name"], row) for row in rows)
    text = io.StringIO()
    delimiter = "," if suffix == ".csv" else "\t"
    table = csv.DictWriter(text, rows[0] if rows else COLUMNS, delimiter=delimiter, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
