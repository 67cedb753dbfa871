"""Ctrl-C and SIGTERM as a wish to stop, which several processes grant after the same step in each."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from dnalm import exchange, ranks


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Catch Ctrl-C and SIGTERM: the first asks the loop to stop, a second one stops at once.

    Of several processes, each gets one from the terminal and another from its launcher: the first counts.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set() and ranks.place().world == 1:
            raise KeyboardInterrupt
        if not stopped.is_set() and ranks.leads():
            once_more = "; once more to stop at once" if ranks.place().world == 1 else ""
            print(f"stopping after this step{once_more}", file=sys.stderr)
        stopped.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def any_asked(stopped: threading.Event) -> bool:
    """Tell whether any process was asked to stop: all of them stop after the same step."""
    return exchange.total([float(stopped.is_set())]) != [0.0]
