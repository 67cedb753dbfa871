"""What `predict`, `variants`, `explain` and `score` record: one schema for writing and reading.

Each is the `metrics` of a run.json, which stands beside the results as run_OUT.json, or in their folder as
run.json. Null for a float is NaN.
"""

from typing import NamedTuple


class Counts(NamedTuple):
    """What became of the records of an input: `read` is `written` plus all of `left_out`, by reason."""

    read: int
    written: int
    left_out: dict[str, int]
