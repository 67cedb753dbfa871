"""k-mers as numbers, and their hashes.

Shapes: N sequences; L bases.
"""

import numpy as np
import numpy.typing as npt

from dnalm.dna import NOT_A_BASE

Letters = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]


def kmers_of(codes: Letters, k: int, *, both_strands: bool = False) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """Return the k-mers of `BASE_CODES`, [N, L], and which hold A, C, G and T alone; both [N, L - k + 1].

    `both_strands` takes the lesser of each k-mer and its reverse complement; k is at most 32. There are none
    where L is less than k.
    """
    digits = codes.astype(np.uint64) & np.uint64(3)
    kmers = _words(digits, k)
    if both_strands:
        kmers = np.minimum(kmers, _words(3 - digits[:, ::-1], k)[:, ::-1])
    others = codes == NOT_A_BASE
    if not others.any():
        return kmers, np.ones(kmers.shape, dtype=np.bool_)
    before = np.pad(np.cumsum(others, axis=1), ((0, 0), (1, 0)))
    return kmers, before[:, k:] == before[:, : kmers.shape[1]]


def _words(digits: Keys, k: int) -> Keys:
    """Return the numbers of k digits of base 4, [N, L - k + 1], each made of two halves side by side."""
    if k == 1:
        return digits
    half = _words(digits, k // 2)
    words = half[:, : -(k // 2)] << np.uint64(2 * (k // 2)) | half[:, k // 2 :]
    return words if k % 2 == 0 else words[:, :-1] << np.uint64(2) | digits[:, k - 1 :]


def hashed(kmers: Keys) -> Keys:
    """Return a 64-bit hash of each k-mer, different for different k-mers (splitmix64; Steele et al. 2014)."""
    x = kmers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)
