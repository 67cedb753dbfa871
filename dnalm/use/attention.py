"""Where a model looks in the first pairs of a ranking: a table and pictures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dnalm.data.molecules import atom_symbols, draw_molecule
from dnalm.data.pair_batches import PairTokens
from dnalm.errors import InputError
from dnalm.evaluate.attention import PairAttention, gene_places, molecule_places, pair_attention, shares
from dnalm.files import write_text
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.pair import InteractionModel
from dnalm.models.pair_shape import PairTexts
from dnalm.models.pretrained import PretrainedConfig
from dnalm.report.figures import save
from dnalm.report.figures_predictions import DRAWING_SIZE, atom_colors, attention_picture

TABLE = "attention.tsv"
HEADER = "rank\tname\tside\tbegin\tend\tatoms\twhat\tweight"
"""begin and end: bases, 0-based half-open; atoms: places in the SMILES, counted from 0, joined by commas."""
LONGEST_NAME, LONGEST_TITLE = 60, 70
"""Characters of a name in a file's name, and in a title."""


@dataclass(frozen=True)
class Hit:
    """A pair of the ranking."""

    rank: int
    """From 1."""
    name: str
    """Of the molecule or gene that is ranked."""
    probability: float
    gene: int
    """Row in the texts."""
    molecule: int
    """Row in the texts."""


@dataclass(frozen=True)
class Look:
    """A pair with what is attended to in it."""

    hit: Hit
    sequence: str
    smiles: str
    attention: PairAttention


def picture_name(rank: int, name: str) -> str:
    """Return the name of a pair's picture, safe in any file system."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:LONGEST_NAME].strip("._-")
    return f"{rank:02d}_{safe or 'hit'}.png"


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a table already.

    Raises:
        InputError: if it does and `overwrite` is not given or it is another's table, or if it is a file.
    """
    table = folder / TABLE
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder for --attention, got a file; choose another")
    if table.exists() and not overwrite:
        raise InputError(f"{table}: is there already; --overwrite replaces it, or choose another --attention")
    if table.exists() and table.read_text(encoding="utf-8", errors="replace").split("\n")[0] != HEADER:
        raise InputError(f"{table}: expected a table of --attention to replace, got another; choose another")


def look(
    model: InteractionModel, reading: InputEncoder, tokens: PairTokens, texts: PairTexts, hits: Sequence[Hit]
) -> list[Look]:
    """Return what is attended to in each pair; one that has no state of its gene is left out and told.

    Args:
        model: whose head attends.
        reading: opens frozen encoders, which alone know what their states stand for.
        tokens: of `texts`.
        texts: genes and molecules.
        hits: the pairs.

    Raises:
        InputError: if a frozen encoder is gone, or a SMILES cannot be read.
    """
    shape = model.shape
    sequences = {hit.gene: texts.sequences[hit.gene] for hit in hits}
    smiles = {hit.molecule: texts.smiles[hit.molecule] for hit in hits}
    if isinstance(shape.gene, PretrainedConfig):
        spans = reading.spans("gene", shape.gene, list(sequences.values()))
    else:
        spans = [gene_places(shape, text) for text in sequences.values()]
    bases = dict(zip(sequences, spans, strict=True))
    if isinstance(shape.molecule, PretrainedConfig):
        characters = reading.spans("molecule", shape.molecule, list(smiles.values()))
        places = list(map(molecule_places, [shape] * len(smiles), smiles.values(), characters))
    else:
        places = [molecule_places(shape, text) for text in smiles.values()]
    atoms = dict(zip(smiles, places, strict=True))
    looks = []
    for hit in hits:
        found = shares(model, tokens, hit.gene, hit.molecule)
        if found is None:
            reading.say(f"{hit.name}: its gene is too short to be attended to; left out of the attention")
            continue
        text = smiles[hit.molecule]
        told = pair_attention(found, bases[hit.gene], atoms[hit.molecule], len(atom_symbols(text)))
        looks.append(Look(hit, sequences[hit.gene], text, told))
    return looks


def write_attention(folder: Path, looks: Sequence[Look]) -> list[tuple[str, bytes]]:
    """Write a picture of each pair, and then the table of all.

    Args:
        folder: made where it is not there; pictures that its former table names are removed.
        looks: in the order of the ranking.

    Returns:
        Rank and name of each pair, and its picture as PNG.
    """
    _clear(folder)
    lines, pictures = [HEADER], []
    for each in looks:
        attention, hit = each.attention, each.hit
        drawing = draw_molecule(each.smiles, atom_colors(attention.atoms), *DRAWING_SIZE)
        name = hit.name if len(hit.name) <= LONGEST_TITLE else f"{hit.name[:LONGEST_TITLE]}..."
        path, title = folder / picture_name(hit.rank, hit.name), f"{hit.rank}. {name}"
        figure = attention_picture(
            [(begin, end) for begin, end in attention.gene],
            list(attention.gene.values()),
            len(each.sequence),
            attention.atoms,
            drawing,
            f"{title}: probability {hit.probability:.3f}",
        )
        save(figure, path)
        pictures.append((title, path.read_bytes()))
        lines += _rows(each)
    write_text(folder / TABLE, "\n".join(lines) + "\n")
    return pictures


def _rows(each: Look) -> list[str]:
    """Return the lines of the table of one pair: ranges of bases, then groups of atoms."""
    begun = f"{each.hit.rank}\t{each.hit.name}"
    symbols = atom_symbols(each.smiles)
    lines = [
        f"{begun}\tgene\t{begin}\t{end}\t\t{each.sequence[begin:end]}\t{weight:.6g}"
        for (begin, end), weight in each.attention.gene.items()
    ]
    for atoms, weight in each.attention.molecule.items():
        what = ",".join(symbols[atom] for atom in atoms)
        lines.append(f"{begun}\tmolecule\t\t\t{','.join(map(str, atoms))}\t{what}\t{weight:.6g}")
    return lines


def _clear(folder: Path) -> None:
    """Remove a former table, and the pictures that it names."""
    table = folder / TABLE
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines()[1:]:
            rank, name = line.split("\t")[:2]
            (folder / picture_name(int(rank), name)).unlink(missing_ok=True)
        table.unlink()
