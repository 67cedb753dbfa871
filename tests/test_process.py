"""Tests for dnalm/process.py; collective operations between real processes are in train/test_processes.py."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnalm import process
from dnalm.errors import InputError
from dnalm.process import ProcessInfo, current, stop_signal

ONE = ProcessInfo(0, 1, 1, "")
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, ONE),
        ({"RANK": "1", "WORLD_SIZE": "4"}, ONE),  # left over from something else
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, ONE),  # a batch script, not started by srun
        (TORCHRUN, ProcessInfo(5, 8, 4, "torchrun")),
        (TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, ONE),
        (SRUN, ProcessInfo(3, 8, 4, "srun")),
    ],
)
def test_the_launcher_is_known_by_its_environment(env, wanted):
    assert current(env) == wanted


def test_refuses_what_several_processes_cannot_do(second_of_three):
    process.check_batch(6, 2)
    with pytest.raises(InputError, match="`batch_size` 8 .* 3 processes"):
        process.check_batch(8, 1)
    with pytest.raises(InputError, match="a multiple of 6"):
        process.check_batch(9, 2)
    with pytest.raises(InputError, match="compare runs in one process"):
        process.check_verb("compare")
    assert not process.is_rank_zero()
    assert not process.is_error_reporter()  # before they are connected, the first reports for all


def test_machines_with_different_numbers_of_processes_are_refused(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    process.check_verb("pretrain")
    for per_machine, count in (("4,3", 7), ("4(x2),3", 11), ("4(x2)", 9)):
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", str(count))
        monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", per_machine)
        with pytest.raises(InputError, match=f"^{count} processes"):
            process.check_verb("pretrain")


JOIN = """
import sys
from dnalm import process
process.join("127.0.0.1", int(sys.argv[1]), "gloo")
assert process.all_gather(process.current().rank) == [0, 1]
process.barrier()
process.end(0)
"""


@pytest.fixture
def step(monkeypatch):
    """The environment of the first of two processes of srun, and a port where it can listen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    names = (
        "NTASKS",
        "STEP_NUM_TASKS",
        "STEP_TASKS_PER_NODE",
        "NTASKS_PER_NODE",
        "PROCID",
        "LOCALID",
        "NODEID",
    )
    values = {f"SLURM_{name}": value for name, value in zip(names, "2222000", strict=True)}
    values |= {"SLURM_NNODES": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in (values | {"PYTHONPATH": str(Path(process.__file__).parents[1])}).items():
        monkeypatch.setenv(name, value)
    return port


def test_a_process_of_srun_does_not_wait_for_ever(step):
    messages = []
    with pytest.raises(InputError, match="1 other process .*SLURM_STEP_NUM_TASKS"):
        process.join("127.0.0.1", int(step), "gloo", messages.append, seconds=0.3)
    assert len(messages) == 1


def test_a_process_of_srun_whose_first_is_missing_says_so_itself(step, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.warns(UserWarning, match="1 other process"), pytest.raises(InputError):
        process.join("127.0.0.1", int(step), "gloo", seconds=0.3)


def test_a_process_of_srun_that_waits_obeys_ctrl_c(step, tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are a background job
    command = [sys.executable, "-m", "dnalm", "pretrain", "--data", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        assert "waiting for 1 other process" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 130


def test_processes_of_srun_join_whichever_comes_first(step):
    ranks = [subprocess.Popen([sys.executable, "-c", JOIN, step], env=os.environ | {"SLURM_PROCID": "1"})]
    time.sleep(1.0)
    ranks.append(subprocess.Popen([sys.executable, "-c", JOIN, step]))
    assert [rank.wait(60) for rank in ranks] == [0, 0]


def test_the_first_signal_is_reported_and_the_second_stops_at_once():
    messages = []
    with stop_signal(messages.append) as stopped:
        assert not process.any_set(stopped)
        os.kill(os.getpid(), signal.SIGTERM)
        assert process.any_set(stopped)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(messages) == 1


def test_no_further_signal_disturbs_how_one_of_several_ends(second_of_three):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with stop_signal():
        pass
    assert [signal.getsignal(number) for number in numbers] == before
    try:
        with pytest.raises(KeyboardInterrupt), stop_signal():
            raise KeyboardInterrupt
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN] * 2
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize(("count", "world"), [(0, 2), (1, 3), (2, 3), (7, 3), (6, 3), (64, 5)])
def test_processes_map_equally_many_items(monkeypatch, count, world):
    def done_by(rank, others=None):
        monkeypatch.setattr("dnalm.process.current", lambda: ProcessInfo(rank, world, world, "torchrun"))
        made = []
        monkeypatch.setattr(
            "dnalm.process.all_gather", lambda own: made.append(own) or others or [own] * world
        )
        return process.map_over_ranks(range(count), lambda item: 10 * item, together=True), made[0]

    parts = [done_by(rank)[1] for rank in range(world)]
    assert {len(part) for part in parts} == {-(-count // world)}
    assert sum(len(set(part)) for part in parts) <= count + world - 1
    for rank in range(world):
        assert done_by(rank, parts)[0] == [10 * item for item in range(count)]
