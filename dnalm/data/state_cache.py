"""States of frozen encoders, cached on disk: each distinct gene, molecule or window is encoded once.

A store is a folder for one identity: weights, tokenizer, windows, pooling. It grows by shards, safetensors
files that are written atomically, so that a crash loses one shard at most, and new genes or molecules are
added to the old ones.

Shapes: T states of a shard, of all its genes or molecules end to end; B genes or molecules taken; L states of
one of them, the most; D width of the states.
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
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dnalm import process
from dnalm.data.pair_batches import pad_states
from dnalm.errors import InputError
from dnalm.files import atomic_file, lock, need_space, read_json, write_json

Rows = npt.NDArray[np.int64]
Encode = Callable[[list[str]], list[Tensor]]
"""Maps genes or molecules to the states of each, float [1 + S, D], the mean first."""

FORMAT, FORMAT_VERSION = "dnalm-state-store", 1
STORE, SHARD = "store.json", ".safetensors"
PER_SHARD = 512
"""Genes or molecules of a shard."""
AT_ONCE = 32
"""Texts encoded together, sorted by length, so that there is little padding."""
KEY = 16
"""Bytes of a text's SHA-256 that identify it."""


@dataclass(frozen=True)
class CachedStates:
    """The states of a list of genes or molecules, memory-mapped."""

    shards: list[Tensor]  # bfloat16, each [T, D]
    shard: Rows  # Shard of each gene or molecule
    begins: Rows  # First row of each in its shard: the mean, which the states follow
    counts: Rows  # States of each, without the mean
    pooled: bool = False  # Whether the mean is the one state of each

    def __len__(self) -> int:
        return len(self.begins)

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has, [B]."""
        return np.ones(len(rows), dtype=np.int64) if self.pooled else self.counts[rows]

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the states of `rows`, bfloat16 [B, L, D], 0 at padding, and which are real, bool [B, L]."""
        lengths, begins = self.lengths(rows), self.begins[rows] + (0 if self.pooled else 1)
        return pad_states(
            [
                self.shards[shard][begin : begin + length]
                for shard, begin, length in zip(self.shard[rows], begins, lengths, strict=True)
            ]
        )

    def only_means(self) -> "CachedStates":
        """Return the same with one state each: the mean."""
        return replace(self, pooled=True)


class StateStore:
    """The states of one encoder, in a folder.

    Args:
        root: of all stores; this one is a folder in it, named by the digest of `identity`.
        identity: JSON values that, with a text, determine its states: the weights' digest among them.
        width: D.

    Raises:
        InputError: if the folder holds something else, or states of other weights.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], width: int) -> None:
        self.identity = {"version": FORMAT_VERSION, "dtype": "bfloat16", "width": width, **identity}
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        self.folder, self.width = root / f"{identity.get('name', 'states')}-{digest[:16]}", width
        self._where: dict[bytes, tuple[int, int, int]] = {}  # shard, begin, states with the mean
        self._shards: list[Tensor] = []
        self._names: set[str] = set()  # of the shards' files
        self._seconds: list[float] = []  # of encoding one text of each shard
        self._refresh()

    def count_missing(self, texts: Iterable[str]) -> int:
        """Return how many distinct texts have no cached states."""
        return len(self._missing(set(texts)))

    def fill(self, texts: Iterable[str], encode: Encode, say: Callable[[str], None]) -> int:
        """Encode each distinct text that has no cached states; return how many that were.

        Several processes encode different shards; the first holds the lock for all. `encode` is of up to
        `AT_ONCE` texts; `say` is called with a message before each shard.

        Raises:
            InputError: if the disk is too small, or another process writes to this store.
        """
        distinct = set(texts)
        if not process.broadcast(len(self._missing(distinct))):
            self._refresh()
            if process.is_rank_zero() and distinct:
                (self.folder / STORE).touch()  # recently used
            return 0
        info = process.current()
        with lock(self.folder) if info.rank == 0 else contextlib.nullcontext():
            process.barrier()
            self._refresh()  # another run may have added some
            missing = self._missing(distinct)
            if info.rank == 0:
                write_json(self.folder / STORE, {"format": FORMAT, "identity": self.identity})
            number = max((int(name.removesuffix(SHARD)) for name in self._names), default=-1) + 1
            process.barrier()  # all have counted the shards before the first is written
            for shard, begin in enumerate(range(0, len(missing), PER_SHARD)):
                some = missing[begin : begin + PER_SHARD]
                say(f"encoding {begin:,} to {begin + len(some):,} of {len(missing):,} into {self.folder}")
                if shard % info.world_size == info.rank:
                    self._write(some, encode, number + shard)
            process.barrier()
            self._refresh()  # what the other processes have encoded
        return len(missing)

    def _missing(self, texts: set[str]) -> list[str]:
        """Return the texts without cached states, the shortest first."""
        return sorted((text for text in texts if _key(text) not in self._where), key=lambda t: (len(t), t))

    def _refresh(self) -> None:
        """Open new shards."""
        if (self.folder / STORE).is_file():
            self._check()
            for path in sorted(self.folder.glob(f"*{SHARD}")):
                if path.name not in self._names:
                    self._read(path)

    def states(self, texts: Sequence[str]) -> CachedStates:
        """Return the states of `texts`, in their order; all must be cached (`fill`)."""
        where = np.array([self._where[_key(text)] for text in texts], dtype=np.int64).reshape(-1, 3)
        return CachedStates(self._shards, where[:, 0], where[:, 1], where[:, 2] - 1)

    def seconds(self, texts: Iterable[str]) -> float:
        """Return how long it took to encode the distinct `texts`, whenever that was; all must be cached."""
        return sum(self._seconds[self._where[_key(text)][0]] for text in set(texts))

    def make_room(
        self, texts: Iterable[str], bytes_each: int, limit: int, say: Callable[[str], None]
    ) -> None:
        """Remove the least recently used stores beside this one, so that the states of `texts` have room.

        If that is not enough, the states of other texts in this store are removed too.

        Args:
            texts: which will be filled in next.
            bytes_each: size of a text's states.
            limit: bytes that all stores of `root` may hold.
            say: called with the name of each removed store.

        Raises:
            InputError: if the states alone are larger than `limit`.
        """
        distinct = set(texts)
        if (size := bytes_each * len(distinct)) > limit:
            raise InputError(
                f"the states take {size / 1e9:.2f} GB and `max_cache` is {limit / 1e9:g}; raise it, or give "
                "`max_cache` 0 to compute them anew in each epoch"
            )
        removed = False
        if process.is_rank_zero():
            stores = sorted(self.folder.parent.glob(f"*/{STORE}"), key=lambda path: path.stat().st_mtime)
            sizes = {path.parent: sum(f.stat().st_size for f in path.parent.iterdir()) for path in stores}
            needed = bytes_each * len(self._missing(distinct))
            for folder in sorted(sizes, key=self.folder.__eq__):  # this one last
                if sum(sizes.values()) + needed <= limit:
                    break
                with contextlib.suppress(InputError), lock(folder):  # another run may be writing to it
                    shutil.rmtree(folder)
                    say(f"removed states that were used least recently: {folder.name}")
                del sizes[folder]
                removed = folder == self.folder
        if process.broadcast(removed):
            for cached in (self._where, self._shards, self._names, self._seconds):
                cached.clear()

    def _write(self, texts: list[str], encode: Encode, number: int) -> None:
        states: list[Tensor] = []
        start = time.monotonic()
        for begin in range(0, len(texts), AT_ONCE):
            batch = encode(texts[begin : begin + AT_ONCE])
            states += [each.detach().to(torch.bfloat16).cpu() for each in batch]
        assert len(states) == len(texts)
        assert all(each.ndim == 2 and len(each) and each.shape[1] == self.width for each in states)
        begins = np.cumsum([0, *map(len, states)])
        content = {
            "states": torch.cat(states).contiguous(),
            "begins": torch.from_numpy(begins),
            "keys": torch.tensor(list(b"".join(map(_key, texts))), dtype=torch.uint8).view(-1, KEY),
        }
        need_space(self.folder, 2 * int(begins[-1]) * self.width + 64 * len(texts))
        path = self.folder / f"{number:06d}{SHARD}"
        with atomic_file(path) as file:
            file.write(safetensors.torch.save(content, {"seconds": str(time.monotonic() - start)}))
        self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with safetensors.safe_open(path, framework="pt") as file:  # memory-mapped
                begins, keys = (file.get_tensor(name).numpy() for name in ("begins", "keys"))
                seconds = float((file.metadata() or {}).get("seconds", 0.0))
                states = file.get_tensor("states")
        except safetensors.SafetensorError as error:
            raise InputError(f"{path}: damaged ({error}); remove it, it will be computed again") from error
        number = len(self._shards)
        self._shards.append(states)
        self._names.add(path.name)
        self._seconds.append(seconds / max(1, len(keys)))
        for key, begin, count in zip(keys, begins.tolist(), np.diff(begins).tolist(), strict=False):
            self._where[key.tobytes()] = (number, begin, count)

    def _check(self) -> None:
        path = self.folder / STORE
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path}: expected a store of states written by dnalm, got another file")
        if content.get("identity") != self.identity:
            raise InputError(
                f"{self.folder}: its states are of other weights, another tokenizer or other windows; "
                "remove it, or choose another `store`"
            )


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:KEY]
