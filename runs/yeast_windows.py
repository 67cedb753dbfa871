"""Windows of the yeast battery as BED: tiles of some contigs, or those with a peak and as many without.

python runs/yeast_windows.py GENOME --contigs I,II [--every N] [--peaks BED] > windows.bed
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from dnalm.formats.bed import read_bed
from dnalm.formats.indexed import IndexedGenome

LENGTH = 300


def main() -> None:
    """Print the windows, in the order of the genome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("genome", type=Path)
    parser.add_argument("--contigs", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--peaks", type=Path)
    options = parser.parse_args()
    with IndexedGenome(options.genome) as genome:
        lengths = {name: genome.lengths[name] for name in options.contigs.split(",")}
    random, peaks = np.random.default_rng(0), list(read_bed(options.peaks)) if options.peaks else []
    for contig, length in lengths.items():
        starts = np.arange(0, length - LENGTH + 1, LENGTH * options.every)
        if options.peaks:
            spans = [(one.start, one.end) for one in peaks if one.contig == contig]
            has = np.array([any(a < at + LENGTH and b > at for a, b in spans) for at in starts])
            others = random.choice(starts[~has], min(int(has.sum()), int((~has).sum())), replace=False)
            starts = np.sort(np.concatenate([starts[has], others]))
        sys.stdout.writelines(f"{contig}\t{at}\t{at + LENGTH}\n" for at in starts.tolist())


if __name__ == "__main__":
    main()
