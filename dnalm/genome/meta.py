"""What the meta.json of a prepared folder must hold, and what it says in words."""

from collections.abc import Iterator
from typing import Any

FORMAT = "dnalm-genome"
FORMAT_VERSION = 1
FILES = {
    "full": ("train.bin", "val.bin", "segments.npy", "repeats.npy", "base_index.npy"),
    "vocab4": ("train.bin", "val.bin", "segments.npy", "repeats.npy"),
}
"""The files of a folder beside meta.json, by mode."""
SHAPE = {
    "dnalm_version": str,
    "characters": str,
    "vocab_size": int,
    "published": bool,
    "sources": [{"name": str, "bytes": int, "sha256": str}],
    "contigs": [{"name": str, "length": int, "bases": int}],
    "counts": {
        **dict.fromkeys(("bases", "soft_masked", "n", "train_bases", "val_bases"), int),
        **dict.fromkeys(("train_tokens", "val_tokens"), int),
        "other_iupac": dict,
    },
}
"""Type of each value; a dictionary lists keys that must be there, a list has items of its one shape."""
SPLITS = {
    "fraction": {"val_fraction": float, "contig": str, "position": int},
    "contigs": {"val_contigs": [str]},
}
"""Shape of `split`, by its kind."""


def problems(meta: dict[str, Any]) -> list[str]:
    """Return what is missing from a meta.json of this version or is of another type, as dotted names."""
    mode, split = meta.get("mode"), meta.get("split")
    if not isinstance(mode, str) or mode not in FILES:
        return ["mode"]
    kind = split.get("kind") if isinstance(split, dict) else None
    if not isinstance(kind, str) or kind not in SPLITS:
        return ["split"]
    files = {name: {"bytes": int, "sha256": str} for name in FILES[mode]}
    found = list(_problems(meta, SHAPE | {"split": SPLITS[kind], "files": files}, ""))
    if not found:
        letters = meta["characters"]
        if not letters.isascii() or not len(letters) == len(set(letters)) == meta["vocab_size"] > 0:
            found.append("characters")
    return found


def same_bases(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two prepared folders are of the same genome, split at the same place."""
    return _identity(one) == _identity(other)


def origin(meta: dict[str, Any]) -> str:
    """Return what a prepared folder was made from, in words, digests included."""
    sources = ", ".join(f"{source['name']} (SHA-256 {source['sha256'][:8]}...)" for source in meta["sources"])
    return f"{sources} with {held_out(meta)}"


def held_out(meta: dict[str, Any]) -> str:
    """Return what is kept for validation, in words."""
    split = meta["split"]
    if split["kind"] == "contigs":
        return f"contigs {', '.join(split['val_contigs'])} for validation"
    what = "tokens (the published split)" if meta["published"] else "bases"
    return f"the last {100 * split['val_fraction']:g}% of the {what} for validation"


def _identity(meta: dict[str, Any]) -> list[Any]:
    split = meta["split"]
    # The published text is split by token, so that full and vocab4 are never cut at the same base.
    where = split.get("val_fraction") if meta["published"] else split
    return [[source["sha256"] for source in meta["sources"]], meta["published"], where]


def _problems(value: Any, shape: Any, name: str) -> Iterator[str]:
    if not _fits(value, type(shape) if isinstance(shape, dict | list) else shape):
        yield name
    elif isinstance(shape, dict):
        for key, inner in shape.items():
            yield from _problems(value.get(key), inner, f"{name}.{key}".lstrip("."))
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _problems(item, shape[0], f"{name}[{number}]")


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which Python counts as a number
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
