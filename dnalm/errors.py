"""What is a user's mistake and not a fault of dnalm: one exception, and words for messages."""

import errno
import importlib
import os
from typing import Any

OS_REASONS = {
    FileNotFoundError: "there is no such file or folder; check the path",
    IsADirectoryError: "expected a file, got a folder",
    NotADirectoryError: "expected a folder, got a file",
    PermissionError: "no permission to use it; change its permissions or choose another path",
}


class InputError(ValueError):
    """A mistake in what the user gave: what was wanted, what came, what to do.

    A parameter stands between backticks in its message. The command line prints the message, parameters as
    flags, and ends with exit code 2; any other exception is a fault of dnalm.
    """


def counted(count: int, one: str, more: str = "") -> str:
    """Return a count with a word in the singular or plural."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def shortened(text: str, width: int = 200) -> str:
    """Return a text on one line; of a long one the beginning, whether it has blanks or not."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3].rstrip(', ')}..."


def import_extra(module: str, extra: str, what: str) -> Any:
    """Import a module of an optional package, for example rdkit.Chem, which `extra` of dnalm installs.

    Raises:
        InputError: if it is not installed: that `what` needs it, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).split(".")[0]
        raise InputError(
            f'{what} needs {package}, which is not installed; run: pip install "dnalm[{extra}]"'
        ) from error


def mistake(error: Exception) -> str | None:
    """Return the message of a mistake of the user's, or None for a fault of dnalm's own."""
    if isinstance(error, InputError):
        return str(error)
    path = getattr(error, "filename", None)
    where = f"{os.fsdecode(path)}: " if isinstance(path, str | bytes) and path else ""
    if _disk_is_full(error):
        return f"{where}the disk is full; free some space or write to another disk"
    if isinstance(error, OSError):
        return where + (OS_REASONS.get(type(error)) or error.strerror or str(error) or type(error).__name__)
    return None


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether a full disk is behind an error; libraries in other languages pass on the words alone."""
    while error is not None:
        words = os.strerror(errno.ENOSPC) in str(error) and not isinstance(error, ValueError)
        if words or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
