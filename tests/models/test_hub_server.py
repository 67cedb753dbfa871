"""Tests for hub models by name, against a server on 127.0.0.1 that answers as the hub does."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch

from dnalm.checkpoint import write_pt
from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.input_encoder import HUB_NAMES, PINNED
from tests.hub_models import CHEMBERTA, save_hub

pytest.importorskip("huggingface_hub")
OPEN = """
import sys
from dnalm.models.input_encoder import open_gene_encoder, open_molecule_encoder
try:
    for name in sys.argv[1:]:
        is_molecule = "chem" in name.lower()
        opened = open_molecule_encoder(name, "", "hub") if is_molecule else open_gene_encoder(name, "", 0)
        print(opened.revision, opened.identity["weights"])
except ValueError as error:
    print("refused:", error)
"""
CONFIG, LARGE = "config.json", (".bin", ".safetensors")


class Hub(http.server.ThreadingHTTPServer):
    """The hub with some models, `files` by name and path; it counts what it sends."""

    def __init__(self, files: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url, self.files = f"http://127.0.0.1:{self.server_address[1]}", files
        self.cdn = self.url.replace("127.0.0.1", "localhost")  # another host, which is not asked with HEAD
        self.cut: set[str] = set()  # digests of files whose next answer breaks off
        self.wrong: set[str] = set()  # digests of files that are sent with a wrong byte
        self.sent: list[tuple[str, str]] = []  # digest and Range of each large file sent


class Handler(http.server.BaseHTTPRequestHandler):
    """Lists a model's files, redirects large ones to another address, and sends them from any byte on."""

    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].removeprefix("/api/models/").strip("/")
        if path.startswith("cdn/"):
            self._send_large(path.removeprefix("cdn/"))
            return
        owner, name, kind, commit, *rest = [*path.split("/"), "", ""]
        rest = [each for each in rest if each]
        files = self.server.files.get(f"{owner}/{name}", {})
        if PINNED.get(f"{owner}/{name}") != commit or (rest and rest[0] not in files):
            missing = {"X-Error-Code": "EntryNotFound" if rest else "RevisionNotFound"}
            self._answer(404, b"", missing)
        elif kind == "tree":
            self._answer(200, json.dumps([entry(*each) for each in files.items()]).encode(), {})
        else:
            content = files[rest[0]]
            digest, commit_of = hashlib.sha256(content).hexdigest(), {"X-Repo-Commit": commit}
            if rest[0].endswith(LARGE):
                linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
                where = {"Location": f"{self.server.cdn}/cdn/{digest}"}
                self._answer(302, b"", commit_of | linked | where)
            else:
                self._answer(200, content, commit_of | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _send_large(self, digest: str) -> None:
        every = [each for files in self.server.files.values() for each in files.values()]
        content = next(each for each in every if hashlib.sha256(each).hexdigest() == digest)
        if digest in self.server.wrong:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = self.headers.get("Range", "")
        self.server.sent.append((digest, wanted))
        first = int(wanted.removeprefix("bytes=").split("-")[0] or 0) if wanted else 0
        part = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if wanted else {}
        if digest in self.server.cut:
            self.server.cut.remove(digest)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self._answer(206 if wanted else 200, content[first:], part)

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def entry(path: str, content: bytes) -> dict[str, object]:
    """A file in the list of a model's files."""
    about = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if path.endswith(LARGE):
        linked = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        about |= {"lfs": linked}
    return about


@pytest.fixture
def hub(dnabert2, chemberta, tmp_path):
    """The hub with small models of random weights under the two names; DNABERT-2 as a .bin."""
    files = {
        HUB_NAMES[short]: {path.name: path.read_bytes() for path in folder.iterdir()}
        for short, folder in (("dnabert2", dnabert2), ("chemberta", chemberta))
    }
    write_pt(tmp_path / "w.bin", safetensors.torch.load_file(dnabert2 / "model.safetensors"))
    del files[HUB_NAMES["dnabert2"]]["model.safetensors"]
    files[HUB_NAMES["dnabert2"]]["pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    files[HUB_NAMES["dnabert2"]]["tf_model.h5"] = b"not read, and not fetched"
    server = Hub(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def opened(hub: Hub, home: Path, *names: str, **environment: str) -> list[str]:
    """Open encoders in a process of its own: huggingface_hub reads the environment when it is imported."""
    values = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    values = {key: value for key, value in values.items() if key not in ("HF_HUB_CACHE", "HF_HUB_OFFLINE")}
    command = [sys.executable, "-c", OPEN, *names]
    done = subprocess.run(command, env=values | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bare_names_fetch_the_pinned_commits_once_and_then_need_no_network(hub, tmp_path):
    first = opened(hub, tmp_path, "dnabert2", "chemberta")
    assert [line.split()[0] for line in first] == [PINNED[name] for name in HUB_NAMES.values()]
    assert len(hub.sent) == 2
    cache = tmp_path / "hub" / "models--zhihan1996--DNABERT-2-117M" / "snapshots" / first[0].split()[0]
    assert {path.name for path in cache.iterdir()} == {CONFIG, "tokenizer.json", "pytorch_model.bin"}
    assert opened(hub, tmp_path, *HUB_NAMES.values(), HF_ENDPOINT="http://127.0.0.1:9") == first
    folder = " " + first[0].split()[1]  # it has no revision
    assert opened(hub, tmp_path, *HUB_NAMES, str(cache), HF_HUB_OFFLINE="1") == [*first, folder]
    assert len(hub.sent) == 2


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub, tmp_path):
    large = CHEMBERTA | {"max_position_embeddings": 250_000}  # a file of more than two of the client's chunks
    save_hub(tmp_path, large, ChemBERTa(ChemBERTaConfig.from_hub(large)))
    files = hub.files[HUB_NAMES["chemberta"]]
    files |= {name: (tmp_path / name).read_bytes() for name in (CONFIG, "model.safetensors")}
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    hub.cut.add(digest)
    (line,) = opened(hub, tmp_path, "chemberta")
    assert line.startswith(PINNED[HUB_NAMES["chemberta"]])
    assert [(each, wanted != "") for each, wanted in hub.sent] == [(digest, False), (digest, True)]


def test_a_wrong_digest_and_no_network_are_one_message_each(hub, tmp_path):
    content = hub.files[HUB_NAMES["dnabert2"]]["pytorch_model.bin"]
    hub.wrong.add(hashlib.sha256(content).hexdigest())
    (line,) = opened(hub, tmp_path, "dnabert2")
    assert "pytorch_model.bin: damaged, its SHA-256 is not the hub's; remove " in line
    hub.wrong.clear()
    Path(line.split("remove ")[1].split(",")[0]).unlink()
    (line,) = opened(hub, tmp_path, "dnabert2", HF_HUB_OFFLINE="1")
    assert "not in the hub's cache, and not to be fetched" in line
    (line,) = opened(hub, tmp_path, "dnabert2")
    assert not line.startswith("refused")
    (line,) = opened(hub, tmp_path / "empty", "chemberta", HF_ENDPOINT="http://127.0.0.1:9")
    assert line.startswith(f"refused: {HUB_NAMES['chemberta']} at ")
    assert "hf download DeepChem/ChemBERTa-77M-MLM --revision" in line
