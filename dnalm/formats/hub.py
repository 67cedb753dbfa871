"""Folders of the Hugging Face hub: local, or fetched at a pinned commit; no code in them is run.

`HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` do what huggingface_hub says they do.
"""

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from dnalm.checkpoint import read_pt
from dnalm.errors import InputError, counted, import_extra, shortened
from dnalm.files import read_json, sha256

T = TypeVar("T")

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of a folder's weights, in order of preference."""
FRACTIONS = ("eps", "dropout", "attention_dropout")
"""Fields of a config, by our names, that need not be integers."""
IGNORED_OF_ENCODER = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
"""What a file may hold under the encoder's names although its states do not depend on it."""
ENCODER = ("embeddings.", "encoder.", "pooler.")
"""How the names of an encoder's own tensors begin, behind its prefix."""
POINTER = b"version https://git-lfs"
"""How the small text begins that git leaves in place of a large file which was not fetched."""


def hub_folder(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """Return the folder that holds a model's files; a hub name is fetched once, then read from its cache.

    Args:
        name: a local folder, a file in it, or a hub name such as OWNER/NAME; local files come first. Of a
            folder models--OWNER--NAME of the hub's cache it is the one snapshot.
        revision: commit of a hub name, 40 hexadecimal digits; None for local files.
        wanted: names of the files to fetch; those that the model lacks are left out.

    Raises:
        InputError: if `name` is neither local nor a hub name, or holds several snapshots, no commit is known,
            huggingface_hub is not installed, the files are neither in its cache nor to be fetched, or one
            has another SHA-256 than on the hub.
    """
    local = Path(name).expanduser()
    if name and local.exists():
        folder = local if local.is_dir() else local.parent
        snapshots = sorted(each for each in folder.glob("snapshots/*") if each.is_dir())
        if len(snapshots) > 1:
            shown = " or ".join(map(str, snapshots))
            raise InputError(f"{name}: holds {len(snapshots)} snapshots of a model; give one: {shown}")
        return snapshots[0] if snapshots else folder
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise InputError(f"{name}: expected a folder, or a hub name such as OWNER/NAME; no such folder")
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise InputError(
            f"{name}: no such folder; a hub model needs a pinned commit as revision, 40 hexadecimal digits "
            f"as in https://huggingface.co/{name}/commits/main (a branch can change), got {revision!r}"
        )
    hub = import_extra("huggingface_hub", "interaction", f"{name}: a model by hub name")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(wanted)))
        files = [folder / each for each in wanted if (folder / each).is_symlink()]
        for file in files:
            file.resolve(strict=True)
    except Exception as error:  # offline, not found, no network, a full disk: each has its own kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"{name} at {revision}: not in the hub's cache, and not to be fetched ({reason}); where there is "
            f"a network, run: hf download {name} --revision {revision} (with the same HF_HOME, or into a "
            "folder to give in place of the name)"
        ) from error
    for file in files:
        cached = file.resolve()  # a large file lies in the cache under its SHA-256 on the hub
        if re.fullmatch(r"[0-9a-f]{64}", cached.name) and sha256(cached) != cached.name:
            raise InputError(
                f"{file}: damaged, its SHA-256 is not the hub's; remove {cached}, and run this again"
            )
    return folder


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a model's tensors, on the CPU: safetensors, or a `.bin` of tensors and plain values alone.

    Args:
        path: a hub folder, in which safetensors come first; or a weights file of either kind.

    Raises:
        InputError: if there are no weights, or the file is cut short, a git-lfs pointer, holds something else
            than tensors, or asks for code to be run; the file is named.
    """
    files = [path] if path.is_file() else [path / name for name in WEIGHTS]
    file = next((file for file in files if file.is_file() and file.suffix in (".safetensors", ".bin")), None)
    if file is None:
        raise InputError(f"{path}: expected a folder with {' or '.join(WEIGHTS)}, or such a file")
    with file.open("rb") as opened:
        start = opened.read(len(POINTER))
        if start == POINTER:
            raise InputError(
                f"{file}: expected weights, got a git-lfs pointer; run git lfs pull in its folder"
            )
    if file.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(file)
        except safetensors.SafetensorError as error:
            raise InputError(f"{file}: no safetensors, or cut short ({error}); fetch it again") from error
    if start.startswith(b"PK") and not zipfile.is_zipfile(file):
        raise InputError(f"{file}: cut short, its end is missing; fetch it again")
    tensors = read_pt(file)
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{file}: expected tensors alone, but {key!r} is a {type(value).__name__}")
    return tensors


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Read a JSON file of settings in a hub folder."""
    file = folder / name
    if not file.is_file():
        raise InputError(f"{file}: missing; expected the model's {name} beside its other files")
    content = read_json(file)
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected settings by name, got a {type(content).__name__}; fetch it again")
    return content


def read_shape(path: Path, from_hub: Callable[[Mapping[str, Any]], T]) -> T:
    """Return what `from_hub` makes of the config.json in a hub folder, or beside a weights file."""
    folder = path.parent if path.is_file() else path
    content = read_config(folder)
    try:
        return from_hub(content)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error


def read_fields(
    content: Mapping[str, Any],
    what: str,
    names: Mapping[str, str],
    optional: Set[str],
    required: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the numbers of a config by our names.

    Args:
        content: of config.json.
        what: the expected model, for example a DNABERT-2.
        names: the hub's name of each of ours.
        optional: names of the hub that may be missing.
        required: by the hub's names, the one value that a field may have if it is there.

    Raises:
        InputError: naming all that is missing or of another type or value.
    """
    found = {ours: content[theirs] for ours, theirs in names.items() if theirs in content}
    wrong = [f"no {name}" for name in names.values() if name not in content and name not in optional]
    for ours, value in found.items():
        if type(value) is not int and not (ours in FRACTIONS and type(value) is float):
            kind = "a number" if ours in FRACTIONS else "an integer"
            wrong.append(f"{names[ours]} is {value!r}, expected {kind}")
    wrong += [
        f"{name} is {content[name]!r}, expected {value!r}"
        for name, value in required.items()
        if content.get(name, value) != value
    ]
    if wrong:
        raise InputError(f"expected the config.json of {what}: {'; '.join(wrong)}")
    return found


def encoder_tensors(path: Path, prefix: str, head: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of an encoder alone, and what is left out, in words; raises as `read_tensors`.

    Args:
        path: a hub folder, or a weights file.
        prefix: of each name in a file that has a head, too; it is removed.
        head: prefix of the language-model head's tensors, which need no mention.
    """
    tensors = {name: each for name, each in read_tensors(path).items() if not name.startswith(head)}
    before = prefix if any(name.startswith(prefix) for name in tensors) else ""
    others = [name for name in tensors if not name.startswith(before or ENCODER)]
    if len(others) in (0, len(tensors)):  # nothing beside an encoder, or no encoder, which is refused later
        others, words = [], ""
    else:
        words = f"{path}: {counted(len(others), 'tensor')} beside the encoder left out: "
        words += shortened(", ".join(others))
    encoder = {name.removeprefix(before): tensors[name] for name in tensors if name not in others}
    return {name: each for name, each in encoder.items() if name not in IGNORED_OF_ENCODER}, words
