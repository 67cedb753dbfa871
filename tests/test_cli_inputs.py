"""Tests for dnalm/cli.py: inputs that are pipes, and warnings about inputs."""

import gzip
import os
import re
import subprocess
import sys
import threading

from dnalm.cli import main
from dnalm.record import read_record


def test_pipes_are_read_like_files(tmp_path):
    contents = {"g.fa": b">chr1\nACGTACGTAC\n", "my.bed": b"chr1\t3\t8\n"}
    records = []
    for folder in (tmp_path / "files", tmp_path / "pipes"):
        folder.mkdir()
        for name, content in contents.items():
            if folder.name == "pipes":
                os.mkfifo(folder / name)
                threading.Thread(target=(folder / name).write_bytes, args=[content]).start()
            else:
                (folder / name).write_bytes(content)
        genome, peaks, out = (str(folder / name) for name in (*contents, "out"))
        assert main(["label", genome, "--peaks", peaks, "--window", "10", "--out", out]) == 0
        records.append(read_record(folder / "out" / "run.json"))
    assert records[0]["data"] == records[1]["data"]
    assert records[0]["metrics"]["sites"] == records[1]["metrics"]["sites"]


def test_a_warning_is_one_line(tmp_path):
    (tmp_path / "g.fa.gz").write_bytes(gzip.compress(b">chr1\nACGT\n") + b"more")
    command = [sys.executable, "-m", "dnalm", "info", str(tmp_path / "g.fa.gz")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"warning: .*g\.fa\.gz: 4 bytes .*\n", ended.stderr)
