"""What test_kills.py starts: a run in a child process that is stopped at random moments, and resumed.

The child is forked, so that Python and its libraries are loaded once, however often it is killed.
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
from dnalm.train.optim import TrainConfig
from dnalm.train.resume import has_state, recover_run
from tests.train.tasks import make_loop

CONFIG = TrainConfig(
    steps=60, batch_size=4, lr=0.01, min_lr=0.001, warmup=2, eval_every=7, checkpoint_every=2
)
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def child(data, folder):
    """Fork a child that trains to the end as a new process would, from the state that exists."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        recover_run(folder)
        loop = make_loop("language", folder, CONFIG, data, dropout=0.2)
        if has_state(folder):
            loop.resume(print)
        loop.run()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def stopped(data, folder, kills, span, random_numbers):
    """Train with up to `kills` stops, as many as there is time for; return how each process ended."""
    ends = []
    folder.mkdir()
    while True:
        number = child(data, folder)
        if len(ends) < kills:
            time.sleep(random_numbers.uniform(0.0, 2.5 * span / kills + 0.03))
            os.kill(number, random_numbers.choice(SIGNALS))
        _, status = os.waitpid(number, 0)
        code = os.waitstatus_to_exitcode(status)
        ends.append(code)
        if code == 0:
            return ends
        assert code in (130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT), code


def main(data, out, kills, seed):
    """Train once undisturbed and once with `kills` stops; print how each process ended."""
    torch.set_num_threads(1)
    Processor("cpu", "fp32").fabric()  # loads it
    (out / "undisturbed").mkdir()
    begin = time.monotonic()
    _, status = os.waitpid(child(data, out / "undisturbed"), 0)
    span = time.monotonic() - begin
    assert status == 0
    random_numbers, ends = random.Random(seed), []
    while len([code for code in ends if code]) < kills // 3:  # too rarely: the machine is less busy now
        shutil.rmtree(out / "stopped", ignore_errors=True)
        ends = stopped(data, out / "stopped", kills, span, random_numbers)
        span /= 2
    print(json.dumps({"ends": ends}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
