"""What a case of the bench is made of: contestants, groups that are compared, and targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Settings:
    """How a case is run; the same for all contestants."""

    scratch: str  # A folder shared by all contestants, and removed at the end
    device: str = "cpu"
    threads: int = 0  # Of each contestant; 0 for as many as there are cores
    quick: bool = False  # Toy sizes: whether it runs at all
    compile: bool = False  # Contestants with torch.compile too
    long: bool = False  # Sizes that take many minutes too

    @property
    def folder(self) -> Path:
        """The shared folder."""
        return Path(self.scratch)


@dataclass
class Work:
    """One contestant, built and ready."""

    run: Callable[[], float | None]
    """Does the work once; may return the seconds that count, where that is not all of the call."""
    units: float = 1.0  # What one call processes, in the unit of the case
    flops: float = 0.0  # Model FLOPs of one call; 0 where they are not counted
    precision: str = ""  # Of the matrix products: names the peak that FLOPs are a share of
    before: Callable[[], object] | None = None  # Called before each `run`; its time does not count
    facts: Mapping[str, Any] = field(default_factory=dict)  # Anything worth knowing, for the page


Build = Callable[[Settings], Work]


@dataclass(frozen=True)
class Target:
    """A figure, and what it must or should reach."""

    text: str
    of: str  # A way, or a group of them for `ratio`: then its best one counts
    figure: Literal["ratio", "rate", "seconds", "peak_memory_bytes", "share_of_peak"]
    at_least: float | None = None
    at_most: float | None = None
    must: bool = True


@dataclass(frozen=True)
class Case:
    """Several ways of doing the same, measured in turns.

    Args:
        name: of the result file.
        title: a heading.
        about: what is measured, in a few sentences for the page.
        unit: what is processed: tokens, MB, windows ...
        ours: the way that ratios are of.
        ways: every contestant by name; importing the module of a case must not import torch.
        groups: peers by name, each with its variants: ours is compared with the best one.
        peaks: for each precision the way that measures the peak of matrix products.
        amounts: amounts of the unit, by description, whose time is of interest.
        setup: makes what all contestants share, once, in a process of its own.
        rounds: as many as the figures need.
        memory: bytes that all contestants together may hold, on a CPU: checked before the start.
    """

    name: str
    title: str
    about: str
    unit: str
    ours: str
    ways: Callable[[Settings], dict[str, Build]]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    peaks: Mapping[str, str] = field(default_factory=dict)
    targets: Callable[[Settings], Sequence[Target]] = lambda settings: ()
    amounts: Mapping[str, float] = field(default_factory=dict)
    setup: Callable[[Settings], None] | None = None
    rounds: int = 5
    memory: float = 2e9
