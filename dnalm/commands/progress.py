"""A progress bar over the bytes of input files, on a terminal only."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def byte_progress(what: str, paths: Iterable[Path], *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar and give a function that is called with each number of bytes read.

    Args:
        what: the description before the bar.
        paths: the input files.
        quiet: show nothing.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task(what, total=sum(path.stat().st_size for path in paths if path.is_file()))
        yield lambda count: progress.advance(task, count)
