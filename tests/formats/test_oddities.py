"""Formats x oddities: each reader reads each file as the plain one, or refuses it in one message.

`python -m pytest -s tests/formats/test_oddities.py` prints the table.
"""

import gzip

import pytest

from dnalm.errors import InputError
from tests.formats.readers import FORMATS

SAME, REFUSED, NOTHING, NONE = "same", "refused", "nothing", "-"
"""Results: the records of the plain file, an `InputError`, no records; and what a format does not have."""


def between_lines(text, line):
    """The text with a line before, between and after its own."""
    return f"{line}\n" + "".join(f"{each}\n{line}\n" for each in text.splitlines())


def quoted(text, delimiter):
    rows = [line.split(delimiter) for line in text.splitlines()]
    return "".join(delimiter.join(f'"{cell}"' for cell in row) + "\n" for row in rows)


def members(text):
    half = len(text) // 2
    return gzip.compress(text[:half].encode()) + gzip.compress(b"") + gzip.compress(text[half:].encode())


ODDITIES = {
    "plain": lambda text, _: text,
    "BOM": lambda text, _: "\ufeff" + text,
    "CRLF": lambda text, _: text.replace("\n", "\r\n"),
    "CR": lambda text, _: text.replace("\n", "\r"),
    "blank lines": lambda text, _: between_lines(text, ""),
    "lines of blanks": lambda text, _: between_lines(text, "  "),
    "comments": lambda text, form: between_lines(text, form.comment) if form.comment else None,
    "trailing blanks": lambda text, _: text.replace("\n", "  \n"),
    "UTF-16": lambda text, _: text.encode("utf-16"),
    "UTF-16, no BOM": lambda text, _: text.encode("utf-16-le"),
    "gzip": lambda text, _: gzip.compress(text.encode()),
    "gzip members": lambda text, _: members(text),
    "gzip, foreign end": lambda text, _: gzip.compress(text.encode()) + b"decoy",
    "gzip, cut": lambda text, _: gzip.compress(text.encode())[:-9],
    "no final newline": lambda text, _: text.rstrip("\n"),
    "quotes": lambda text, form: quoted(text, form.delimiter) if form.delimiter else None,
    "open quote": lambda text, form: form.delimiter and quoted(text, form.delimiter)[:-2] + "\n" or None,
    "empty": lambda text, _: "",
    "empty, gzip": lambda text, _: gzip.compress(b""),
    "only blank lines": lambda text, _: "\n \n\n",
}
MUST_BE_REFUSED = ("UTF-16", "gzip, cut", "open quote", "empty", "only")


def wanted(form, oddity):
    """Return what a cell of the table must be."""
    if ODDITIES[oddity](form.text, form) is None:
        return NONE
    if not oddity.startswith(MUST_BE_REFUSED):
        return SAME
    return NOTHING if form.empty and oddity.startswith(("empty", "only")) else REFUSED


def result(form, oddity, folder):
    """Return what a cell of the table is."""
    plain, odd = folder / "plain", folder / "odd"
    content = ODDITIES[oddity](form.text, form)
    if content is None:
        return NONE
    plain.write_text(form.text)
    odd.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        records = form.read(odd)
    except InputError as error:
        return REFUSED if str(odd) in str(error) else f"a message without the file: {error}"
    return SAME if records == form.read(plain) != [] else NOTHING if not records else f"other: {records}"


@pytest.fixture(scope="module", autouse=True)
def head():
    print(f"\n{'':15}" + " | ".join(ODDITIES))


@pytest.mark.filterwarnings("ignore:.*not gzip")
@pytest.mark.parametrize("name", FORMATS)
def test_every_oddity_is_read_as_the_plain_file_or_refused(name, tmp_path):
    row = {oddity: result(FORMATS[name], oddity, tmp_path) for oddity in ODDITIES}
    print(f"\n{name:15}" + " | ".join(f"{row[oddity]:{len(oddity)}}" for oddity in ODDITIES), end=" ")
    assert row == {oddity: wanted(FORMATS[name], oddity) for oddity in ODDITIES}
