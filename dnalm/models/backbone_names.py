"""Frozen encoders by what a person calls them: a folder of dnalm's or of the hub, or a hub name."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnalm import checkpoint
from dnalm.checkpoint import weights_digest
from dnalm.errors import InputError
from dnalm.formats.hub import hub_folder, read_config
from dnalm.models.backbones import Backbone, Window, Windows
from dnalm.models.chemberta import ChemBERTa, open_chemberta
from dnalm.models.core import load_core
from dnalm.models.dnabert2 import DNABert2, open_dnabert2
from dnalm.models.gpt import GPT
from dnalm.tokens.bpe import DNABPE, RUN, BPETokens
from dnalm.tokens.characters import CharacterTokenizer
from dnalm.tokens.smiles import How, SmilesTokens, SmilesVocabulary

TOKENS = 510
"""Of a gene, read from its start, unless it is read in windows."""
SEGMENTS = 32
"""Pieces of a gene, equal in tokens, each with the mean of its states."""
HUB_NAMES = {"dnabert2": "zhihan1996/DNABERT-2-117M", "chemberta": "DeepChem/ChemBERTa-77M-MLM"}
"""What a command line may say in place of a hub name."""
FILES = (
    "config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors",
    "pytorch_model.bin",
)
"""Of a hub folder, those that are read."""


def dna_backbone(name: str, revision: str | None, gene_windows: int) -> Backbone:
    """Open an encoder of genes.

    Args:
        name: a model of `dnalm pretrain` (folder or `.pt` file), dnabert2, a hub name, or a hub's folder.
        revision: commit of a hub name.
        gene_windows: 0 to read the first `TOKENS` tokens, or how many windows, evenly spaced, to read.

    Raises:
        InputError: if there is none, a file is missing, damaged or of another model, or it is untrained.
    """
    path = Path(name)
    if path.suffix == ".pt" or any((path / f).exists() for f in ("checkpoint.json", "checkpoint")):
        return _genome(path, gene_windows)
    folder = _hub(name, revision, "a DNABERT-2", roberta=False)
    return _dnabert2(folder, name, gene_windows)


def molecule_backbone(name: str, revision: str | None, how: How) -> Backbone:
    """Open an encoder of molecules.

    Args:
        name: chemberta, a hub name, or a hub's folder.
        revision: commit of a hub name.
        how: a SMILES is read: as the hub's tokenizer does, or atom by atom.

    Raises:
        InputError: if there is none, or a file is missing, damaged or of another model.
    """
    return _chemberta(_hub(name, revision, "a ChemBERTa", roberta=True), name, how)


def _hub(name: str, revision: str | None, what: str, *, roberta: bool) -> Path:
    """Return a hub folder, after a look at what its config says it is."""
    folder = hub_folder(name if Path(name).exists() else HUB_NAMES.get(name, name), revision, FILES)
    kind = read_config(folder).get("model_type")
    if (kind == "roberta") != roberta:
        raise InputError(
            f"{folder}: expected {what}, got a model of type {kind or 'none'}; genes are read by "
            "--dna-encoder, molecules by --mol-encoder"
        )
    return folder


def _genome(where: Path, gene_windows: int) -> Backbone:
    """Open a core that `dnalm pretrain` has made."""
    core = load_core(where, None)
    tokenizer = CharacterTokenizer(core.characters)
    encoder = GPT(core.encoder, tokenizer.vocab_size)
    checkpoint.put(core.tensors, encoder.state_dict(), core.origin)

    def windows(sequence: str) -> list[Window]:
        pieces = cut(sequence, core.encoder.block_size, gene_windows)
        return [
            Window(
                tokenizer.encode(bases).astype(np.int32),
                np.ones(len(bases), dtype=np.bool_),
                np.stack([np.arange(len(bases)), np.arange(1, len(bases) + 1)], axis=1) + begin,
            )
            for begin, bases in pieces
        ]

    return _of_genes(str(where), encoder, core.characters, windows, gene_windows, core.caution)


def _dnabert2(folder: Path, source: str, gene_windows: int) -> Backbone:
    """Open a DNABERT-2 or a DNABERT-S; `source` is what the user calls it."""
    tokenizer, encoder = DNABPE(folder), open_dnabert2(folder)
    _check_vocabulary(folder, tokenizer.vocab_size, encoder.config.vocab_size)

    def windows(sequence: str) -> list[Window]:
        if gene_windows:
            return [_between(each) for each in tokenizer.windows(sequence, gene_windows, TOKENS)]
        return [_between(tokenizer.encode(sequence, TOKENS))]

    return _of_genes(source, encoder, tokenizer.digest, windows, gene_windows)


def _of_genes(
    source: str,
    encoder: GPT | DNABert2,
    tokenizer: str,
    windows: Windows,
    gene_windows: int,
    caution: str = "",
) -> Backbone:
    """Return an encoder of genes, whose states are kept as segments."""
    read = {"windows": gene_windows or f"first {TOKENS}", "segments": SEGMENTS}
    identity = _identity(source, encoder, tokenizer, read)
    return Backbone(source, encoder, identity, windows, SEGMENTS, caution=caution)


def _chemberta(folder: Path, source: str, how: How) -> Backbone:
    """Open a ChemBERTa; `source` is what the user calls it."""
    vocabulary, encoder = SmilesVocabulary(folder), open_chemberta(folder)
    _check_vocabulary(folder, vocabulary.vocab_size, encoder.config.vocab_size)
    longest = encoder.config.longest

    def windows(smiles: str) -> list[Window]:
        return [_between(vocabulary.encode(smiles, how, longest))]

    def report(molecules: Sequence[str]) -> str:
        return vocabulary.report(molecules, how, longest).as_text()

    identity = _identity(source, encoder, vocabulary.digest, {"smiles_tokenizer": how})
    return Backbone(source, encoder, identity, windows, None, report)


def _identity(
    source: str, encoder: GPT | DNABert2 | ChemBERTa, tokenizer: str, read: dict[str, Any]
) -> dict[str, Any]:
    """Return all that decides an encoder's states: what it is called, its weights and shape, how it reads."""
    path = Path(source)
    return {
        "name": path.parent.name if path.name == "checkpoint" else path.name,
        "weights": weights_digest(encoder),
        "config": asdict(encoder.config),
        "tokenizer": tokenizer,
        **read,
    }


def _check_vocabulary(folder: Path, tokens: int, rows: int) -> None:
    """Refuse a tokenizer whose ids are not all rows of the encoder's table."""
    if tokens > rows:
        raise InputError(
            f"{folder}: its tokenizer has {tokens:,} tokens and its weights have rows for {rows:,}: files of "
            "two models are mixed; fetch the model whole"
        )


def _between(tokens: BPETokens | SmilesTokens) -> Window:
    """Return a window of tokens whose first and last are special: they stand for a text without a token."""
    kept = np.ones(len(tokens.ids), dtype=np.bool_)
    kept[[0, -1]] = len(tokens.ids) == 2
    return Window(tokens.ids, kept, tokens.spans)


class Piece(NamedTuple):
    """What is read at once of a gene by an encoder whose tokens are bases."""

    begin: int
    """Where it begins in the gene as it was given, counted from 0."""
    bases: str
    """A, C, G and T."""


def cut(sequence: str, longest: int, count: int) -> list[Piece]:
    """Return what is read of a gene by an encoder whose tokens are bases, in order.

    Args:
        sequence: DNA or RNA, in either case; it is cut at every other letter, N above all.
        longest: bases of a piece, at most.
        count: 0 for the first `TOKENS` bases, or how many pieces, evenly spaced over the gene.

    Raises:
        InputError: if no base is left.
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
    kept, left = [], TOKENS
    for begin, bases in pieces:
        kept.append(Piece(begin, bases[:left]))
        left -= len(kept[-1].bases)
        if not left:
            break
    return kept
