"""The record of a run, its settings, inputs and metrics: `run.json` beside every result."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dnalm
from dnalm import process
from dnalm.errors import InputError
from dnalm.files import read_json, write_json

FORMAT = "dnalm-run"
FORMAT_VERSION = 1
PACKAGES = ("torch", "numpy", "lightning-fabric", "safetensors", "pysam")  # that can change a result


class Record:
    """A `run.json`, written when the run begins and again when it ends.

    `recipe` has every setting, resolved; `data` names the inputs with their digests.
    """

    def __init__(
        self, path: Path, verb: str, *, recipe: dict[str, Any], seed: int, data: dict[str, Any], device: str
    ) -> None:
        self.path, self._begin = path, time.monotonic()
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "verb": verb,
            "status": "running",
            "command": ["dnalm", *sys.argv[1:]],
            "recipe": recipe,
            "versions": versions(),
            "seed": seed,
            "data": data,
            "hardware": hardware() | {"device": device},
            "git": git_state(),
            "timings": {"started": _now()},
            "peak_memory_bytes": None,
            "metrics": {},
        }
        self._write()

    @contextlib.contextmanager
    def ending(self, so_far: Callable[[], dict[str, Any]] = dict) -> Iterator[None]:
        """Record the end of a run that Ctrl-C (interrupted) or an error (failed) stops inside the block.

        `so_far` returns the metrics that are known then.
        """
        try:
            yield
        except BaseException as error:
            self.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", so_far())
            raise

    def finish(self, status: str, metrics: dict[str, Any], **timings: float) -> None:
        """Write the end of the run: done, interrupted or failed, its metrics, and times in seconds."""
        elapsed = time.monotonic() - self._begin
        self.content |= {"status": status, "metrics": metrics, "peak_memory_bytes": peak_memory()}
        self.content["timings"] |= {"finished": _now(), "elapsed_s": elapsed, **timings}
        self._write()

    def _write(self) -> None:
        if process.is_rank_zero():  # of several processes
            write_json(self.path, self.content)


def read_record(path: Path) -> dict[str, Any]:
    """Read a `run.json`; raises InputError if it is none, or of another version."""
    return read_versioned(path, FORMAT, FORMAT_VERSION)


def read_versioned(path: Path, form: str, version: int) -> dict[str, Any]:
    """Read a JSON object that names its `format` and `format_version`.

    Raises:
        InputError: naming the file, if it is none, or of another format or version.
    """
    content = read_json(path)
    got = content if isinstance(content, dict) else {}
    if (got.get("format"), got.get("format_version")) != (form, version):
        raise InputError(
            f"{path}: expected {form}, version {version}, got {got.get('format')}, version "
            f"{got.get('format_version')}; move it elsewhere"
        )
    return got


def versions() -> dict[str, str]:
    """Return the versions of dnalm, Python and the packages that can change a result."""
    packages = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"dnalm": dnalm.__version__, "python": platform.python_version()} | packages


def hardware() -> dict[str, Any]:
    """Return processor, cores this process may use, memory in bytes and system; never a host name."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": processor, "cores": cores, "memory_bytes": memory, "system": platform.system()}


def git_state() -> dict[str, Any] | None:
    """Return commit and state of the checkout dnalm runs from; None when it is installed otherwise."""
    root = Path(dnalm.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()  # the first is "# branch.oid COMMIT"
    return {"commit": lines[0].split()[-1], "changed": any(not line.startswith("#") for line in lines)}


def peak_memory() -> int:
    """Return this process's peak memory in bytes: of the CUDA device, where it uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
