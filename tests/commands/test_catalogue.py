"""Tests for dnalm/catalogue.toml."""

import re

from dnalm.download import read_catalogue


def test_every_entry_is_in_order():
    sets = read_catalogue()
    assert {"yeast", "binding-chr22", "hg38", "gue/tf/0", "dnabert2", "chemberta"} <= set(sets)
    for one in sets.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9_-]+)*", one.name)  # no way out of OUT
        assert one.what
        assert one.terms
        assert re.fullmatch(
            r"https://(raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}|hgdownload\.soe\.ucsc\.edu|"
            r"huggingface\.co)/",
            one.base,
        )
        assert len({file.name for file in one.files}) == len(one.files) > 0
        for file in one.files:
            assert ".." not in file.path
            assert bool(file.bytes) == bool(file.sha256) != bool(file.about_bytes)
            assert file.size > 0
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert [name for name, one in sets.items() if not one.pinned] == ["hg38", "chemberta"]
