"""Runs a case: a process for each contestant, all of them in turn in every round, one JSON file at the end.

The machine may be busy with other things: each round gives every contestant its turn under the same load, and
medians are over the ratios of the rounds.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.cases import load
from bench.figures import answers, figures
from bench.work import Settings
from dnalm.files import write_json
from dnalm.record import git_state, hardware, versions

FORMAT, FORMAT_VERSION = "dnalm-bench", 1
BUILT_AT_ONCE = 8
"""Contestants that are built at once on a device: the CPU compiles them."""
RESULTS = Path(__file__).parent / "results"


class Contestant:
    """One way in a process of its own, built, which has done its work once."""

    def __init__(self, case: str, way: str, settings: Settings) -> None:
        self.way, self.seconds = way, list[float]()
        self._process = subprocess.Popen(
            _command(case, way, settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(settings),
        )
        try:
            self.first = float(self._answer()["ready"])
        except BaseException:
            self.stop()
            raise

    def round(self) -> None:
        """Let it do one round."""
        self.seconds.append(float(self._ask("round")["seconds"]))

    def end(self) -> dict[str, Any]:
        """Return all measurements, and end the process."""
        return {"seconds": self.seconds, "first_seconds": self.first} | self._ask("end")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will be missing
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()  # below 0: the number of the signal that ended it
            raise RuntimeError(f"{self.way}: its process ended ({code}); its message stands above")
        content: dict[str, Any] = json.loads(line)
        return content


def run_case(name: str, settings: Settings, *, rounds: int = 0, results: Path = RESULTS) -> Path:
    """Measure a case and return its result file; a contestant that cannot run here is left out, and named.

    Args:
        name: of the case.
        settings: the scratch folder in them is where a folder for this case is made.
        rounds: 0 for the case's own number.
        results: where the file goes.

    Raises:
        RuntimeError: if our own way cannot run, one fails in the middle, or too little memory is free.
    """
    case = load(name)
    free = _free_memory()
    if not settings.quick and free < case.memory:
        raise RuntimeError(
            f"{name}: needs about {case.memory / 1e9:.0f} GB of free memory for all contestants, and "
            f"{free / 1e9:.1f} GB are free; end what else runs here, or take another machine"
        )
    rounds = rounds or case.rounds
    began, busy = time.monotonic(), os.getloadavg()[0]
    found, missing = _measured(name, settings, rounds)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "case": name,
        "title": case.title,
        "about": case.about,
        "unit": case.unit,
        "ours": case.ours,
        "rounds": rounds,
        "quick": settings.quick,
        "device": _device(settings),
        "threads": settings.threads or hardware()["cores"],
        "load_before": round(busy, 1),
        "machine": hardware(),
        "versions": versions() | _peers(),
        "git": git_state(),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "missing": missing,
        "targets": answers(case.targets(settings), found),
    } | found
    path = results / (f"{name}.json" if settings.device == "cpu" else f"{name}-{settings.device}.json")
    write_json(path, _rounded(content))
    return path


def _measured(name: str, settings: Settings, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a case, and the ways that cannot run here."""
    case = load(name)
    with tempfile.TemporaryDirectory(dir=settings.scratch) as scratch, ExitStack() as stack:
        settings = replace(settings, scratch=scratch)
        if case.setup:
            subprocess.run(_command(name, "setup", settings), check=True, env=_environment(settings))
        present: list[Contestant] = []
        missing: list[str] = []
        with ThreadPoolExecutor(1 if settings.device == "cpu" else BUILT_AT_ONCE) as pool:
            made = {way: pool.submit(Contestant, name, way, settings) for way in case.ways(settings)}
            for way, contestant in made.items():
                try:
                    present.append(contestant.result())
                    stack.callback(present[-1].stop)
                except RuntimeError:
                    if way == case.ours:
                        raise
                    missing.append(way)
        for number in range(rounds):
            for each in present:
                each.round()
            print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        found = figures(case, {each.way: each.end() for each in present})
    return found, missing


def _command(case: str, way: str, settings: Settings) -> list[str]:
    return [sys.executable, "-m", "bench.worker", case, way, json.dumps(asdict(settings))]


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a contestant: its threads, and no progress bars."""
    threads = str(settings.threads or hardware()["cores"])
    return os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TQDM_DISABLE": "1"}


def _free_memory() -> float:
    """Return the bytes that new processes may take; infinite where the system does not report them."""
    report = Path("/proc/meminfo")
    if not report.exists():
        return math.inf
    return 1024 * float(report.read_text().split("MemAvailable:")[1].split()[0])


def _device(settings: Settings) -> str:
    if settings.device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


def _peers() -> dict[str, str]:
    from importlib.metadata import distributions

    names = ("transformers", "accelerate")
    return {each.name: each.version for each in distributions() if each.name in names}


def _rounded(value: Any) -> Any:
    """Return JSON values with five digits: no figure here is better than that, and the files stay small."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
