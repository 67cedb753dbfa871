"""`dnalm interact compare`: the same as `dnalm compare`."""

from dnalm.commands.compare import Options, run

__all__ = ["Options", "run"]
