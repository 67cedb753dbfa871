"""A genome on disk: preparing it, and reading what was prepared."""

from dnalm.genome.folder import Part, PreparedGenome

__all__ = ["Part", "PreparedGenome"]
