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

    Of several processes, each gets one from the terminal and another from its launcher: the first counts, and
    no other one disturbs how they end.
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
    ending = False
    try:
        yield stopped
    except KeyboardInterrupt:
        ending = ranks.place().world > 1
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ending else handler)


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt; of several processes, none after it disturbs how one ends."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    after = before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:
        after = signal.SIG_IGN if ranks.place().world > 1 else before
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


def any_asked(stopped: threading.Event) -> bool:
    """Tell whether any process was asked to stop: all of them stop after the same step."""
    return exchange.total([float(stopped.is_set())]) != [0.0]
