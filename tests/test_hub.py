"""Tests for dnalm/hub.py: names, pins, the cache without a network; weights, good and bad."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from dnalm.checkpoint import write_pt
from dnalm.formats import hub
from dnalm.formats.hub import hub_folder, read_config, read_tensors

NAME, COMMIT = "someone/model", "0123456789abcdef" * 2 + "01234567"
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.ones(4)}


def ask(home, *arguments):
    """Call hub_folder in a process of its own, since huggingface_hub reads the environment on import."""
    script = (
        "import sys; from dnalm.hub import hub_folder\n"
        "try: print(hub_folder(sys.argv[1], sys.argv[2], ['config.json']))\n"
        "except ValueError as error: print('refused:', error)"
    )
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_what_is_here_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "someone" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    assert hub_folder(NAME, None, []).resolve() == folder
    assert hub_folder(str(folder / "model.safetensors"), None, []) == folder


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "a/b/c", "/no/where", "some one/model", ""])
def test_what_is_neither_here_nor_a_hub_name_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a folder, or a hub name such as OWNER/NAME"):
        hub_folder(name, COMMIT, [])


def test_a_hub_name_needs_a_pinned_commit(monkeypatch):
    with pytest.raises(ValueError, match=r"only at a pinned commit.* give its revision .*, the 40 digits"):
        hub_folder(NAME, None, [])
    for revision in ("main", COMMIT[:39], COMMIT.upper()):
        with pytest.raises(ValueError, match="a revision must be a commit of 40 hexadecimal digits"):
            hub_folder(NAME, revision, [])
    asked = []
    monkeypatch.setattr(hub, "_fetch", lambda *arguments: asked.append(arguments))
    monkeypatch.setitem(hub.PINNED, NAME, COMMIT)
    hub_folder(NAME, None, ["a"])
    hub_folder(NAME, "f" * 40, ["b"])
    assert asked == [(NAME, COMMIT, ["a"]), (NAME, "f" * 40, ["b"])]


def test_every_known_pin_is_a_commit():
    assert {"zhihan1996/DNABERT-2-117M", "DeepChem/ChemBERTa-77M-MLM"} <= hub.PINNED.keys()
    assert all(pin is None or len(bytes.fromhex(pin)) == 20 for pin in hub.PINNED.values())


def test_offline_it_reads_the_cache_in_hf_home_or_says_how_to_fetch(tmp_path):
    pytest.importorskip("huggingface_hub")
    snapshot = tmp_path / "hub" / "models--someone--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert ask(tmp_path, NAME, COMMIT) == str(snapshot)
    said = ask(tmp_path, NAME, "f" * 40)
    assert said.startswith(f"refused: {NAME} at {'f' * 40}: not in the hub's cache")
    assert f"`hf download {NAME} --revision {'f' * 40}`" in said
    assert "give it in place of the name" in said
    assert len(said.splitlines()) == 1


def test_fetches_what_is_wanted_at_the_commit_and_any_failure_is_one_message(monkeypatch, tmp_path):
    library = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options))
        if len(asked) > 1:
            raise ConnectionError("no route\nto host")
        return str(tmp_path)

    monkeypatch.setattr(library, "snapshot_download", snapshot_download)
    assert hub_folder(NAME, COMMIT, ("config.json", "*.bin")) == tmp_path
    assert asked == [(NAME, {"revision": COMMIT, "allow_patterns": ["config.json", "*.bin"]})]
    with pytest.raises(
        ValueError, match=r"not to be had \(no route\); .*`hf download someone/model --revision"
    ):
        hub_folder(NAME, COMMIT, [])


def test_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r'pip install "dnalm\[interaction\]"'):
        hub_folder(NAME, COMMIT, [])


def test_reads_both_kinds_from_folder_or_file_and_safetensors_come_first(tmp_path):
    write_pt(tmp_path / "pytorch_model.bin", TENSORS)
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        torch.testing.assert_close(read_tensors(path), TENSORS)
    save_file({"other": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert read_tensors(tmp_path).keys() == {"other"}
    assert read_tensors(tmp_path / "model.safetensors").keys() == {"other"}


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("name", hub.WEIGHTS)
def test_a_file_cut_short_is_refused(tmp_path, name):
    file = tmp_path / name
    if file.suffix == ".bin":
        write_pt(file, TENSORS)
    else:
        save_file(TENSORS, file)
    cut(file)
    with pytest.raises(ValueError, match=rf"{name}: .*cut short.*fetch it again"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("name", hub.WEIGHTS)
def test_a_git_lfs_pointer_is_told(tmp_path, name):
    (tmp_path / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 468354983\n"
    )
    with pytest.raises(ValueError, match=rf"{name}: expected weights, got the git-lfs pointer.*git lfs pull"):
        read_tensors(tmp_path)


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"model\.safetensors or pytorch_model\.bin, but it holds neither"):
        read_tensors(tmp_path)
    with pytest.raises(ValueError, match="but it is not there"):
        read_tensors(tmp_path / "nowhere")
    (tmp_path / "weights.txt").write_text("")
    with pytest.raises(ValueError, match=r"expected a weights file that ends in \.bin or \.safetensors"):
        read_tensors(tmp_path / "weights.txt")


def test_only_tensors_are_taken_and_nothing_is_run(tmp_path):
    write_pt(tmp_path / "pytorch_model.bin", TENSORS | {"epoch": 3})
    with pytest.raises(ValueError, match="expected tensors alone, but 'epoch' is a int"):
        read_tensors(tmp_path)

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(), protocol=2))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: refused, .* would run .*mkdir"):
        read_tensors(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_reads_a_config_and_names_what_is_wrong_with_one(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: missing"):
        read_config(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps({"hidden_size": 3}))
    assert read_config(tmp_path, "other.json") == {"hidden_size": 3}
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json: expected settings by name, got a list"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden')
    with pytest.raises(ValueError, match=r"config\.json: expected JSON"):
        read_config(tmp_path)
