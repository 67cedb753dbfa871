"""States of frozen encoders of genes and molecules: each distinct one encoded once, ever, and kept on disk.

A store is a folder for one identity: weights, tokenizer, windows, pooling. It grows by shards, each a
safetensors file that is whole or not there, so that what was computed before a crash is kept, and new genes
or molecules are added beside the old ones.

Shapes used below
    N  genes or molecules of a shard
    T  states of a shard, of all its genes or molecules end to end
    B  genes or molecules taken      L  states of one of them, the most
    D  width of the states
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dnalm import process
from dnalm.errors import InputError
from dnalm.files import atomic_file, lock, need_space, read_json, write_json

Rows = npt.NDArray[np.int64]
Encode = Callable[[list[str]], list[Tensor]]
"""Maps genes or molecules to the states of each, float [1 + S, D], the mean first."""

FORMAT, FORMAT_VERSION = "dnalm-state-store", 1
STORE, SHARD = "store.json", ".safetensors"
PER_SHARD = 512
"""Genes or molecules of a shard: what a crash can lose."""
AT_ONCE = 32
"""Encoded at a time, sorted by length, so that there is little padding."""
KEY = 16
"""Bytes of the SHA-256 of a text that stand for it."""


@dataclass(frozen=True)
class KeptStates:
    """The states of a list of genes or molecules, memory-mapped, as `StateStore.states` returns them."""

    shards: list[npt.NDArray[np.uint16]]
    """bfloat16 as its bits, each [T, D]."""
    shard: Rows
    """Of each gene or molecule: in which shard its states are."""
    begins: Rows
    """Of each: where in the shard they begin, with the mean."""
    counts: Rows
    """Of each: how many there are, the mean not counted."""
    pooled: bool = False
    """Only the mean is taken, as the one state of each."""

    def __len__(self) -> int:
        return len(self.begins)

    def lengths(self, rows: Rows) -> Rows:
        """Return how many states each of `rows` has, [B]."""
        return np.ones(len(rows), dtype=np.int64) if self.pooled else self.counts[rows]

    def take(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the states of `rows`, bfloat16 [B, L, D], 0 at padding, and which are real, bool [B, L]."""
        lengths = self.lengths(rows)
        longest = max(1, int(lengths.max(initial=0)))
        width = self.shards[0].shape[1]
        found = np.zeros((len(rows), longest, width), dtype=np.uint16)
        skipped = 0 if self.pooled else 1
        for place, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
            begin = int(self.begins[row]) + skipped
            found[place, :length] = self.shards[int(self.shard[row])][begin : begin + length]
        real = np.arange(longest) < lengths[:, None]
        return torch.from_numpy(found).view(torch.bfloat16), torch.from_numpy(real)

    def only_means(self) -> "KeptStates":
        """Return the same with one state each: the mean."""
        return KeptStates(self.shards, self.shard, self.begins, self.counts, True)


class StateStore:
    """A folder of states under one identity.

    Args:
        root: of all stores; this one is the folder in it that is named by the digest of `identity`.
        identity: JSON values that, with the text, decide its states: the weights' digest among them.
        width: D.

    Raises:
        InputError: if the folder holds something else, or states of other weights.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], width: int) -> None:
        self.identity = {"version": FORMAT_VERSION, "dtype": "bfloat16", "width": width, **identity}
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        self.folder, self.width = root / f"{identity.get('name', 'states')}-{digest[:16]}", width
        self.encoded = 0
        """Genes or molecules encoded by this object: those that were not there."""
        self._where: dict[bytes, tuple[int, int, int]] = {}  # shard, begin, states with the mean
        self._shards: list[npt.NDArray[np.uint16]] = []
        self._names: set[str] = set()  # of the shards' files
        self._refresh()

    def lacks(self, texts: Iterable[str]) -> int:
        """Return how many distinct texts are not there."""
        return len(self._missing(set(texts)))

    def fill(self, texts: Iterable[str], encode: Encode, say: Callable[[str], None]) -> int:
        """Encode each distinct text that is not there yet, once, and keep its states.

        Several processes encode every so many shards each; the first holds the lock for all of them.

        Args:
            texts: sequences or SMILES.
            encode: of up to `AT_ONCE` texts.
            say: told what is about to be done, and how far it is.

        Returns:
            How many were encoded.

        Raises:
            InputError: if the disk is too small, or another process writes to this store.
        """
        asked = set(texts)
        if not process.broadcast(len(self._missing(asked))):
            self._refresh()
            return 0
        info = process.current()
        with lock(self.folder) if info.rank == 0 else contextlib.nullcontext():
            process.barrier()
            self._refresh()  # another run may have been here
            missing = self._missing(asked)
            if info.rank == 0:
                write_json(self.folder / STORE, {"format": FORMAT, "identity": self.identity})
            number = max((int(name.removesuffix(SHARD)) for name in self._names), default=-1) + 1
            process.barrier()  # all of them have counted the shards that are there
            for place, begin in enumerate(range(0, len(missing), PER_SHARD)):
                some = missing[begin : begin + PER_SHARD]
                say(f"encoding {begin:,} to {begin + len(some):,} of {len(missing):,} into {self.folder}")
                if place % info.world_size == info.rank:
                    self._write(some, encode, number + place)
            process.barrier()
            self._refresh()  # what the other processes have encoded
        self.encoded += len(missing)
        return len(missing)

    def _missing(self, texts: set[str]) -> list[str]:
        """Return those that are not there, the shortest first."""
        return sorted((each for each in texts if _key(each) not in self._where), key=lambda t: (len(t), t))

    def _refresh(self) -> None:
        """Read the shards that are there and not yet read."""
        if (self.folder / STORE).is_file():
            self._check()
            for path in sorted(self.folder.glob(f"*{SHARD}")):
                if path.name not in self._names:
                    self._read(path)

    def states(self, texts: Sequence[str]) -> KeptStates:
        """Return the states of `texts`, in their order; all of them must be there (`fill`)."""
        places = np.array([self._where[_key(text)] for text in texts], dtype=np.int64).reshape(-1, 3)
        return KeptStates(self._shards, places[:, 0], places[:, 1], places[:, 2] - 1)

    def _write(self, texts: list[str], encode: Encode, number: int) -> None:
        found: list[Tensor] = []
        for begin in range(0, len(texts), AT_ONCE):
            states = encode(texts[begin : begin + AT_ONCE])
            found += [each.detach().to(torch.bfloat16).cpu() for each in states]
        assert len(found) == len(texts)
        assert all(each.ndim == 2 and len(each) and each.shape[1] == self.width for each in found)
        begins = np.cumsum([0, *map(len, found)])
        content = {
            "states": torch.cat(found).contiguous(),
            "begins": torch.from_numpy(begins),
            "keys": torch.tensor(list(b"".join(map(_key, texts))), dtype=torch.uint8).view(-1, KEY),
        }
        need_space(self.folder, 2 * int(begins[-1]) * self.width + 64 * len(texts))
        path = self.folder / f"{number:06d}{SHARD}"
        with atomic_file(path) as file:
            file.write(safetensors.torch.save(content))
        self._read(path)

    def _read(self, path: Path) -> None:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                begins, keys = (file.get_tensor(name).numpy() for name in ("begins", "keys"))
            states = _mapped(path)
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it, it will be computed again") from error
        number = len(self._shards)
        self._shards.append(states)
        self._names.add(path.name)
        for place, key in enumerate(keys):
            self._where[key.tobytes()] = (
                number,
                int(begins[place]),
                int(begins[place + 1] - begins[place]),
            )

    def _check(self) -> None:
        path = self.folder / STORE
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path}: expected a store of states written by dnalm, got another file")
        if content.get("identity") != self.identity:
            raise InputError(
                f"{self.folder}: its states are of other weights, another tokenizer or other windows than "
                "are wanted; remove it, or choose another --store"
            )


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:KEY]


def _mapped(path: Path) -> npt.NDArray[np.uint16]:
    """Return the tensor `states` of a safetensors file as the bits of its bfloat16, [T, D], memory-mapped."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(size))["states"]
    if about["dtype"] != "BF16":
        raise InputError(f"states of type {about['dtype']}")
    return np.memmap(path, np.uint16, "r", 8 + size + about["data_offsets"][0], tuple(about["shape"]))
