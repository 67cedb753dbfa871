"""What to prepare, checked before any work."""

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from dnalm import files
from dnalm.errors import InputError, counted
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
    genome_names: tuple[str, ...] = ()
    hold_out: Literal["others", "all", "none"] = "others"
    published: bool = False
    overwrite: bool = False

    @property
    def train_share(self) -> Fraction:
        """1 - val_fraction, as the decimal number that was given."""
        return 1 - Fraction(str(self.val_fraction))

    @property
    def finds_alike(self) -> bool:
        """Whether what is alike to the validation contigs is to be found and left out of training."""
        several = len(self.genome_names) > 1
        return bool(self.genome_names) and {"others": several, "all": True, "none": False}[self.hold_out]

    @property
    def readings(self) -> int:
        """How often the genomes are read."""
        return 1 + bool(self.genome_names and self.val_contigs) + self.finds_alike

    def contig_name(self, genome: int, contig: str) -> str:
        """Return a contig's name in the prepared folder: with that of its genome, where several are named."""
        return f"{self.genome_names[genome]}:{contig}" if len(self.genome_names) > 1 else contig

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
        self._check_names()
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

    def _check_names(self) -> None:
        """Check the names of the genomes, and what is to be held out in them."""
        names = self.genome_names
        if not names:
            if self.hold_out == "all":
                raise InputError("`hold_out` all needs `genome_names`, a name for each genome file")
            return
        if self.published:
            raise InputError("`published` copies a text without names of genomes: leave out `genome_names`")
        if len(names) != len(self.genomes):
            raise InputError(
                f"`genome_names` needs a name for each of {counted(len(self.genomes), 'genome file')}, got "
                f"{len(names)}: {', '.join(names)}"
            )
        for name in names:
            if not (name.isascii() and name.isprintable()) or set(name) & set(" :,>") or not name:
                raise InputError(
                    f"`genome_names`: expected printable ASCII without blank, colon, comma or >, got {name!r}"
                )
            if names.count(name) > 1:
                raise InputError(f"`genome_names`: {name!r} is there twice; each genome needs its own name")
        if self.finds_alike and not self.val_contigs:
            raise InputError(
                "several genomes need `val_contigs`, so that what is alike to them in the others can be left "
                "out of training; or set `hold_out` to none"
            )

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
