"""Why a model predicts what it does for a sequence: mutagenesis, DeepLIFT, dependencies, motifs.

Shapes: L letters of a sequence.
"""

import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dnalm.dna import NOT_A_BASE, encode, other_strand
from dnalm.errors import InputError
from dnalm.results.use import Explanation
from dnalm.use.attribution import likelihood_effects, log_likelihoods, track_effects, track_sums
from dnalm.use.binding import BindingModel
from dnalm.use.deeplift import Contributions, deeplift
from dnalm.use.language import LanguageModel
from dnalm.use.motif_matches import MotifLibrary, effect_matrix, stretches
from dnalm.use.sequences import check_sequences

Method = Literal["auto", "mutagenesis", "deeplift"]
Array = npt.NDArray[np.float32]
LONGEST = 2_000
"""Letters of a sequence that can be explained: its map has as many rows and columns."""
SHUFFLES = 20
"""Shuffled sequences whose mean output is the reference."""
SMALL_DELTA = 0.01
"""DeepLIFT whose contributions miss the difference of outputs by more is not taken as the result."""


def check_method(model: LanguageModel | BindingModel, method: Method) -> None:
    """Raise InputError if a model cannot be explained by a method, or a package for it is missing."""
    if method == "deeplift" and not reads_one_hot(model):
        raise InputError(
            "`method` deeplift is for a CNN, which reads one-hot bases; mutagenesis is for any model"
        )
    if method == "deeplift" and not has_deeplift():
        raise InputError('`method` deeplift needs tangermeme; run: pip install "dnalm[explain]"')


def has_deeplift() -> bool:
    """Return whether the package of DeepLIFT is installed."""
    return importlib.util.find_spec("tangermeme") is not None


def reads_one_hot(model: object) -> bool:
    """Return whether a model is one that DeepLIFT can explain."""
    return isinstance(model, BindingModel) and model.module.shape.entry.reads == "bases"


def explain(
    model: LanguageModel | BindingModel,
    sequences: Sequence[str],
    *,
    method: Method = "auto",
    motifs: MotifLibrary | str | Path | None = None,
) -> list[Explanation]:
    """Explain a model's output for each of some sequences.

    Args:
        model: a language model or a binding model.
        sequences: DNA in IUPAC letters, at most `LONGEST` each.
        method: of the attributions. mutagenesis: the output less its mean over the four bases. deeplift: for
            a CNN, and where it converges. auto: deeplift where it is installed and does, else mutagenesis.
        motifs: a library, or its file, that the important stretches are compared with.

    Raises:
        InputError: naming the sequence, by its index from 0, that is empty, too long or has other letters; or
            if the method is not for this model, or not installed.
    """
    check_sequences(sequences)
    check_method(model, method)
    for index, sequence in enumerate(sequences):
        if len(sequence) > LONGEST:
            raise InputError(
                f"sequence {index} has {len(sequence):,} bases, and at most {LONGEST:,} are explained"
            )
    library = motifs if motifs is None or isinstance(motifs, MotifLibrary) else MotifLibrary(Path(motifs))
    if isinstance(model, LanguageModel):
        return [_explain_language(model, sequence, library) for sequence in sequences]
    return [_explain_binding(model, sequence, method, library) for sequence in sequences]


def _explain_language(model: LanguageModel, sequence: str, library: MotifLibrary | None) -> Explanation:
    """Explain the log-likelihood of one sequence."""
    effects, dependencies = likelihood_effects(model, sequence, dependencies=True)
    log_p = model.both_strands([sequence])[0]
    p = np.ma.masked_invalid(np.exp(log_p))
    probabilities = p.mean(axis=0).filled(0.25)  # [L, 4]; alike where neither strand predicts
    shuffled = shuffles(sequence)
    outputs = log_likelihoods(
        np.stack(model.both_strands([sequence, *shuffled])), [sequence, *shuffled]
    ).mean(0)
    strands = _by_mutagenesis(effects)
    attribution = strands.mean(0)
    return Explanation(
        sequence=sequence,
        method="mutagenesis",
        output=float(outputs[0]),
        reference=float(outputs[1:].mean()),
        strands=correlation(*strands),
        delta=float("nan"),
        effects=effects.mean(0),
        attribution=attribution,
        stretches=stretches(attribution, probabilities.astype(np.float64), library),
        probabilities=probabilities.astype(np.float32),
        dependencies=dependencies,
    )


def _explain_binding(
    model: BindingModel, sequence: str, method: Method, library: MotifLibrary | None
) -> Explanation:
    """Explain the sum of the track of one sequence."""
    effects = track_effects(model, sequence)
    length = model.longest or len(sequence)
    texts = [sequence, *shuffles(sequence)]
    pieces = [[each[at : at + length] for at in range(0, len(each), length)] for each in texts]
    sums = track_sums(model, list(itertools.chain.from_iterable(pieces))).mean(0)
    output, *references = sums.reshape(len(texts), -1).sum(1).tolist()
    forward, turned = model.predict(pieces[0]), model.predict(list(map(other_strand, pieces[0])))
    track = np.concatenate([(one + other[::-1]) / 2 for one, other in zip(forward, turned, strict=True)])
    lifted = _deeplift(model, sequence, method)
    use_deeplift = lifted is not None and lifted.delta <= SMALL_DELTA
    if lifted is not None and use_deeplift:
        strands = np.stack([_own(each, sequence) for each in lifted.values])
    else:
        strands = _by_mutagenesis(effects)
    attribution = strands.mean(0)
    matrix = effect_matrix(effects.mean(0))
    return Explanation(
        sequence=sequence,
        method="deeplift" if use_deeplift else "mutagenesis",
        output=output,
        reference=lifted.reference if lifted is not None and use_deeplift else float(np.mean(references)),
        strands=correlation(*strands),
        delta=float("nan") if lifted is None else lifted.delta,
        effects=effects.mean(0),
        attribution=attribution,
        stretches=stretches(attribution, matrix, library),
        track=track,
        contributions=None if lifted is None else lifted.values.mean(0),
    )


def _deeplift(model: BindingModel, sequence: str, method: Method) -> Contributions | None:
    """Return DeepLIFT's contributions; None where it is not wanted or cannot be."""
    wanted = method == "deeplift" or (method == "auto" and reads_one_hot(model) and has_deeplift())
    if not wanted or (encode(sequence) == NOT_A_BASE).any():
        return None
    return deeplift(model.module, sequence, model.device)


def shuffles(sequence: str) -> list[str]:
    """Return `SHUFFLES` sequences with the bases of one in random order; other letters stay."""
    draws = np.random.default_rng(0)
    letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    at = np.flatnonzero(encode(sequence) != NOT_A_BASE)
    shuffled = []
    for _ in range(SHUFFLES):
        other = letters.copy()
        other[at] = letters[draws.permutation(at)]
        shuffled.append(other.tobytes().decode("ascii"))
    return shuffled


def _by_mutagenesis(effects: Array) -> Array:
    """Return the output less its mean over the four bases at each position, [2, L], of effects [2, L, 4]."""
    attribution: Array = -effects.mean(axis=2)
    return attribution


def _own(values: Array, sequence: str) -> Array:
    """Return of values [L, 4] those of the bases of a sequence, [L]."""
    return np.take_along_axis(values, encode(sequence).astype(np.int64)[:, None], axis=1)[:, 0]


def correlation(one: Array, other: Array) -> float:
    """Return Pearson's R of two tracks, [L] each; NaN where one does not vary."""
    known = ~(np.isnan(one) | np.isnan(other))
    if known.sum() < 2 or not np.ptp(one[known]) or not np.ptp(other[known]):
        return float("nan")
    return float(np.corrcoef(one[known], other[known])[0, 1])
