"""Progress bars on stderr, on a terminal only, and in the first of several processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from dnalm import process


def bars(*columns: ProgressColumn, quiet: bool, transient: bool = False) -> Progress:
    """Return bars with a description and `columns`, to be entered by `with`; disabled if `quiet`."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=transient,
        redirect_stdout=False,
        disable=quiet or not console.is_terminal or not process.is_rank_zero(),
    )


def ticker(shown: Progress, name: str, size: int) -> Callable[[int], None]:
    """Return a function that shows how many of `size` bytes are done, in a bar of its own."""
    task = shown.add_task(name, total=size)
    return lambda count: shown.update(task, completed=count)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


@contextmanager
def byte_progress(what: str, paths: Iterable[Path], *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar named `what`, and give a function to call with each number of bytes read from `paths`."""
    with bars(DownloadColumn(), TimeRemainingColumn(), quiet=quiet, transient=True) as shown:
        task = shown.add_task(what, total=sum(path.stat().st_size for path in paths if path.is_file()))
        yield lambda count: shown.advance(task, count)


@contextmanager
def count_progress(what: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar named `what` of `total` things, and give a function to call with each number done."""
    with bars(MofNCompleteColumn(), TimeRemainingColumn(), quiet=quiet, transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda count: shown.advance(task, count)


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Give a function that shows the progress of training: step, all steps, a note."""
    note = TextColumn("{task.fields[note]}")
    with bars(MofNCompleteColumn(), note, TimeRemainingColumn(), quiet=quiet) as shown:
        task = shown.add_task("training", total=None, note="", visible=False)

        def update(step: int, steps: int, note: str) -> None:
            shown.update(task, completed=step, total=steps, note=note, visible=True)

        yield update
