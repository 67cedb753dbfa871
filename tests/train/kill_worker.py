"""What tests/test_kills.py starts: a run in a child process that is stopped at random moments, and resumed.

The child is forked, so that Python and torch are started once, however often it is killed.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from dnalm.device import Processor
from dnalm.genome.folder import PreparedGenome
from dnalm.models.gpt import GPTConfig
from dnalm.train.language import LanguageConfig, LanguageTask
from dnalm.train.loop import Loop
from dnalm.train.optim import TrainConfig
from dnalm.train.resume import has_state, recover_run

CONFIG = TrainConfig(
    steps=60, batch_size=4, lr=0.01, min_lr=0.001, warmup=2, eval_every=7, checkpoint_every=2
)
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def train(data, folder):
    """Train to the end as a new process would, going on from what is there."""
    torch.set_num_threads(1)
    recover_run(folder)
    shape = GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=20, dropout=0.2)
    task = LanguageTask(PreparedGenome(data), shape, LanguageConfig(eval_bases=200))
    torch.manual_seed(0)
    fabric = Processor("cpu", "fp32").fabric()
    loop = Loop(task, task.build_model(), CONFIG, folder=folder, fabric=fabric, seed=0, identity={"seed": 0})
    if has_state(folder):
        loop.resume(print)
    loop.run()


def child(data, folder):
    """Fork a child that trains; return its number."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        train(data, folder)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(data, out, kills, seed):
    """Train once undisturbed and once with `kills` stops; tell how each sitting ended."""
    (out / "whole").mkdir()
    begin = time.monotonic()
    _, status = os.waitpid(child(data, out / "whole"), 0)
    span = time.monotonic() - begin
    assert status == 0
    draws, ends = random.Random(seed), []
    while (
        len([code for code in ends if code]) < kills // 3
    ):  # too seldom: the machine is less busy than it was
        shutil.rmtree(out / "stopped", ignore_errors=True)
        ends = stopped(data, out / "stopped", kills, span, draws)
        span /= 2
    print(json.dumps({"ends": ends}))


def stopped(data, folder, kills, span, draws):
    """Train with up to `kills` stops, as many as there is time for; return how each sitting ended."""
    ends = []
    folder.mkdir()
    while True:
        number = child(data, folder)
        if len(ends) < kills:
            time.sleep(draws.uniform(0.0, 2.5 * span / kills + 0.03))
            os.kill(number, draws.choice(SIGNALS))
        _, status = os.waitpid(number, 0)
        code = os.waitstatus_to_exitcode(status)
        ends.append(code)
        if code == 0:
            return ends
        assert code in (130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT), code


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
