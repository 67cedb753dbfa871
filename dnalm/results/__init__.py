"""What the result files hold: one schema, shared by the code that writes them and the reports that read them.

A file is JSON; its keys are the fields of the classes in this package, and it may hold more. Null for a float
is NaN.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dnalm.errors import InputError
from dnalm.files import FieldError, finite, from_json, write_json
from dnalm.record import read_versioned
from dnalm.results.binding import BindingEvaluation, BindingResults
from dnalm.results.labels import LabelCurve
from dnalm.results.pairs import PairEvaluation, PairResults
from dnalm.results.schema import with_current_names

T = TypeVar("T")
VERSION = 1  # of all formats

SCHEMAS: dict[str, type[Any]] = {
    "dnalm-binding-results": BindingResults,
    "dnalm-binding-evaluation": BindingEvaluation,
    "dnalm-label-curve": LabelCurve,
    "dnalm-interaction-results": PairResults,
    "dnalm-interaction-evaluation": PairEvaluation,
}
"""The class of each format."""


def read(path: Path, kind: type[T]) -> T:
    """Read a result file as one of the classes in SCHEMAS; raises InputError as `decode` does."""
    (form,) = (form for form, schema in SCHEMAS.items() if schema is kind)
    return decode(read_versioned(path, form, VERSION), kind, path)


def decode(content: Any, kind: type[T], path: Path) -> T:
    """Return JSON content as one of the classes of this package.

    Raises:
        InputError: naming `path` and the field, if a field is missing or has the wrong type.
    """
    try:
        made: T = from_json(with_current_names(content), kind)
    except FieldError as error:
        what = f"{error} is missing or of the wrong type"
        raise InputError(f"{path}: damaged: {what}; make it again") from error
    return made


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file: `format`, `format_version`, all fields of that format, and any others.

    Raises:
        FieldError: if `content` does not fit the schema.
    """
    from_json(finite(dict(content)), SCHEMAS[content["format"]])
    write_json(path, dict(content))
