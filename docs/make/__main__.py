"""Make the pages of docs/ from run records, results of the bench and arithmetic: no figure is typed.

    python -m docs.make [PAGE ...]

fills docs/PAGE.md.j2 (Jinja, Markdown) and writes docs/PAGE.md, for all pages unless some are named.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from dnalm.errors import InputError
from dnalm.files import write_text
from docs.make import binding, curves, language, markdown, pairs, performance, scale, use, yeast

ROOT = Path(__file__).parents[2]
PAGES = (
    "results",
    "choosing",
    "yeast",
    "interaction",
    "performance",
    "scale",
    "appendix",
    "tutorial-tracks-and-variants",
)


def values(records: Path, results: Path) -> dict[str, Any]:
    """Return what the templates use: runs by kind, results of the bench, and the functions for tables."""
    every = markdown.read_records(records)
    pretrained = language.trained(every)
    runs = {
        "everything": pretrained,
        "pretrained": {
            name: one for name, one in pretrained.items() if not (one.genomes or one.metrics.masked)
        },
        "records": every,
        "trained": {
            name: run
            for name, run in markdown.of_verbs(every, "finetune", "baseline").items()
            if "saving" not in run["metrics"]  # which label curves have
        },
        "label_curves": markdown.of_verbs(every, "coding rules"),
        "feature_runs": markdown.of_verbs(every, "features"),
        "evaluated": markdown.of_verbs(every, "evaluate"),
        "readouts": markdown.of_verbs(every, "readout"),
        "used": markdown.of_verbs(every, "score", "variants", "explain"),
    }
    for key, verb in (("trained", "interact train"), ("evaluated", "interact evaluate")):
        of_pairs = markdown.of_verbs(every, verb)
        published = {name: run for name, run in of_pairs.items() if name.startswith(pairs.PUBLISHED)}
        runs[f"published_{key}"] = published
        runs[f"pairs_{key}"] = {name: run for name, run in of_pairs.items() if name not in published}
    bench = {"results": performance.read_results(results)}
    modules = {
        "language": language,
        "binding": binding,
        "curves": curves,
        "pairs": pairs,
        "performance": performance,
        "use": use,
        "yeast": yeast,
    }
    return runs | bench | modules | scale.facts() | {"commands_list": markdown.commands_list}


def render(template: Path, values: dict[str, Any]) -> str:
    """Return the text of a template; a name that it uses and `values` lacks is a mistake."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)


def main(argv: Sequence[str]) -> int:
    """Write the pages; return the exit code."""
    try:
        if unknown := set(argv) - set(PAGES):
            raise InputError(f"unknown pages: {', '.join(sorted(unknown))}; there are {', '.join(PAGES)}")
        everything = values(ROOT / "docs" / "records", ROOT / "bench" / "results")
        for page in argv or PAGES:
            path = ROOT / "docs" / f"{page}.md"
            write_text(path, render(path.with_name(f"{page}.md.j2"), everything))
            print(path.relative_to(ROOT))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
