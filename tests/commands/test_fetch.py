"""Tests for dnalm/commands/fetch.py and dnalm/download.py, against a server on 127.0.0.1."""

import errno
import gzip
import hashlib
import http.server
import os
import re
import shutil
import threading
import time

import pytest

from dnalm import download
from dnalm.commands import fetch
from dnalm.commands.fetch import Options, run
from dnalm.download import read_catalogue
from dnalm.errors import InputError

GENOME = bytes(range(256)) * 1_000


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path, and can be told to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.lengths = True
        self.cuts: list[int] = []  # one request each: close after so many bytes of the body
        self.answers: list[int] = []  # one request each: answer with this status and nothing else
        self.redirect = ""
        self.requests: list[tuple[str, str | None]] = []
        self.served = 0  # bytes of bodies

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.path, asked))
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
        elif server.answers:
            self.send_error(server.answers.pop(0))
        elif self.path not in server.files:
            self.send_error(404)
        else:
            self.send_file(server.files[self.path], asked)

    def send_file(self, whole, asked):
        server, body = self.server, whole
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(whole):
                self.send_error(416)
                return
            body = whole[start:]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        else:
            self.send_response(200)
        if server.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: server.cuts.pop(0)] if server.cuts else body
        server.served += len(body)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "DELAYS", (0.0, 0.0))
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    """Where set `small` goes; the path holds a space."""
    return tmp_path / "my downloads" / "small"


@pytest.fixture
def small(server, tmp_path, monkeypatch):
    """A catalogue of its own: `small` (pinned), `listed` (MD5 only) and `loose` (nothing known)."""
    path = tmp_path / "catalogue.toml"
    path.write_text(f'''
[[sets]]
name = "small"
what = "a small genome"
terms = "as you like"
base = "{server.url}/"
files = [{{ path = "in/a folder/genome.fa.gz", bytes = {len(GENOME)}, sha256 = "{sha(GENOME)}" }}]

[[sets]]
name = "listed"
what = "a genome with a list of sums"
terms = "as you like"
base = "{server.url}/"
files = [{{ path = "in/genome.fa.gz", about_bytes = 250000, md5_list = "in/md5sum.txt" }}]

[[sets]]
name = "loose"
what = "weights"
terms = "as you like"
base = "{server.url}/"
files = [{{ path = "in/weights.bin", about_bytes = 250000 }}]
''')
    monkeypatch.setattr(download, "CATALOGUE", path)
    server.files["/in/a%20folder/genome.fa.gz"] = GENOME
    server.files["/in/genome.fa.gz"] = server.files["/in/weights.bin"] = GENOME
    server.files["/in/md5sum.txt"] = b"%s  chrom.sizes\n%s  genome.fa.gz\n" % (
        b"0" * 32,
        hashlib.md5(GENOME).hexdigest().encode(),
    )


def sha(content):
    return hashlib.sha256(content).hexdigest()


def get(folder, *names, **flags):
    run(Options(names=names or (folder.name,), out=folder.parent, **flags))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@pytest.mark.usefixtures("small")
class TestDownload:
    def test_the_file_arrives_and_its_terms_are_shown_first(self, server, folder, capsys):
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert names(folder) == ["genome.fa.gz"]
        out, err = capsys.readouterr()
        assert "as you like" in err
        assert sha(GENOME) in out

    def test_what_is_there_is_not_downloaded_again_and_another_file_replaced_only_on_request(
        self, server, folder
    ):
        for overwrite in (False, False, True):
            get(folder, overwrite=overwrite)
        assert len(server.requests) == 1
        (folder / "genome.fa.gz").write_bytes(b"mine")
        with pytest.raises(InputError, match=rf"(?s)--overwrite.*{sha(GENOME)}.*{sha(b'mine')}"):
            get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == b"mine"
        get(folder, overwrite=True)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME

    @pytest.mark.parametrize(
        ("content", "lengths", "got"),
        [
            (GENOME[:-1] + b"!", True, "sha256"),
            (GENOME[:-1], True, "255,999 bytes"),
            (GENOME + b"!", True, "256,001 bytes"),
            (GENOME * 20, False, "bytes"),  # without end
        ],
    )
    def test_another_digest_or_size_leaves_nothing(self, server, folder, content, lengths, got):
        server.files["/in/a%20folder/genome.fa.gz"], server.lengths = content, lengths
        got = f"sha256 {sha(content)}" if got == "sha256" else got
        with pytest.raises(InputError, match=rf"(?s)expected (sha256 {sha(GENOME)}|256,000 bytes).*{got}"):
            get(folder)
        assert names(folder) == []
        assert len(server.requests) == 1

    def test_a_cut_connection_is_gone_on_with_where_it_broke(self, server, folder):
        server.cuts = [100_000, 50_000]
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert server.served == len(GENOME)  # no byte was sent twice
        assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=150000-"]

    def test_the_next_run_goes_on_where_a_given_up_one_stopped(self, server, folder):
        server.cuts = [100_000, 1, 1]
        with pytest.raises(InputError, match=r"broke after 100,002 of 256,000 bytes; tries: 3"):
            get(folder)
        assert names(folder) == ["genome.fa.gz.part"]
        get(folder)
        assert server.served == len(GENOME)
        assert names(folder) == ["genome.fa.gz"]

    def test_a_server_that_ignores_range_sends_it_all_again(self, server, folder):
        server.ranges, server.cuts = False, [100_000]
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert server.served == 100_000 + len(GENOME)

    @pytest.mark.parametrize(
        "piece", [b"!" * 1_000, b"!" * len(GENOME), b"!" * (len(GENOME) + 5), GENOME], ids=len
    )
    def test_a_piece_of_another_file_is_given_up_and_a_complete_one_needs_no_network(
        self, server, folder, piece
    ):
        folder.mkdir(parents=True)
        (folder / "genome.fa.gz.part").write_bytes(piece)
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert names(folder) == ["genome.fa.gz"]
        assert bool(server.requests) == (piece != GENOME)

    def test_an_answer_that_may_pass_is_asked_for_again_and_a_missing_file_is_not(self, server, folder):
        server.answers = [503, 429]
        get(folder)
        assert names(folder) == ["genome.fa.gz"]
        (folder / "genome.fa.gz").unlink()
        server.files.clear()
        server.requests.clear()
        with pytest.raises(InputError, match="genome.fa.gz: .*404"):
            get(folder)
        assert len(server.requests) == 1
        assert names(folder) == []

    @pytest.mark.parametrize("scheme", ["file", "ftp"])
    def test_a_redirect_leads_to_http_only(self, server, folder, tmp_path, scheme):
        (tmp_path / "genome.fa.gz").write_bytes(GENOME)
        server.redirect = f"{scheme}://localhost{tmp_path}/genome.fa.gz"
        with pytest.raises(InputError, match="not allowed|unknown url type: ftp|no connection|ftp error"):
            get(folder)
        assert names(folder) == []

    def test_without_a_network_it_gives_up_at_once(self, folder, monkeypatch):
        monkeypatch.setattr(download, "DELAYS", (5.0,))
        started = time.monotonic()
        with pytest.raises(InputError, match="127.0.0.1:1: .*refused") as caught:
            get(folder, mirror="http://127.0.0.1:1/mirror/")
        assert "http://127.0.0.1:1/mirror/in/a%20folder/genome.fa.gz" in str(caught.value)
        assert f"{folder}/genome.fa.gz" in str(caught.value)
        assert time.monotonic() - started < 1

    @pytest.mark.parametrize("when", ["before", "while"])
    def test_a_full_disk_leaves_nothing(self, server, folder, monkeypatch, when):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        if when == "before":
            free = shutil.disk_usage(folder.parents[1])._replace(free=1_000)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        else:
            monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="free some space|the disk is full"):
            get(folder)
        assert names(folder) == []


@pytest.mark.usefixtures("small")
class TestUnpinned:
    def test_without_the_flag_nothing_is_downloaded_and_with_it_the_digest_is_shown(
        self, server, folder, capsys
    ):
        for name in ("listed", "loose"):
            with pytest.raises(InputError, match=rf"{name}: .* --accept-unpinned"):
                get(folder, "small", name)
        assert server.requests == []  # nor is the pinned one begun
        part = folder.parent / "loose" / "weights.bin.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"old")  # two pieces that may not belong together are not joined
        get(folder, "loose", accept_unpinned=True)
        assert part.with_suffix("").read_bytes() == GENOME
        assert f"sha256 {sha(GENOME)}" in capsys.readouterr().out
        assert server.requests == [("/in/weights.bin", None)]

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("genome.fa.gz", b"another", f"expected md5 {hashlib.md5(GENOME).hexdigest()}"),
            ("md5sum.txt", b"not a list", r"md5sum.txt: .*genome.fa.gz"),
        ],
    )
    def test_a_list_of_md5_is_checked(self, server, folder, file, content, message):
        part = folder.parent / "listed" / "genome.fa.gz.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(GENOME + b"!")  # longer than the file: the server answers 416, it has no such part
        get(folder, "listed", accept_unpinned=True)
        assert names(part.parent) == ["genome.fa.gz"]
        assert part.with_suffix("").read_bytes() == GENOME
        part.with_suffix("").unlink()
        server.files[f"/in/{file}"] = content
        with pytest.raises(InputError, match=message):
            get(folder, "listed", accept_unpinned=True)
        assert names(part.parent) == []


@pytest.mark.usefixtures("small")
class TestOptions:
    def test_without_a_name_the_sets_are_listed(self, capsys):
        run(Options())
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines[:4]] == ["name", "small", "listed", "loose"]

    def test_dry_run_downloads_nothing(self, server, folder, capsys):
        get(folder, "small", "loose", dry_run=True)
        out = capsys.readouterr().out
        assert f"{server.url}/in/a%20folder/genome.fa.gz" in out
        assert f"{folder}/genome.fa.gz" in out
        assert server.requests == []
        assert not folder.parent.exists()

    def test_all_problems_are_reported_at_once(self, folder):
        with pytest.raises(InputError, match=r"(?s)smal: .*small\?.*loose: ") as caught:
            get(folder, "smal", "loose", mirror="file:///etc")
        assert "'file:///etc'" in str(caught.value)
        assert not folder.parent.exists()


def test_a_real_set_arrives_from_a_mirror(server, shared_data, tmp_path):
    local = {
        "Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz": "genomes/yeast_R64-1-1.fa.gz",
        "chr22_sequences.txt.gz": "binding/chr22_sequences.txt.gz",
        "chr22_scores.txt.gz": "binding/chr22_scores.txt.gz",
    }
    sets = read_catalogue()
    wanted = ("yeast", "binding-chr22", "gue/tf/0")
    for name in wanted:
        for file in sets[name].files:
            if name.startswith("gue/"):  # kept compressed; the catalogue names the CSV
                content = gzip.decompress((shared_data / name / f"{file.name}.gz").read_bytes())
            else:
                content = (shared_data / local[file.name]).read_bytes()
            server.files[f"/mirror/{file.path}"] = content
    run(Options(names=wanted, out=tmp_path, mirror=f"{server.url}/mirror"))
    for name in wanted:
        for file in sets[name].files:
            assert sha((tmp_path / name / file.name).read_bytes()) == file.sha256


WRONG = """
mirror.org ftp://a.org http:// http://a.org:x http://[::1 http://a..b http://-a.org http://a%20b.org
http://[1::2::3] http://a.org-/x http://a.org/é
"""


@pytest.mark.parametrize(
    "mirror", ["", " http://a.org", "http://a.org\n", "http://a.org/my genomes", *WRONG.split()]
)
def test_a_mirror_must_be_a_web_address_in_ascii(tmp_path, mirror):
    with pytest.raises(InputError, match="--from must be an http:// or https:// address"):
        run(Options(names=("yeast",), out=tmp_path, mirror=mirror))
    assert not list(tmp_path.iterdir())


def test_usual_hosts_are_valid():
    for host in ("a.org", "127.0.0.1:8000", "[::1]:80", "localhost", "user:word@my_host.a-b.org.", "A.ORG"):
        assert fetch._is_web_address(f"https://{host}/genomes")
