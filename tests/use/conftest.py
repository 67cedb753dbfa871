"""Fixtures shared with the tests of commands."""

from tests.commands.conftest import binding, pair_folder

__all__ = ["binding", "pair_folder"]
