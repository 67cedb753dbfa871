"""dnalm: DNA language models, from a genome to an honest result."""

__version__ = "0.1.0"
