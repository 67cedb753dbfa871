"""A genome on disk: preparing it, and reading what was prepared."""
