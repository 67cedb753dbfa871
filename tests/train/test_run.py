"""Tests for dnalm/train/run.py: what a training run may replace, and its record."""

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


class Run(TrainingRun):
    """A run of no model, as far as its folder is concerned."""

    def prepare(self):
        self.model = None

    def evaluate(self, loop):
        return {}


def check(command, folder, how, reads=None, files=()):
    run = Run(SimpleNamespace(train=TrainConfig()), Processor("cpu", "fp32"), RunConfig(**how))
    run.command, run.folder, run.files = command, folder, files
    run.check_folder(option="`x`", reads=reads)


WAYS = [{}, {"overwrite": True}, {"resume": True}]


@pytest.mark.parametrize(
    ("existing", "command", "replaces"),
    [
        ("pretrain", "finetune", False),
        ("pretrain", "baseline", False),
        ("finetune", "pretrain", False),
        ("interact train", "finetune", False),
        ("label", "baseline", False),
        ("pretrain", "interact train", False),
        ("finetune", "baseline", True),
        ("baseline", "finetune", True),
        ("pretrain", "pretrain", True),
        (None, "pretrain", True),
    ],
)
def test_a_run_of_the_same_kind_alone_is_replaced_and_where_that_is_wanted(
    tmp_path, existing, command, replaces
):
    folder = folder_of_a_run(tmp_path / "vocab4", existing)
    if existing is None:  # cut short
        (folder / "run.json").write_text("{")
    for how in WAYS:
        if replaces and how:
            check(command, folder, how)
        else:
            message = "." if replaces else f"a run of dnalm {existing}, .* choose another `x`$"
            with pytest.raises(InputError, match=message):
                check(command, folder, how)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("read", ["m/a", "m/a/checkpoint", "m/../m/a", "m/a.pt", "link"])
def test_the_model_that_a_run_begins_from_is_not_overwritten(tmp_path, monkeypatch, how, read):
    monkeypatch.chdir(tmp_path)
    folder = folder_of_a_run(Path("m/a"), "finetune")
    Path("link").symlink_to(folder)
    with pytest.raises(InputError, match=f"^{read}: this run would begin from it and overwrite it"):
        check("finetune", folder, how, Path(read), [Path("m/a.pt")])
    for other in ("m/b", "m"):
        check("finetune", folder, {"overwrite": True}, Path(other))
