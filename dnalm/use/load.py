"""Trained models that work on plain strings: `dnalm.load(path)`."""

import warnings
from pathlib import Path

import torch

from dnalm.device import choose_device, choose_precision
from dnalm.errors import InputError
from dnalm.models.open import Opened, OpenedBinding, OpenedLanguage, open_model
from dnalm.use.binding import BindingModel
from dnalm.use.language import LanguageModel
from dnalm.use.pairs import PairModel


def load(
    path: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    species: str | None = None,
    pairs: str | Path | None = None,
    cache: str | Path | None = None,
) -> LanguageModel | BindingModel | PairModel:
    """Open a trained model of any kind.

    Args:
        path: a folder written by `dnalm pretrain`, `finetune`, `baseline` or `interact train`, or a `.pt`
            file of the published project.
        device: auto, cpu, cuda or mps.
        precision: fp32, or auto, bf16 or fp16, which are faster and give other digits; not for a pair model.
        species: for a language model of several genomes with a species token: the name of one of them; one
            that is not given is unknown.
        pairs: for a pair model: the prepared pairs that it was trained on, so that genes can be named by id.
        cache: for a pair model: a folder that keeps the states of frozen encoders.

    Raises:
        InputError: if `path` is no model, is damaged, or was written by a newer dnalm; or if `device` does
            not exist here, or cannot compute in `precision`.
    """
    opened = open_model(Path(path))
    if species is not None:
        _set_species(opened, species)
    chosen = torch.device(choose_device(device))
    precision = choose_precision(precision, chosen.type)
    if not isinstance(opened, OpenedBinding | OpenedLanguage):
        folders = (None if each is None else Path(each) for each in (pairs, cache))
        return PairModel(opened, chosen, *folders)
    if pairs is not None or cache is not None:
        raise InputError(f"{path}: `pairs` and `cache` are for models of genes and molecules")
    if isinstance(opened, OpenedBinding):
        return BindingModel(opened, chosen, precision)
    if opened.caution:
        warnings.warn(opened.caution, stacklevel=2)
    return LanguageModel(opened, chosen, precision)


def _set_species(opened: Opened, name: str) -> None:
    """Let a language model read sequences as of the genome `name`."""
    token = opened.model.transformer.species if isinstance(opened, OpenedLanguage) else None
    if token is None:
        raise InputError("`species` is for language models with a species token; this model has none")
    if name not in token.names:
        raise InputError(f"`species`: this model knows {', '.join(token.names)}; got {name!r}")
    token.row = token.names.index(name)
