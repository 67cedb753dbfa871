"""A genome on disk: preparing it, and reading what was prepared."""

from dnalm.genome.folder import PreparedGenome

__all__ = ["PreparedGenome"]
