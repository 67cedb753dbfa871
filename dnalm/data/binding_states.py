"""States of a frozen encoder: computed once, kept on disk, found again by what they were computed from.

Shapes used below
    M  windows                       L  tokens per window
    D  width of the states           B  windows encoded at a time
"""

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from dnalm import process
from dnalm.errors import InputError
from dnalm.files import atomic_file, need_space, read_json, write_json

FORMAT_VERSION = 2
"""Part of every key: states of another version are never found."""
ENCODE_BATCH = 64
"""Windows encoded at a time."""
SUFFIX = ".states"
STALE = 24 * 3600
"""Seconds after which an unfinished file that nobody writes to is a dead process's."""


class Kept(NamedTuple):
    """States that are on disk."""

    states: Tensor
    """bfloat16, [M, L, D], memory-mapped."""
    seconds: float
    """What computing them took, whenever that was."""


@dataclass(frozen=True)
class StateCache:
    """A folder of states: all that one run needs is one file, named by a digest of what decides its content.

    The file is written whole or not at all. When the folder would grow beyond `limit`, the files that were
    used least recently are removed; those that another run has open stay readable to it.
    """

    folder: Path
    limit: int
    """Bytes that the folder may hold."""
    say: Callable[[str], None]
    """Told what is about to be written and how large it is."""

    def get(
        self, encode: Callable[[Tensor], Tensor], tokens: Tensor, width: int, key: Mapping[str, Any]
    ) -> Kept:
        """Return the states of `tokens`, computed now or before; several processes compute a share each.

        Args:
            encode: maps tokens [B, L] to states [B, L, D].
            tokens: uint8, [M, L].
            width: D.
            key: JSON values that, with the tokens, decide the states: the weights' digest, for one.

        Raises:
            InputError: if they are larger than `limit`, or than the room on the disk.
        """
        path = self.folder / f"{self._digest(tokens, width, key)}{SUFFIX}"
        size = 2 * len(tokens) * tokens.shape[1] * width
        there = path.is_file() and path.stat().st_size == size and _times(path).is_file()
        if not process.broadcast(there):
            self._write(path, size, encode, tokens)
        if path.stat().st_size != size:  # a map would lengthen it by zeros
            raise InputError(f"{path}: is {path.stat().st_size:,} bytes and not {size:,}; remove it")
        path.touch()
        # Shared, though nothing writes to it: a private map reserves memory for all of the file.
        whole = torch.from_file(str(path), shared=True, size=size // 2, dtype=torch.bfloat16)
        return Kept(whole.view(*tokens.shape, width), float(read_json(_times(path))["seconds"]))

    def _digest(self, tokens: Tensor, width: int, key: Mapping[str, Any]) -> str:
        text = {"version": FORMAT_VERSION, "shape": [*tokens.shape, width], "dtype": "bfloat16", **key}
        digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode())
        digest.update(tokens.numpy().tobytes())
        return digest.hexdigest()[:32]

    def _write(self, path: Path, size: int, encode: Callable[[Tensor], Tensor], tokens: Tensor) -> None:
        if size > self.limit:
            raise InputError(
                f"the states of {len(tokens):,} windows take {size / 1e9:.1f} GB and --max-cache is "
                f"{self.limit / 1e9:.1f}; raise it, or give --max-cache 0 to compute them anew in each epoch"
            )
        info = process.current()
        begin = time.monotonic()
        if info.rank == 0:
            self._make_room(size)
            need_space(self.folder, size)
            self.say(f"states of {len(tokens):,} windows: {size / 1e9:.2f} GB into {self.folder}")
            self.folder.mkdir(parents=True, exist_ok=True)
        process.barrier()
        chunks = torch.split(tokens, ENCODE_BATCH)
        own = info.share(chunks)
        run = process.broadcast(secrets.token_hex(4))  # another run may be writing the same states
        shares = [path.with_name(f".{path.name}.{run}.{rank}.part") for rank in range(info.world_size)]
        if info.rank:  # its share beside the file, for the first process to put behind its own
            with shares[info.rank].open("wb") as file:
                _encode(own, encode, file)
            process.barrier()
        else:
            with atomic_file(path) as file:
                _encode(own, encode, file)
                process.barrier()
                for share in shares[1:]:
                    with share.open("rb") as rest:
                        shutil.copyfileobj(rest, file)
                    share.unlink()
            seconds = time.monotonic() - begin
            write_json(_times(path), {"seconds": seconds})
            self.say(f"states written in {seconds:.0f} s")
        process.barrier()

    def _make_room(self, size: int) -> None:
        """Remove the files used least recently until `size` more bytes are within the limit."""
        for left in self.folder.glob(f".*{SUFFIX}.*.part"):  # of a process that was killed
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
        there = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda old: old.stat().st_mtime)
        held = sum(old.stat().st_size for old in there)
        for old in there:
            if held + size <= self.limit:
                break
            held -= old.stat().st_size
            self.say(f"removing states that were used least recently: {old.name}")
            old.unlink()
            _times(old).unlink(missing_ok=True)


def _encode(chunks: Sequence[Tensor], encode: Callable[[Tensor], Tensor], file: BinaryIO) -> None:
    """Write the states of chunks of tokens, each [B, L], one after the other."""
    for rows in chunks:
        states = encode(rows).to(torch.bfloat16).cpu().contiguous()
        file.write(states.view(torch.uint8).numpy().tobytes())


def _times(path: Path) -> Path:
    """Return where the time that a file of states took is kept."""
    return path.with_suffix(".json")
