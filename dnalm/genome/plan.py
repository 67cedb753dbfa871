"""What to prepare, checked before any work."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from dnalm import files
from dnalm.errors import InputError
from dnalm.formats import is_twobit, read_blocks
from dnalm.formats.fasta import Source
from dnalm.genome.folder import is_prepared, read_meta

UNPACKED = {"2bit": 4.1, "gzip": 4.5, "plain": 1.0}
"""Characters of text for each byte of a file: four bases a byte and newlines; what gzip usually reaches."""


VAL_FRACTION = 0.1
"""Share of the bases kept for validation unless told otherwise."""


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
        """1 - val_fraction, as the decimal number that was typed."""
        return 1 - Fraction(str(self.val_fraction))

    def check(self) -> None:
        """Look for every mistake that can be seen before reading the genome whole.

        Raises:
            InputError: at the first one.
        """
        if not self.genomes:
            raise InputError("prepare needs at least one genome, a FASTA or .2bit file; got none")
        if not 0 < self.val_fraction < 1:
            raise InputError(
                f"--val-fraction must be above 0 and below 1, got {self.val_fraction}; 0.1 is usual"
            )
        if self.published and self.val_contigs:
            raise InputError(
                "--published splits by token: it goes with --val-fraction, not with --val-contigs"
            )
        if self.val_contigs and self.val_fraction != VAL_FRACTION:
            raise InputError(
                f"--val-contigs {','.join(self.val_contigs)} and --val-fraction {self.val_fraction} "
                "are two ways to split; choose one"
            )
        for path in self.genomes:
            if not path.exists():
                raise InputError(f"{path}: no such file; prepare needs a genome in FASTA or .2bit")
            source = Source(path)
            if self.published and is_twobit(source):
                raise InputError(f"{path}: --published copies a text: it needs FASTA")
            next(read_blocks(source))
            source.close()
        there = next(folder for folder in (self.out, *self.out.parents) if folder.exists())
        if not there.is_dir():
            raise InputError(f"--out {self.out}: expected a folder, but {there} is a file; choose another")
        self.check_folders()
        files.need_space(self.out, self.disk)

    def check_folders(self) -> None:
        """Look at what is at the folders' places already.

        Raises:
            InputError: if something is there that may not be replaced.
        """
        for mode in self.modes:
            self._check_folder(self.out / mode)

    @property
    def text(self) -> int:
        """Estimated characters of text in all genomes."""
        total = 0.0
        for path in self.genomes:
            source = Source(path)
            kind = (
                "2bit" if is_twobit(source) else "gzip" if source.is_gzip else "plain"
            )
            source.close()
            total += path.stat().st_size * UNPACKED[kind]
        return int(total)

    @property
    def disk(self) -> int:
        """Estimated bytes needed on disk while writing: a byte a character, and the validation part twice."""
        return int(self.text * len(self.modes) * (1 + (0 if self.val_contigs else self.val_fraction)))

    def _check_folder(self, folder: Path) -> None:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        if not is_prepared(folder):
            raise InputError(
                f"{folder}: not written by dnalm prepare, so it is left alone; choose another --out"
            )
        if not self.overwrite:
            try:
                mine = read_meta(folder)["contigs"]
                names = ", ".join(contig["name"] for contig in mine[:3]) + (", ..." if len(mine) > 3 else "")
            except ValueError:
                names = "damaged, or of another version of dnalm"
            raise InputError(
                f"{folder}: holds another prepared genome ({names}); choose another --out, "
                "or --overwrite to replace it"
            )
