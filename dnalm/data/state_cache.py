"""States of frozen encoders, cached on disk: each distinct gene, molecule or window is encoded once.

A store is a folder for one identity: weights, tokenizer, windows, pooling. It grows by shards, safetensors
files that are written atomically, so that a crash loses one shard at most.

Shapes: T states of a shard, end to end; B texts taken; L states of one text, the most; D their width.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dnalm import process
from dnalm.data.epochs import Rows
from dnalm.data.pair_batches import pad_states
from dnalm.errors import InputError
from dnalm.files import atomic_file, lock, need_space, read_json, write_json
from dnalm.process import Say

Encode = Callable[[list[str]], list[Tensor]]
"""Maps genes or molecules to the states of each, float [1 + S, D], the mean first."""

FORMAT, FORMAT_VERSION = "dnalm-state-store", 1
STORE, SHARD = "store.json", ".safetensors"
PER_SHARD = 512  # genes or molecules of a shard
AT_ONCE = 32  # texts encoded together, sorted by length, so that there is little padding
KEY = 16  # bytes of a text's SHA-256 that identify it


@dataclass(frozen=True)
class CachedStates:
    """The states of a list of genes or molecules, memory-mapped."""

    shards: list[Tensor]  # bfloat16, each [T, D]
    shard: Rows  # Shard of each gene or molecule
    begins: Rows  # Row of the first state of each in its shard, behind their mean
    counts: Rows  # States of each

    def __len__(self) -> int:
        return len(self.begins)

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has, [B]."""
        return self.counts[rows]

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the states of `rows`, bfloat16 [B, L, D], 0 at padding, and which are real, bool [B, L]."""
        where = zip(self.shard[rows], self.begins[rows], self.counts[rows], strict=True)
        return pad_states([self.shards[shard][begin : begin + count] for shard, begin, count in where])

    def only_means(self) -> "CachedStates":
        """Return the same with one state each: the mean."""
        return replace(self, begins=self.begins - 1, counts=np.ones_like(self.counts))


class StateStore:
    """The states of one encoder, in a folder of `root` that is named by the digest of `identity`.

    `identity` are JSON values that, with a text, determine its states: the weights' digest among them.
    InputError if the folder holds something else, or states of other weights.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], width: int) -> None:
        self.identity = {"version": FORMAT_VERSION, "dtype": "bfloat16", "width": width, **identity}
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        self.folder, self.width = root / f"{identity.get('name', 'states')}-{digest[:16]}", width
        self._where: dict[bytes, tuple[int, int, int]] = {}  # shard, first state, number of states
        self._shards: dict[str, tuple[Tensor, float]] = {}  # by file: states, seconds of encoding one text
        self._refresh()

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Return the distinct texts without cached states, the shortest first."""
        without = {text for text in texts if _key(text) not in self._where}
        return sorted(without, key=lambda text: (len(text), text))

    def fill(self, texts: Iterable[str], encode: Encode, say: Say) -> int:
        """Encode each distinct text that has no cached states; return how many that were.

        Several processes encode different shards; the first holds the lock for all. `encode` is of up to
        `AT_ONCE` texts. InputError if the disk is too small, or another process writes to this store.
        """
        distinct, info = set(texts), process.current()
        if not process.broadcast(len(self.missing(distinct))):
            self._refresh()
            if info.rank == 0 and distinct:
                with contextlib.suppress(OSError):  # the folder may be read-only
                    (self.folder / STORE).touch()  # recently used
            return 0
        with lock(self.folder) if info.rank == 0 else contextlib.nullcontext():
            process.barrier()
            self._refresh()  # another run may have added some
            missing = self.missing(distinct)
            if info.rank == 0:
                write_json(self.folder / STORE, {"format": FORMAT, "identity": self.identity})
            number = max((int(name.removesuffix(SHARD)) for name in self._shards), default=-1) + 1
            process.barrier()  # all have counted the shards before the first is written
            for shard, begin in enumerate(range(0, len(missing), PER_SHARD)):
                some = missing[begin : begin + PER_SHARD]
                say(f"encoding {begin:,} to {begin + len(some):,} of {len(missing):,} into {self.folder}")
                if shard % info.world_size == info.rank:
                    self._write(some, encode, number + shard)
            process.barrier()
            self._refresh()  # what the other processes have encoded
        return len(missing)

    def states(self, texts: Sequence[str]) -> CachedStates:
        """Return the states of `texts`, in their order; all must be cached (`fill`)."""
        where = np.array([self._where[_key(text)] for text in texts], dtype=np.int64).reshape(-1, 3)
        return CachedStates([states for states, _ in self._shards.values()], *where.T)

    def seconds(self, texts: Iterable[str]) -> float:
        """Return how long it took to encode the distinct `texts`, whenever that was."""
        seconds = [seconds for _, seconds in self._shards.values()]
        return sum(seconds[self._where[_key(text)][0]] for text in set(texts))

    def make_room(self, texts: Iterable[str], bytes_each: int, limit: int, say: Say) -> None:
        """Remove the least recently used stores beside this one, so that the states of `texts` have room.

        If that is not enough, the states of other texts in this store are removed too. InputError if the
        states alone, `bytes_each` a text, are larger than `limit`, the bytes that all stores may hold.
        """
        distinct = set(texts)
        if (size := bytes_each * len(distinct)) > limit:
            states = f"the states take {size / 1e9:.2f} GB and `max_cache` is {limit / 1e9:g}"
            raise InputError(f"{states}; raise it, or give `max_cache` 0 to compute them anew in each epoch")
        removed = False
        if process.is_rank_zero():
            stores = sorted(self.folder.parent.glob(f"*/{STORE}"), key=lambda path: path.stat().st_mtime)
            sizes = {path.parent: sum(f.stat().st_size for f in path.parent.iterdir()) for path in stores}
            needed = bytes_each * len(self.missing(distinct))
            for folder in sorted(sizes, key=self.folder.__eq__):  # this one last
                if sum(sizes.values()) + needed <= limit:
                    break
                with contextlib.suppress(InputError), lock(folder):  # another run may be writing to it
                    shutil.rmtree(folder)
                    say(f"removed states that were used least recently: {folder.name}")
                del sizes[folder]
                removed = folder == self.folder
        if process.broadcast(removed):
            self._where.clear()
            self._shards.clear()

    def _write(self, texts: list[str], encode: Encode, number: int) -> None:
        """Encode texts and write their states as one file of the cache."""
        states: list[Tensor] = []
        start = time.monotonic()
        for begin in range(0, len(texts), AT_ONCE):
            batch = encode(texts[begin : begin + AT_ONCE])
            states += [each.detach().to(torch.bfloat16).cpu() for each in batch]
        begins = np.cumsum([0, *map(len, states)])
        content = {
            "states": torch.cat(states).contiguous(),
            "begins": torch.from_numpy(begins),
            "keys": torch.tensor(list(b"".join(map(_key, texts))), dtype=torch.uint8).view(-1, KEY),
        }
        need_space(self.folder, 2 * int(begins[-1]) * self.width + 64 * len(texts))
        with atomic_file(self.folder / f"{number:06d}{SHARD}") as file:
            file.write(safetensors.torch.save(content, {"seconds": str(time.monotonic() - start)}))

    def _refresh(self) -> None:
        """Open new shards."""
        if not (self.folder / STORE).is_file():
            return
        if read_json(self.folder / STORE) != {"format": FORMAT, "identity": self.identity}:
            raise InputError(f"{self.folder}: expected states of these weights, got others; remove it")
        for path in sorted(self.folder.glob(f"*{SHARD}")):
            if path.name in self._shards:
                continue
            try:
                with safetensors.safe_open(path, framework="pt") as file:  # memory-mapped
                    begins, keys = (file.get_tensor(name).numpy() for name in ("begins", "keys"))
                    seconds = float((file.metadata() or {}).get("seconds", 0.0))
                    states = file.get_tensor("states")
            except safetensors.SafetensorError as error:
                raise InputError(f"{path}: damaged ({error}); remove it, it is computed again") from error
            rows = zip(keys, (begins[:-1] + 1).tolist(), (np.diff(begins) - 1).tolist(), strict=True)
            self._where |= {key.tobytes(): (len(self._shards), begin, count) for key, begin, count in rows}
            self._shards[path.name] = states, seconds / max(1, len(keys))


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:KEY]
