"""Pretrained encoders by name: a model of `dnalm pretrain`, a Hugging Face hub name, or a hub folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm import checkpoint
from dnalm.checkpoint import weights_digest
from dnalm.config import nearest
from dnalm.errors import InputError
from dnalm.formats.hub import hub_folder, in_cache, is_offline, read_config
from dnalm.models.chemberta import ChemBERTa, open_chemberta
from dnalm.models.core import load_core
from dnalm.models.dnabert2 import DNABert2, open_dnabert2
from dnalm.models.gpt import GPT
from dnalm.models.pretrained import PretrainedConfig, PretrainedEncoder
from dnalm.models.token_windows import Window
from dnalm.tokens.bpe import DNABPE, RUN, BPETokens
from dnalm.tokens.characters import CharacterTokenizer
from dnalm.tokens.smiles import How, SmilesTokens, SmilesVocabulary

TOKENS = 510
"""Tokens read of a gene, from its start, unless it is read in windows."""
SEGMENTS = 32
"""States of a gene: consecutive segments of equally many tokens, each with the mean of its states."""
HUB_NAMES = {"dnabert2": "zhihan1996/DNABERT-2-117M", "chemberta": "DeepChem/ChemBERTa-77M-MLM"}
"""Short names of models on the hub."""
FILES = (
    "config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors",
    "pytorch_model.bin",
)
"""Files of a hub folder that are read."""


def open_gene_encoder(name: str, revision: str, gene_windows: int) -> PretrainedEncoder:
    """Open a pretrained encoder of genes.

    Args:
        name: a model of `dnalm pretrain` (folder or `.pt` file), dnabert2, a hub name, or a hub folder.
        revision: commit of a hub name; empty for the pinned one.
        gene_windows: 0 to read the first `TOKENS` tokens, or how many windows, evenly spaced, to read.

    Raises:
        InputError: if there is none, a file is missing, damaged or of another model, or it is untrained.
    """
    path = Path(name)
    if path.suffix == ".pt" or any((path / file).exists() for file in ("checkpoint.json", "checkpoint")):
        return _open_core(path, gene_windows)
    folder = _hub_folder(name, revision, "a DNABERT-2", roberta=False)
    tokenizer, module = DNABPE(folder), open_dnabert2(folder)
    _check_vocabulary(folder, tokenizer.vocab_size, module.config.vocab_size)

    def tokenize(sequence: str) -> list[Window]:
        if gene_windows:
            return [_without_ends(each) for each in tokenizer.windows(sequence, gene_windows, TOKENS)]
        return [_without_ends(tokenizer.encode(sequence, TOKENS))]

    identity = _identity(name, module, tokenizer.digest, _gene_reading(gene_windows))
    return PretrainedEncoder(name, module, identity, tokenize, SEGMENTS)


def open_molecule_encoder(name: str, revision: str, smiles_tokenizer: How) -> PretrainedEncoder:
    """Open a pretrained encoder of molecules.

    Args:
        name: chemberta, a hub name, or a hub folder.
        revision: commit of a hub name; empty for the pinned one.
        smiles_tokenizer: hub, as the hub's tokenizer splits a SMILES; atomwise, atom by atom.

    Raises:
        InputError: if there is none, or a file is missing, damaged or of another model.
    """
    folder = _hub_folder(name, revision, "a ChemBERTa", roberta=True)
    vocabulary, module = SmilesVocabulary(folder), open_chemberta(folder)
    _check_vocabulary(folder, vocabulary.vocab_size, module.config.vocab_size)
    longest = module.config.longest

    def tokenize(smiles: str) -> list[Window]:
        return [_without_ends(vocabulary.encode(smiles, smiles_tokenizer, longest))]

    def report_losses(molecules: Sequence[str]) -> str:
        return vocabulary.report(molecules, smiles_tokenizer, longest).as_text()

    identity = _identity(name, module, vocabulary.digest, {"smiles_tokenizer": smiles_tokenizer})
    return PretrainedEncoder(name, module, identity, tokenize, None, report_losses)


def reopen(side: str, config: PretrainedConfig, reason: str) -> PretrainedEncoder:
    """Open the pretrained encoder, gene or molecule, that a trained pair model was trained with.

    `reason` says why the encoder is needed.

    Raises:
        InputError: if it cannot be opened, or is another one than in training.
    """
    try:
        if side == "gene":
            windows = config.identity["windows"]
            count = windows if isinstance(windows, int) else 0
            opened = open_gene_encoder(config.source, config.revision, count)
        else:
            opened = open_molecule_encoder(
                config.source, config.revision, config.identity["smiles_tokenizer"]
            )
    except InputError as error:
        raise InputError(
            f"{config.source}: the encoder that the model was trained with cannot be opened ({error}), and "
            f"{reason}; restore it, or train again"
        ) from error
    # Weights that were trained further are in the model.
    needed = {name: value for name, value in config.identity.items() if config.frozen or name != "weights"}
    if changed := [name for name, value in needed.items() if opened.identity.get(name) != value]:
        what = "weights" if "weights" in changed else " and ".join(changed)
        raise InputError(
            f"{config.source}: has other {what} than the encoder that the model was trained with; restore "
            "that one, or train again"
        )
    return opened


def check_encoder_name(name: str, option: str, revision: str, known: Sequence[str]) -> None:
    """Refuse a name that is most likely mistyped: neither known, nor a path that exists, nor on the hub.

    A name OWNER/NAME may be the hub's if its commit is given or the hub's cache holds it, or if no folder
    OWNER exists and it could be fetched. `option` is the parameter that gives it.
    """
    path, encoder = Path(name), option.removesuffix("_encoder")
    if name in known or path.exists():
        return
    if name.count("/") == 1:
        in_folder = path.parent.is_dir()
        if revision or in_cache(name) or not (in_folder or is_offline()):
            return
        siblings = sorted(each.name for each in path.parent.iterdir() if each.is_dir()) if in_folder else []
        raise InputError(
            f"`{option}`: there is no folder {name}, and no model of this hub name in the hub's cache"
            f"{nearest(path.name, siblings) or '; check the path.'} If the hub's is meant, run `hf download "
            f"{name} --revision COMMIT` where there is a network, with the same HF_HOME, and give "
            f"`{encoder}_revision`: the 40 digits that https://huggingface.co/{name}/commits/main shows"
        )
    raise InputError(
        f"`{option}`: expected {', '.join(known)}, a hub name such as OWNER/NAME, or the folder of a model, "
        f"got {name!r}{nearest(name, list(known))}"
    )


def _hub_folder(name: str, revision: str, what: str, *, roberta: bool) -> Path:
    """Return a hub folder whose config is of the kind of model that is needed."""
    hub_name = name if Path(name).exists() else HUB_NAMES.get(name, name)
    folder = hub_folder(hub_name, revision or None, FILES)
    kind = read_config(folder).get("model_type")
    if (kind == "roberta") != roberta:
        raise InputError(
            f"{folder}: expected {what}, got a model of type {kind or 'none'}; genes are read by "
            "`dna_encoder`, molecules by `mol_encoder`"
        )
    return folder


def _open_core(path: Path, gene_windows: int) -> PretrainedEncoder:
    """Open a core of `dnalm pretrain`, whose tokens are bases."""
    core = load_core(path, None)
    tokenizer = CharacterTokenizer(core.characters)
    module = GPT(core.encoder, tokenizer.vocab_size)
    checkpoint.load_strict(core.tensors, module.state_dict(), core.origin)

    def window(begin: int, bases: str) -> Window:
        first = np.arange(begin, begin + len(bases))
        ids = tokenizer.encode(bases).astype(np.int32)
        return Window(ids, np.ones(len(bases), dtype=np.bool_), np.stack([first, first + 1], axis=1))

    def tokenize(sequence: str) -> list[Window]:
        return [window(*piece) for piece in cut(sequence, core.encoder.block_size, gene_windows)]

    identity = _identity(str(path), module, core.characters, _gene_reading(gene_windows))
    return PretrainedEncoder(str(path), module, identity, tokenize, SEGMENTS, caution=core.caution)


def _gene_reading(gene_windows: int) -> dict[str, Any]:
    return {"windows": gene_windows or f"first {TOKENS}", "segments": SEGMENTS}


def _identity(
    source: str, module: GPT | DNABert2 | ChemBERTa, tokenizer: str, reading: dict[str, Any]
) -> dict[str, Any]:
    """Return all that determines an encoder's states: its name, weights and shape, and how it reads."""
    path = Path(source)
    return {
        "name": path.parent.name if path.name == "checkpoint" else path.name,
        "weights": weights_digest(module),
        "config": asdict(module.config),
        "tokenizer": tokenizer,
        **reading,
    }


def _check_vocabulary(folder: Path, tokens: int, rows: int) -> None:
    """Refuse a tokenizer with more ids than the encoder's embedding has rows."""
    if tokens > rows:
        raise InputError(
            f"{folder}: its tokenizer has {tokens:,} tokens and its weights have rows for {rows:,}: files of "
            "two models are mixed; fetch the model again"
        )


def _without_ends(tokens: BPETokens | SmilesTokens) -> Window:
    """Return a window whose special tokens at both ends have no state, except in a text without a token."""
    has_state = np.ones(len(tokens.ids), dtype=np.bool_)
    has_state[[0, -1]] = len(tokens.ids) == 2
    return Window(tokens.ids, has_state, tokens.spans)


class Piece(NamedTuple):
    """Bases that an encoder reads together."""

    begin: int  # First base in the gene as it was given, from 0
    bases: str  # A, C, G and T


def cut(sequence: str, longest: int, count: int) -> list[Piece]:
    """Cut a gene into the pieces that an encoder reads whose tokens are bases, in order.

    Args:
        sequence: DNA or RNA, in either case; it is cut at every other letter, N above all.
        longest: bases of a piece, at most.
        count: 0 for the first `TOKENS` bases, or how many pieces, evenly spaced over the gene.

    Raises:
        InputError: if there is no base.
    """
    runs = [Piece(found.start(), found[0].upper().replace("U", "T")) for found in RUN.finditer(sequence)]
    if not runs:
        raise InputError(
            f"a gene has no base: expected A, C, G and T, got {sequence[:20]!r} ({len(sequence):,} letters)"
        )
    pieces = [
        Piece(begin + at, bases[at : at + longest])
        for begin, bases in runs
        for at in range(0, len(bases), longest)
    ]
    if count:
        chosen = np.unique(np.linspace(0, len(pieces) - 1, min(count, len(pieces))).round().astype(int))
        return [pieces[at] for at in chosen]
    ends = np.cumsum([len(piece.bases) for piece in pieces])
    first = [
        (piece, TOKENS - end + len(piece.bases)) for piece, end in zip(pieces, ends.tolist(), strict=True)
    ]
    return [Piece(piece.begin, piece.bases[:left]) for piece, left in first if left > 0]
