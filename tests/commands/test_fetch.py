"""Tests for dnalm/commands/fetch.py and dnalm/download.py, against a server on 127.0.0.1."""

import hashlib
import http.server
import re
import shutil
import threading

import pytest

from dnalm import download
from dnalm.commands import fetch
from dnalm.commands.fetch import Options, run
from dnalm.download import read_catalogue
from dnalm.errors import InputError

GENOME = bytes(range(256)) * 1_000
MD5 = hashlib.md5(GENOME).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path, and can be told to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        self.ranges = self.lengths = True
        self.cuts: list[int] = []  # one request each: close after so many bytes of the body
        self.answers: list[int] = []  # one request each: answer with this status and nothing else
        self.redirect = ""
        self.requests: list[tuple[str, str | None]] = []
        self.served = 0  # bytes of bodies


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

    def send_file(self, content, asked):
        server, start = self.server, 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:][: server.cuts.pop(0) if server.cuts else None]
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
def folder(server, tmp_path, monkeypatch):
    """Where set `small` (pinned) goes; beside it are `listed` (MD5 only) and `loose` (nothing known)."""
    sets = {
        "small": f'path = "in/a folder/genome.fa.gz", bytes = {len(GENOME)}, sha256 = "{sha(GENOME)}"',
        "listed": 'path = "in/genome.fa.gz", about_bytes = 250000, md5_list = "in/md5sum.txt"',
        "loose": 'path = "in/weights.bin", about_bytes = 250000',
    }
    common = f'what = "a genome"\nterms = "as you like"\nbase = "{server.url}/"'
    lines = [f'[[sets]]\nname = "{name}"\n{common}\nfiles = [{{ {file} }}]\n' for name, file in sets.items()]
    (tmp_path / "catalogue.toml").write_text("".join(lines))
    monkeypatch.setattr(download, "CATALOGUE", tmp_path / "catalogue.toml")
    for name in ("a%20folder/genome.fa.gz", "genome.fa.gz", "weights.bin"):
        server.files[f"/in/{name}"] = GENOME
    server.files["/in/md5sum.txt"] = f"{'0' * 32}  chrom.sizes\n{MD5}  genome.fa.gz\n".encode()
    return tmp_path / "my downloads" / "small"


def sha(content):
    return hashlib.sha256(content).hexdigest()


def get(folder, *names, **flags):
    run(Options(names=names or (folder.name,), out=folder.parent, **flags))


def names(folder):
    return sorted(path.name for path in folder.glob("*") if path.name != ".lock")


class TestDownload:
    def test_the_file_arrives_once_and_another_is_replaced_only_on_request(self, server, folder, capsys):
        for overwrite in (False, False, True):
            get(folder, overwrite=overwrite)
        assert len(server.requests) == 1
        assert names(folder) == ["genome.fa.gz"]
        out, err = capsys.readouterr()
        assert "as you like" in err
        assert out.count(sha(GENOME)) == 3
        (folder / "genome.fa.gz").write_bytes(b"mine")
        with pytest.raises(InputError, match=rf"--overwrite.*{sha(GENOME)}.*{sha(b'mine')}"):
            get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == b"mine"
        get(folder, overwrite=True)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME

    @pytest.mark.parametrize(
        "content", [GENOME[:-1] + b"!", GENOME[:-1], GENOME + b"!", GENOME * 20], ids=len
    )
    def test_another_digest_or_size_leaves_nothing(self, server, folder, content):
        server.files["/in/a%20folder/genome.fa.gz"], server.lengths = content, len(content) < 1e6
        with pytest.raises(InputError, match=f"expected sha256 {sha(GENOME)}, got sha256"):
            get(folder)
        assert names(folder) == []
        assert len(server.requests) == 1

    def test_a_cut_connection_is_continued_where_it_broke_also_by_the_next_run(self, server, folder):
        server.cuts = [100_000, 50_000]
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
        (folder / "genome.fa.gz").unlink()
        server.cuts = [100_000, 1, 1]
        with pytest.raises(InputError, match=r"broke after 100,002 of 256,000 bytes"):
            get(folder)
        assert names(folder) == ["genome.fa.gz.part"]
        get(folder)
        assert names(folder) == ["genome.fa.gz"]
        assert server.served == 2 * len(GENOME)  # no byte was sent twice
        (folder / "genome.fa.gz").unlink()
        server.ranges, server.cuts = False, [100_000]  # without ranges it sends all again
        get(folder)
        assert (folder / "genome.fa.gz").read_bytes() == GENOME
        assert server.served == 3 * len(GENOME) + 100_000

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

    def test_an_answer_that_may_pass_is_asked_for_again(self, server, folder):
        server.answers = [503, 429]
        get(folder)
        assert names(folder) == ["genome.fa.gz"]

    def test_what_cannot_be_downloaded_leaves_nothing(self, server, folder, tmp_path, monkeypatch):
        with pytest.raises(InputError, match="no connection.*refused") as caught:
            get(folder, mirror="http://127.0.0.1:1/mirror/")
        assert "http://127.0.0.1:1/mirror/in/a%20folder/genome.fa.gz" in str(caught.value)
        assert f"{folder}/genome.fa.gz" in str(caught.value)
        for scheme in ("file", "ftp"):
            server.redirect = f"{scheme}://localhost{tmp_path}/genome.fa.gz"
            with pytest.raises(InputError, match="not allowed|unknown url type: ftp|no connection|ftp error"):
                get(folder)
        server.redirect = ""
        server.files.clear()
        server.requests.clear()
        with pytest.raises(InputError, match="genome.fa.gz: .*404"):
            get(folder)
        free = shutil.disk_usage(folder.parents[1])._replace(free=1_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        with pytest.raises(InputError, match="free some space"):
            get(folder)
        assert len(server.requests) == 1
        assert names(folder) == []


class TestUnpinned:
    def test_without_the_flag_nothing_is_downloaded_and_with_it_the_digest_is_shown(
        self, server, folder, capsys
    ):
        with pytest.raises(InputError, match=r"listed: .* --accept-unpinned.*; loose: .* --accept-unpinned"):
            get(folder, "small", "listed", "loose")
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
            ("genome.fa.gz", b"another", f"expected md5 {MD5}"),
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


def test_the_list_a_dry_run_and_wrong_options_download_nothing(server, folder, capsys):
    run(Options())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == ["name", "small", "listed", "loose"]
    get(folder, "small", "loose", dry_run=True)
    out = capsys.readouterr().out
    assert f"{server.url}/in/a%20folder/genome.fa.gz" in out
    assert f"{folder}/genome.fa.gz" in out
    with pytest.raises(InputError, match=r"smal: .*small\?.*loose: .*'file:///etc'"):
        get(folder, "smal", "loose", mirror="file:///etc")
    assert server.requests == []
    assert not folder.parent.exists()


def test_a_real_set_arrives_from_a_mirror(server, shared_data, tmp_path):
    (file,) = read_catalogue()["yeast"].files
    server.files[f"/mirror/{file.path}"] = (shared_data / "genomes/yeast_R64-1-1.fa.gz").read_bytes()
    run(Options(names=("yeast",), out=tmp_path, mirror=f"{server.url}/mirror"))
    assert sha((tmp_path / "yeast" / file.name).read_bytes()) == file.sha256


WRONG = "mirror.org ftp://a.org http:// http://a.org:x http://[::1 http://a..b http://a.org:0 http://a.org/é"


@pytest.mark.parametrize(
    "mirror", ["", " http://a.org", "http://a.org\n", "http://a.org/b c", *WRONG.split()]
)
def test_a_mirror_must_be_a_web_address_in_ascii(tmp_path, mirror):
    with pytest.raises(InputError, match="--from must be an http:// or https:// address"):
        run(Options(names=("yeast",), out=tmp_path, mirror=mirror))
    assert not list(tmp_path.iterdir())


def test_usual_hosts_are_valid():
    for host in ("a.org", "127.0.0.1:8000", "[::1]:80", "localhost", "user:word@my_host.a-b.org.", "A.ORG"):
        assert fetch._is_web_address(f"https://{host}/genomes")
