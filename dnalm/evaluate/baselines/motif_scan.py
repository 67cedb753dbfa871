"""The motif as a baseline: a scan of each window, by the rule that made the labels.

A site that a window's edge cuts cannot be seen from inside the window. Where the labels were made from the
same matrix, the scan errs nowhere else.

Shapes: N windows; L bases in a window.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASE_CODES
from dnalm.errors import InputError
from dnalm.formats.motif import Motif
from dnalm.genome.motif_scan import log_odds, site_scores


@dataclass(frozen=True)
class MotifScan:
    """The scan as a model."""

    motif: Motif
    threshold: float
    """Least score of a site, above 0, in nats."""
    every_site: bool = False
    """Score every site, also where a better one begins within half a motif."""

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise InputError(f"motif {self.motif.name}: `threshold` must be above 0, got {self.threshold:g}")

    def predict(self, letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return a score at each base, [N, L], of ASCII letters as a `BindingSet` has them, [N, L]."""
        matrix = log_odds(self.motif)
        return site_scores(BASE_CODES[letters], matrix, self.threshold, every_site=self.every_site)
