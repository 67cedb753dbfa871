"""Tests for what `--from` of dnalm/commands/fetch.py takes; that it is used is in test_fetch.py."""

import re

import pytest

from dnalm.commands import fetch
from dnalm.commands.fetch import Options, run

WRONG = """
mirror.org ftp://a.org http:// http://a.org:x http://[::1 http://a..b http://-a.org http://a%20b.org
http://[1::2::3] http://a.org-/x
"""


@pytest.mark.parametrize("mirror", ["", f"http://{'a' * 64}.org", *WRONG.split()])
def test_a_mirror_must_be_a_web_address(tmp_path, mirror):
    with pytest.raises(ValueError, match="--from must be an http:// or https:// address"):
        run(Options(names=("yeast",), out=tmp_path, mirror=mirror))


@pytest.mark.parametrize(
    "mirror", ["http://a.org/my genomes", "http://a.org/é", "http://é.org", " http://a.org", "http://a.org\n"]
)
def test_a_mirror_is_ascii_without_spaces(tmp_path, mirror):
    with pytest.raises(ValueError, match="--from must be written in ASCII without spaces") as caught:
        run(Options(names=("yeast",), out=tmp_path, mirror=mirror))
    assert not re.search(r"as in [^,]*(my genomes|é)", str(caught.value))
    assert not list(tmp_path.iterdir())


def test_usual_hosts_are_valid():
    for host in ("a.org", "127.0.0.1:8000", "[::1]:80", "localhost", "user:word@my_host.a-b.org.", "A.ORG"):
        assert fetch._is_web_address(f"https://{host}/genomes")
