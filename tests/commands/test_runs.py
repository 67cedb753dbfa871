"""Tests for dnalm/commands/runs.py: what the verbs that train share."""

import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dnalm.commands.runs import TRIED, RunOptions, seconds_of_a_step
from dnalm.files import write_json


@pytest.mark.parametrize(("accumulate", "rank", "own"), [(1, 0, [0]), (1, 1, [1]), (3, 1, [3, 4, 5])])
def test_a_dry_run_goes_through_the_micro_batches_of_its_process(accumulate, rank, own):
    asked, taken = [], []

    def batch(step, share, pieces):
        asked.append((step, share, pieces))
        return share

    def loss(_model, batch):
        taken.append(batch)
        return torch.tensor(1.0, requires_grad=True)

    fabric = SimpleNamespace(
        global_rank=rank, world_size=2, to_device=lambda x: x, backward=lambda loss: loss.backward()
    )
    task, batches = SimpleNamespace(loss=loss), SimpleNamespace(batch=batch)
    assert seconds_of_a_step(task, torch.nn.Identity(), batches, fabric, accumulate) > 0
    assert asked == [(step, share, 2 * accumulate) for step in range(TRIED) for share in own]
    assert taken == own * TRIED


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (7, "stopped at step 7; its state is saved, and --resume goes on from there"),
        (5, "stopped at step 7; the state of step 5 is saved, and --resume goes on from there"),
        (None, "stopped at step 7; no state is saved yet"),
    ],
)
def test_where_a_stopped_run_goes_on_is_said(capsys, saved, told):
    record = SimpleNamespace(ending=lambda _so_far: contextlib.nullcontext())
    loop = SimpleNamespace(step=7, saved=saved)
    with pytest.raises(KeyboardInterrupt), RunOptions().recording(record, loop, dict):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == told + "\n"


def run_in(folder, verb):
    """A folder of a run, as far as it is looked at before another is written there."""
    (folder / "last").mkdir(parents=True)
    record = {"format": "dnalm-run", "format_version": 1, "verb": verb, "status": "done"}
    write_json(folder / "run.json", record)
    return folder


WAYS = [{}, {"overwrite": True}, {"resume": True}]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("there", "verb"),
    [
        ("pretrain", "finetune"),
        ("pretrain", "baseline"),
        ("finetune", "pretrain"),
        ("interact train", "finetune"),
        ("label", "baseline"),
        ("pretrain", "interact train"),
    ],
)
def test_a_run_of_another_kind_is_never_replaced(tmp_path, how, there, verb):
    folder = run_in(tmp_path / "vocab4", there)
    message = (
        f"{folder}: holds a run of dnalm {there}, which dnalm {verb} does not replace; choose another --x"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RunOptions(**how).check_folder(folder, [], verb, elsewhere="--x")


@pytest.mark.parametrize(
    ("there", "verb"),
    [("finetune", "baseline"), ("baseline", "finetune"), ("pretrain", "pretrain"), (None, "pretrain")],
)
def test_a_run_of_the_same_kind_is_replaced_where_that_is_asked_for(tmp_path, there, verb):
    folder = run_in(tmp_path / "a", there)
    if there is None:  # cut short
        (folder / "run.json").write_text("{")
    for how in WAYS[1:]:
        RunOptions(**how).check_folder(folder, [], verb)
    with pytest.raises(ValueError, match=r"use --resume, --overwrite or another --out|cut short"):
        RunOptions().check_folder(folder, [], verb)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("read", ["m/a", "m/a/checkpoint", "m/../m/a", "m/a.pt", "link"])
def test_what_is_begun_from_is_not_written_over(tmp_path, monkeypatch, how, read):
    monkeypatch.chdir(tmp_path)
    folder = run_in(Path("m/a"), "finetune")
    Path("link").symlink_to(folder)
    message = f"{read}: this run would begin from it and write over it; choose another --out"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RunOptions(**how).check_folder(folder, [Path("m/a.pt")], "finetune", reads=[Path(read)])
    RunOptions(overwrite=True).check_folder(folder, [], "finetune", reads=[Path("m/b"), Path("m")])
