"""Tests for dnalm/train/run.py: what a training run may replace, its record, and its dry run."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.train.optim import TrainConfig
from dnalm.train.run import RunConfig, TrainingRun


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**31}, {"resume": True, "overwrite": True}])
def test_refuses_wrong_settings(wrong):
    with pytest.raises(InputError):
        RunConfig(**wrong)


def folder_of_a_run(folder, command):
    """A folder of a run, as far as it is read before another is written there."""
    (folder / "last").mkdir(parents=True)
    record = {"format": "dnalm-run", "format_version": 1, "verb": command, "status": "done"}
    write_json(folder / "run.json", record)
    return folder


def run_of(command, folder, how, files=()):
    run = TrainingRun(SimpleNamespace(train=TrainConfig()), Processor("cpu", "fp32"), RunConfig(**how))
    run.command, run.folder, run.files = command, folder, files
    return run


WAYS = [{}, {"overwrite": True}, {"resume": True}]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("existing", "command"),
    [
        ("pretrain", "finetune"),
        ("pretrain", "baseline"),
        ("finetune", "pretrain"),
        ("interact train", "finetune"),
        ("label", "baseline"),
        ("pretrain", "interact train"),
    ],
)
def test_a_run_of_another_kind_is_never_replaced(tmp_path, how, existing, command):
    folder = folder_of_a_run(tmp_path / "vocab4", existing)
    with pytest.raises(InputError, match=f"a run of dnalm {existing}, .* choose another `x`$"):
        run_of(command, folder, how).check_folder(option="`x`")


@pytest.mark.parametrize(
    ("existing", "command"),
    [("finetune", "baseline"), ("baseline", "finetune"), ("pretrain", "pretrain"), (None, "pretrain")],
)
def test_a_run_of_the_same_kind_is_replaced_only_where_that_is_wanted(tmp_path, existing, command):
    folder = folder_of_a_run(tmp_path / "a", existing)
    if existing is None:  # cut short
        (folder / "run.json").write_text("{")
    for how in WAYS[1:]:
        run_of(command, folder, how).check_folder()
    with pytest.raises(InputError):
        run_of(command, folder, {}).check_folder()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("read", ["m/a", "m/a/checkpoint", "m/../m/a", "m/a.pt", "link"])
def test_the_model_that_a_run_begins_from_is_not_overwritten(tmp_path, monkeypatch, how, read):
    monkeypatch.chdir(tmp_path)
    folder = folder_of_a_run(Path("m/a"), "finetune")
    Path("link").symlink_to(folder)
    with pytest.raises(InputError, match=f"^{read}: this run would begin from it and overwrite it"):
        run_of("finetune", folder, how, [Path("m/a.pt")]).check_folder(reads=Path(read))
    for other in ("m/b", "m"):
        run_of("finetune", folder, {"overwrite": True}).check_folder(reads=Path(other))
