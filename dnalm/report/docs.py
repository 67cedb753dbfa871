"""A page of docs/ made by a command from a template beside it (Jinja, Markdown)."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2

from dnalm.errors import InputError
from dnalm.files import write_text


def fill(template: Path, values: dict[str, Any]) -> str:
    """Return the text of a template; a name that it uses and `values` lacks is a mistake."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)


def write_page(argv: Sequence[str], usage: str, render: Callable[..., str]) -> int:
    """Write the last of `argv`, PAGE.md, from the template PAGE.md.j2; return the exit code.

    Args:
        argv: of the command; as many words as `usage` has.
        usage: all words that the command takes.
        render: given the paths before the page, and the template, returns the page's text.
    """
    try:
        if len(argv) != len(usage.split(" ")) - 3:  # python -m MODULE
            raise InputError(f"usage: {usage}")
        *sources, page = map(Path, argv)
        write_text(page, render(*sources, page.with_name(page.name + ".j2")))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(page)
    return 0
