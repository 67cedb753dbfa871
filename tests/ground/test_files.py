"""Tests for dnalm/files.py."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from dnalm import files
from dnalm.errors import InputError


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_or_a_folder_is_complete_or_as_it_was(tmp_path):
    path = tmp_path / "a b.txt"
    files.write_text(path, "one")
    with pytest.raises(KeyboardInterrupt), files.atomic_file(path) as file:  # noqa: PT012
        file.write(b"half of tw")
        raise KeyboardInterrupt
    assert path.read_text() == "one"
    path = tmp_path / "model"
    for content in ("one", "two"):
        with files.atomic_folder(path) as fresh:
            (fresh / "x").write_text(content)
            assert not (path / "x").exists() or (path / "x").read_text() == "one"
    with pytest.raises(OSError, match="full"), files.atomic_folder(path) as fresh:  # noqa: PT012
        (fresh / "x").write_text("thr")
        raise OSError("full")
    assert (path / "x").read_text() == "two"
    assert leftovers(tmp_path) == ["a b.txt", "model"]


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "x", "")
        with files.atomic_folder(tmp_path / "f"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o750


def test_json_comes_back_and_has_no_nan_and_broken_json_is_named(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": [1, float("nan"), float("inf")], "é": (2.5,)})
    assert files.read_json(tmp_path / "x.json") == {"a": [1, None, None], "é": [2.5]}
    json.loads((tmp_path / "x.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"x\.json: expected JSON"):
        files.read_json(tmp_path / "x.json")


def test_a_lock_is_for_one_and_dies_with_its_owner(tmp_path):
    code = f"""
        import sys, time
        from pathlib import Path
        from dnalm.files import lock
        with lock(Path({str(tmp_path)!r})):
            print("held", flush=True)
            time.sleep(60)
    """
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {owner.pid}.*is writing here"), files.lock(tmp_path):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        for _ in range(2):  # it ends with its block, too
            with files.lock(tmp_path):
                pass
    finally:
        owner.kill()


def test_a_lock_leaves_no_trace_where_nothing_was_written(tmp_path):
    def refuse(folder, name=""):
        with contextlib.suppress(InputError), files.lock(folder):
            if name:
                (folder / name).touch()
            raise InputError("no")

    (tmp_path / "there").mkdir()
    refuse(tmp_path / "a" / "new" / "one")
    refuse(tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    refuse(tmp_path / "there" / "one", "run.json")
    assert sorted(os.listdir(tmp_path / "there" / "one")) == [".lock", "run.json"]


def test_bytes_of_a_path_that_are_no_text_are_written(tmp_path):
    path = os.fsdecode(b"caf\xe9")
    files.write_json(tmp_path / "a.json", path)
    assert files.read_json(tmp_path / "a.json") == path


def test_space_is_asked_for_before_writing(tmp_path):
    files.need_space(tmp_path / "not" / "there", 1)
    with pytest.raises(InputError, match="about 1,000,000,000,000,000 MB are needed"):
        files.need_space(tmp_path, 10**21)


def test_a_folder_set_aside_by_a_killed_process_comes_back(tmp_path):
    path = tmp_path / "last"
    with files.atomic_folder(path) as fresh:
        (fresh / "x").write_text("kept")
    code = f"""
        import os
        from pathlib import Path
        from dnalm import files
        rename = os.replace
        def killed(source, target):
            if str(target) == {str(path)!r}:
                os._exit(9)
            rename(source, target)
        os.replace = killed
        with files.atomic_folder(Path({str(path)!r})) as fresh:
            (fresh / "x").write_text("new")
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == 9
    assert not path.exists()
    files.recover(path)
    assert (path / "x").read_text() == "kept"
    assert leftovers(tmp_path) == ["last"]
    files.recover(path)
    assert leftovers(tmp_path) == ["last"]
