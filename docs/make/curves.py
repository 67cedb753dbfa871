"""Tables of what pretraining and features are worth, from records of yeast_battery.sh and features.py."""

from collections.abc import Mapping

from dnalm.results.labels import PRETRAINED
from docs.make.markdown import NONE_YET, Run, spread, table


def labels_table(records: Mapping[str, Run], name: str) -> str:
    """One row a model or rule of a record: R by labelled bases, and the pretrained model's lead."""
    if name not in records:
        return NONE_YET
    m = records[name]["metrics"]
    columns = [f"{bases:,} labelled bases" for bases in m["bases"]]
    rows = []
    for name, scores in m["scores"].items():
        leads = [spread(lead, "+") for lead in m["minus"].get(name, [])] or [""] * len(columns)
        rows.append([name, *map(spread, scores), *leads])
    return table(["", *columns, *(f"pretrained minus it, {each}" for each in columns)], rows)


def features_table(records: Mapping[str, Run]) -> str:
    """One row a core and features of the only record: R, pretrained and untrained, and the first minus it."""
    if not records:
        return NONE_YET
    (run,) = records.values()
    m, first = run["metrics"], run["recipe"]["first"]
    rows: dict[tuple[str, str], list[list[str]]] = {}
    for name, (score,) in m["scores"].items():
        core, features, _ = (first if name == PRETRAINED else name).split(", ")
        lead = "" if name == PRETRAINED else spread(m["minus"][name][0], "+")
        rows.setdefault((core, features), []).append([spread(score), lead])
    columns = ["core", "features", "pretrained, R", "untrained, R", "first minus pretrained"]
    cells = [[*key, one[0], two[0], one[1], two[1]] for key, (one, two) in rows.items()]
    return table([*columns, "first minus untrained"], cells)
