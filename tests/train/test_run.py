"""Tests for dnalm/train/run.py: what a training run may replace, its record, and its dry run."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dnalm.device import Processor
from dnalm.errors import InputError
from dnalm.files import write_json
from dnalm.train.run import DRY_RUN_STEPS, RunConfig, TrainingRun, recorded_run, seconds_per_step


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**31}, {"resume": True, "overwrite": True}])
def test_refuses_wrong_settings(wrong):
    with pytest.raises(InputError):
        RunConfig(**wrong)


@pytest.mark.parametrize(("accumulate", "rank", "own"), [(1, 0, [0]), (1, 1, [1]), (3, 1, [3, 4, 5])])
def test_a_dry_run_computes_the_micro_batches_of_its_process(accumulate, rank, own):
    batches, losses = [], []

    def batch(step, number, pieces):
        batches.append((step, number, pieces))
        return number

    def loss(_model, batch):
        losses.append(batch)
        return torch.tensor(1.0, requires_grad=True)

    fabric = SimpleNamespace(
        global_rank=rank, world_size=2, to_device=lambda x: x, backward=lambda loss: loss.backward()
    )
    task, source = SimpleNamespace(loss=loss), SimpleNamespace(batch=batch)
    assert seconds_per_step(task, torch.nn.Identity(), source, fabric, accumulate) > 0
    assert batches == [(step, number, 2 * accumulate) for step in range(1 + DRY_RUN_STEPS) for number in own]
    assert losses == own * (1 + DRY_RUN_STEPS)


@pytest.mark.parametrize(
    ("saved", "named"), [(7, "its state is saved"), (5, "the state of step 5 is saved"), (None, "no state")]
)
def test_a_stopped_run_reports_where_it_can_be_resumed(saved, named):
    messages = []
    record = SimpleNamespace(ending=lambda _metrics: contextlib.nullcontext())
    loop = SimpleNamespace(step=7, saved=saved)
    with pytest.raises(KeyboardInterrupt), recorded_run(record, loop, dict, messages.append):
        raise KeyboardInterrupt
    assert len(messages) == 1
    assert f"stopped at step 7; {named}" in messages[0]


def folder_of_a_run(folder, command):
    """A folder of a run, as far as it is read before another is written there."""
    (folder / "last").mkdir(parents=True)
    record = {"format": "dnalm-run", "format_version": 1, "verb": command, "status": "done"}
    write_json(folder / "run.json", record)
    return folder


def run_of(command, folder, how, files=()):
    return TrainingRun(
        command=command,
        folder=folder,
        files=files,
        processor=Processor("cpu", "fp32"),
        config=RunConfig(**how),
    )


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
        run_of("finetune", folder, how, [Path("m/a.pt")]).check_folder(reads=[Path(read)])
    run_of("finetune", folder, {"overwrite": True}).check_folder(reads=[Path("m/b"), Path("m")])
