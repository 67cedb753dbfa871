"""dnalm: DNA language models, from a genome to an honest result."""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from dnalm.use.binding import BindingModel
    from dnalm.use.language import LanguageModel
    from dnalm.use.load import load
    from dnalm.use.pairs import PairModel

__all__ = ["BindingModel", "LanguageModel", "PairModel", "load"]


def __getattr__(name: str) -> Any:
    """Import what a Python user needs when it is first used: torch takes seconds to load."""
    if name not in __all__:
        raise AttributeError(f"module 'dnalm' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("dnalm.use.load"), name)
