"""Fixtures for the tests of the report."""

import pytest

from dnalm.report import binding, language, pairs
from dnalm.report.pages import Picture, write_page

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of tables and text: figures are not rendered."""
    for module in (language, binding, pairs):
        monkeypatch.setattr(module, "picture", lambda figure, caption, alt: Picture(PNG, caption, alt))


@pytest.fixture
def page_of(tmp_path):
    """Writes a page and returns its text."""

    def write(*chapters, title="A title"):
        write_page(chapters, tmp_path / "my page.html", title)
        return (tmp_path / "my page.html").read_text()

    return write
