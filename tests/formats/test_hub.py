"""Tests for dnalm/formats/hub.py: names, pins, the cache without a network; weights, good and bad."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from dnalm.checkpoint import write_pt
from dnalm.errors import InputError
from dnalm.formats import hub
from dnalm.formats.hub import hub_folder, read_config, read_tensors

NAME, COMMIT = "someone/model", "0123456789abcdef" * 2 + "01234567"
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.ones(4)}


def ask(home, *arguments):
    """Call hub_folder in a process of its own, since huggingface_hub reads the environment on import."""
    script = (
        "import sys; from dnalm.formats.hub import hub_folder\n"
        "try: print(hub_folder(sys.argv[1], sys.argv[2], ['config.json']))\n"
        "except ValueError as error: print('refused:', error)"
    )
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_local_files_come_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "someone" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    assert hub_folder(NAME, None, []).resolve() == folder
    assert hub_folder(str(folder / "model.safetensors"), None, []) == folder


def test_of_a_cache_folder_it_is_the_one_snapshot(tmp_path):
    cache = tmp_path / "models--someone--model"
    for number, commit in enumerate((COMMIT, "f" * 40)):
        (cache / "snapshots" / commit).mkdir(parents=True)
        if not number:
            assert hub_folder(str(cache), None, []) == cache / "snapshots" / COMMIT
    with pytest.raises(InputError, match=COMMIT):
        hub_folder(str(cache), None, [])


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "a/b/c", "/no/where", "some one/model", ""])
def test_what_is_neither_local_nor_a_hub_name_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="or a hub name such as OWNER/NAME"):
        hub_folder(name, COMMIT, [])


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:39], COMMIT.upper()])
def test_a_hub_name_needs_a_commit(revision):
    with pytest.raises(InputError, match="commits/main"):
        hub_folder(NAME, revision, [])


def test_offline_it_reads_the_cache_in_hf_home_or_names_the_command_to_fetch(tmp_path):
    pytest.importorskip("huggingface_hub")
    snapshot = tmp_path / "hub" / "models--someone--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert ask(tmp_path, NAME, COMMIT) == str(snapshot)
    message = ask(tmp_path, NAME, "f" * 40)
    assert message.startswith(f"refused: {NAME} at {'f' * 40}: ")
    assert f"hf download {NAME} --revision {'f' * 40}" in message
    assert len(message.splitlines()) == 1


def test_fetches_the_files_at_the_commit_and_any_failure_is_one_message(monkeypatch, tmp_path):
    library = pytest.importorskip("huggingface_hub")
    calls = []

    def snapshot_download(name, **options):
        calls.append((name, options))
        if len(calls) > 1:
            raise ConnectionError("no route\nto host")
        return str(tmp_path)

    monkeypatch.setattr(library, "snapshot_download", snapshot_download)
    assert hub_folder(NAME, COMMIT, ("config.json", "*.bin")) == tmp_path
    assert calls == [(NAME, {"revision": COMMIT, "allow_patterns": ["config.json", "*.bin"]})]
    with pytest.raises(InputError, match=r"\(no route\); .*hf download someone/model --revision"):
        hub_folder(NAME, COMMIT, [])
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r'pip install "dnalm\[interaction\]"'):
        hub_folder(NAME, COMMIT, [])


def test_reads_both_kinds_from_folder_or_file_and_safetensors_come_first(tmp_path):
    write_pt(tmp_path / "pytorch_model.bin", TENSORS)
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        torch.testing.assert_close(read_tensors(path), TENSORS)
    save_file({"other": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert read_tensors(tmp_path).keys() == {"other"}
    assert read_tensors(tmp_path / "model.safetensors").keys() == {"other"}


@pytest.mark.parametrize("name", hub.WEIGHTS)
def test_a_file_cut_short_and_a_git_lfs_pointer_are_refused(tmp_path, name):
    file = tmp_path / name
    if file.suffix == ".bin":
        write_pt(file, TENSORS)
    else:
        save_file(TENSORS, file)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 468354983\n"
    for content, message in ((file.read_bytes()[:-40], "(cut short|damaged)"), (pointer, "git lfs pull")):
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: .*{message}"):
            read_tensors(tmp_path)


def test_only_tensors_are_taken_and_nothing_is_run(tmp_path):
    write_pt(tmp_path / "pytorch_model.bin", TENSORS | {"epoch": 3})
    with pytest.raises(InputError, match="'epoch' is a int"):
        read_tensors(tmp_path)

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(), protocol=2))
    with pytest.raises(InputError, match=r"pytorch_model\.bin: refused, .* would run .*mkdir"):
        read_tensors(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_reads_a_config_and_names_what_is_wrong_with_one(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: missing"):
        read_config(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps({"hidden_size": 3}))
    assert read_config(tmp_path, "other.json") == {"hidden_size": 3}
    for content in ("[1]", '{"hidden'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"config\.json: expected"):
            read_config(tmp_path)
