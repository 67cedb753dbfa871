"""What to prepare, checked before any work."""

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from dnalm import files
from dnalm.errors import InputError
from dnalm.formats import is_twobit, read_blocks
from dnalm.formats.fasta import Source
from dnalm.genome.folder import is_prepared

TWOBIT_TEXT, GZIP_TEXT = 4.1, 4.5
"""Characters of text for each byte of a file: four bases a byte and newlines; a usual ratio of gzip."""
VAL_FRACTION = 0.1
"""Default share of the bases for validation."""


@dataclass(frozen=True)
class Plan:
    """What to prepare, and where."""

    genomes: tuple[Path, ...]
    out: Path
    modes: tuple[str, ...] = ("full", "vocab4")
    alphabet: Literal["auto", "hg38", "file"] = "auto"
    val_fraction: float = VAL_FRACTION
    val_contigs: tuple[str, ...] = ()
    published: bool = False
    overwrite: bool = False

    @property
    def train_share(self) -> Fraction:
        """1 - val_fraction, as the decimal number that was given."""
        return 1 - Fraction(str(self.val_fraction))

    def check(self) -> None:
        """Find every mistake that shows before the full genome is read."""
        if not self.genomes:
            raise InputError("prepare needs at least one genome, a FASTA or .2bit file; got none")
        if not 0 < self.val_fraction < 1:
            raise InputError(f"`val_fraction` must be above 0 and below 1, got {self.val_fraction}")
        if self.published and self.val_contigs:
            raise InputError("`published` splits by token: it goes with `val_fraction`, not `val_contigs`")
        if self.val_contigs and self.val_fraction != VAL_FRACTION:
            raise InputError("`val_contigs` and `val_fraction` are two ways to split; choose one")
        for path in self.genomes:
            with closing(Source(path)) as source:
                if self.published and is_twobit(source):
                    raise InputError(f"{path}: `published` copies a text: it needs FASTA")
                next(read_blocks(source))
        existing = next(folder for folder in (self.out, *self.out.parents) if folder.exists())
        if not existing.is_dir():
            raise InputError(f"`out` {self.out}: expected a folder, but {existing} is a file; choose another")
        self.check_folders()
        files.need_space(self.out, self.disk)

    def check_folders(self) -> None:
        """Check the folders that are to be replaced."""
        for folder in (self.out / mode for mode in self.modes):
            if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
                continue
            if not is_prepared(folder):
                raise InputError(f"{folder}: not written by dnalm prepare; choose another `out`")
            if not self.overwrite:
                raise InputError(
                    f"{folder}: holds a prepared genome; choose another `out`, or `overwrite` it"
                )

    @property
    def text(self) -> int:
        """Estimated characters of text in all genomes."""
        total = 0.0
        for path in self.genomes:
            with closing(Source(path)) as source:
                ratio = TWOBIT_TEXT if is_twobit(source) else GZIP_TEXT if source.is_gzip else 1.0
            total += path.stat().st_size * ratio
        return int(total)

    @property
    def disk(self) -> int:
        """Estimated bytes needed on disk while writing: a byte a character, and the validation part twice."""
        return int(self.text * len(self.modes) * (1 + (0 if self.val_contigs else self.val_fraction)))
