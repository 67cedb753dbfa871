"""Do a gene and a molecule interact: pairs + two encoders + pair head + cross-entropy + AUROC.

Shapes used below
    N  pairs                         B  pairs, genes or molecules in the batch
    L  tokens per gene or molecule   D  width of one's vector
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnalm.data.pair_batches import PairBatch, PairBatches, PairRows, PairTokens, Ragged
from dnalm.data.pairs import PairSet
from dnalm.encoders.gene_cnn import GeneCNN, GeneCNNConfig, letter_codes
from dnalm.encoders.kmer import KmerBag, KmerConfig
from dnalm.encoders.lstm import SmilesLSTM, SmilesLSTMConfig, character_ids
from dnalm.encoders.morgan import MorganBag, MorganConfig, set_bits
from dnalm.heads.pair import PairHead, PairHeadConfig, Pooling

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

ENCODE_BATCH = 128
"""Genes or molecules encoded at a time in prediction: no result depends on it."""
CLASSIFY_BATCH = 8192
"""Pairs classified at a time."""
TRAIN_SAMPLE = 4096
"""Training pairs on which the training loss is measured at each evaluation, evenly spread."""

GENE_ENCODERS: dict[str, Any] = {"cnn": GeneCNNConfig, "kmer": KmerConfig}
"""Shapes of what can read genes, by the names of the command line."""
MOLECULE_ENCODERS: dict[str, Any] = {"lstm": SmilesLSTMConfig, "morgan": MorganConfig}
"""Shapes of what can read molecules."""
POOLING: dict[str, Pooling] = {"cnn": "max", "kmer": "mean", "lstm": "attention", "morgan": "mean"}
"""How the states of each become one vector, unless a head says otherwise."""


@dataclass(frozen=True)
class EncodersConfig:
    """What reads genes and molecules, and how much of them."""

    dna_encoder: Literal["cnn", "kmer"] = "cnn"
    """cnn: the published convolutions; kmer: a vector for each 4-mer."""
    mol_encoder: Literal["lstm", "morgan"] = "lstm"
    """lstm: the published LSTM over SMILES; morgan: a vector for each bit of a Morgan fingerprint (RDKit)."""
    dna_length: int = 1000
    """Bases read of a gene, from its start."""
    smiles_length: int = 200
    """Characters read of a SMILES, from its start."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be at least 1, got {value}"
            for name in ("dna_length", "smiles_length")
            if (value := getattr(self, name)) < 1
        ]
        if wrong:
            raise ValueError("; ".join(wrong))


@dataclass(frozen=True)
class InteractionShape:
    """All that is needed to build an `InteractionModel`, weights aside."""

    gene: GeneCNNConfig | KmerConfig = field(default_factory=GeneCNNConfig)
    molecule: SmilesLSTMConfig | MorganConfig = field(default_factory=SmilesLSTMConfig)
    head: PairHeadConfig = field(default_factory=PairHeadConfig)
    characters: str = ""
    """Vocabulary of an LSTM, in id order; empty for fingerprints."""
    dna_length: int = 1000
    """Bases read of a gene, from its start."""
    smiles_length: int = 200
    """Characters read of a SMILES, from its start."""

    @classmethod
    def of(cls, config: EncodersConfig, characters: str) -> "InteractionShape":
        """Return the shape with published sizes that a command line asks for."""
        return cls(
            GENE_ENCODERS[config.dna_encoder](),
            MOLECULE_ENCODERS[config.mol_encoder](),
            PairHeadConfig(POOLING[config.dna_encoder], POOLING[config.mol_encoder]),
            characters if config.mol_encoder == "lstm" else "",
            config.dna_length,
            config.smiles_length,
        )

    @property
    def names(self) -> tuple[str, str]:
        """The encoders' names in `GENE_ENCODERS` and `MOLECULE_ENCODERS`."""
        return _name(self.gene, GENE_ENCODERS), _name(self.molecule, MOLECULE_ENCODERS)

    @property
    def kind(self) -> str:
        """The model in a word: original, or its encoders' names."""
        return "original" if self.names == ("cnn", "lstm") else "-".join(self.names)

    def tokens(self, pairs: PairSet) -> PairTokens:
        """Return what the encoders read of all genes and molecules of a set.

        Raises:
            ValueError: if fingerprints are needed and cannot be had.
        """
        genes = [letter_codes(sequence, self.dna_length) for sequence in pairs.sequences]
        if isinstance(self.molecule, MorganConfig):
            return PairTokens(Ragged(genes), Ragged(set_bits(pairs.smiles, self.molecule)))
        molecules = [character_ids(text, self.characters, self.smiles_length) for text in pairs.smiles]
        return PairTokens(Ragged(genes), Ragged(molecules))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values from which `from_dict` makes the same shape."""
        gene, molecule = self.names
        return asdict(self) | {
            "gene": {"name": gene, **asdict(self.gene)},
            "molecule": {"name": molecule, **asdict(self.molecule)},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "InteractionShape":
        """Return the shape that `as_dict` has written."""
        gene, molecule = (
            known[content[side]["name"]](
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in content[side].items()
                    if key != "name"
                }
            )
            for side, known in (("gene", GENE_ENCODERS), ("molecule", MOLECULE_ENCODERS))
        )
        rest = {key: content[key] for key in ("characters", "dna_length", "smiles_length")}
        return cls(gene, molecule, PairHeadConfig(**content["head"]), **rest)


def _name(shape: object, known: Mapping[str, Any]) -> str:
    return next(name for name, each in known.items() if isinstance(shape, each))


class InteractionModel(nn.Module):
    """An encoder of genes and one of molecules under a pair head."""

    def __init__(self, shape: InteractionShape) -> None:
        super().__init__()
        self.shape = shape
        self.gene: GeneCNN | KmerBag
        self.molecule: SmilesLSTM | MorganBag
        self.gene = GeneCNN(shape.gene) if isinstance(shape.gene, GeneCNNConfig) else KmerBag(shape.gene)
        if isinstance(shape.molecule, SmilesLSTMConfig):
            self.molecule = SmilesLSTM(shape.molecule, len(shape.characters))
        else:
            self.molecule = MorganBag(shape.molecule)
        self.head = PairHead(self.gene.width, self.molecule.width, shape.head)

    @property
    def parameter_count(self) -> int:
        """All parameters; all of them are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def gene_vectors(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map genes' tokens and their mask, [B, L], to one vector each, [B, D]."""
        return self.head.pool_gene(self.gene(tokens, real), self.gene.state_mask(real))

    def molecule_vectors(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map molecules' tokens and their mask, [B, L], to one vector each, [B, D]."""
        return self.head.pool_molecule(self.molecule(tokens, real), self.molecule.state_mask(real))

    def forward(
        self, genes: Tensor, genes_real: Tensor, molecules: Tensor, molecules_real: Tensor, molecule: Tensor
    ) -> Tensor:
        """Map pairs to logits, [B].

        Args:
            genes: tokens of each pair's gene, [B, L].
            genes_real: their mask.
            molecules: tokens of distinct molecules, [M, L].
            molecules_real: their mask.
            molecule: int64, [B]: which of the M is each pair's.
        """
        # Nothing in a molecule's encoder is drawn in training: one that occurs twice has one vector.
        vectors = self.molecule_vectors(molecules, molecules_real).index_select(0, molecule)
        logits: Tensor = self.head(self.gene_vectors(genes, genes_real), vectors)
        return logits


class InteractionTask:
    """Tell pairs that interact from those that do not; what the training loop needs to know of it.

    Args:
        shape: of the model.
        tokens: of the set's genes and molecules.
        train: the training pairs.
        validation: the validation pairs, of both classes.
        about: JSON values that are saved with the model: how it was trained, for results.

    Raises:
        ValueError: if a part has pairs of one class alone.
    """

    def __init__(
        self,
        shape: InteractionShape,
        tokens: PairTokens,
        train: PairRows,
        validation: PairRows,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        for name, part in (("training", train), ("validation", validation)):
            check_classes(part.label, name)
        self.shape, self.tokens, self.train, self.validation = shape, tokens, train, validation
        self.about = dict(about or {})
        self._sample = train.take(np.arange(len(train))[:: -(-len(train) // TRAIN_SAMPLE)])

    def windows(self, batch_size: int, seed: int) -> PairBatches:
        """Return the training batches."""
        return PairBatches(self.tokens, self.train, batch_size, seed)

    def loss(self, model: nn.Module, batch: PairBatch) -> Tensor:
        """Return the mean cross-entropy of the batch, in nats a pair."""
        return F.binary_cross_entropy_with_logits(model(*batch[:-1]).float(), batch.labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Score `model` on a fixed sample of the training pairs and on all validation pairs.

        Returns:
            `train_loss` and `val_bce`, cross-entropies in nats a pair; `val_auroc`; and `val_loss`, which
            is 1 - AUROC: it chooses the best weights. NaN where a logit is not finite.
        """
        sample = self._predict(model, self._sample)
        logits = self._predict(model, self.validation)
        area = auroc(self.validation.label, logits)
        return {
            "train_loss": cross_entropy(self._sample.label, sample),
            "val_bce": cross_entropy(self.validation.label, logits),
            "val_auroc": area,
            "val_loss": 1.0 - area,
        }

    def _predict(self, model: nn.Module, pairs: PairRows) -> Numbers:
        return predict(model, self.tokens, pairs.gene, pairs.molecule)

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return every tensor of the model, running statistics of batch normalisation among them."""
        return dict(model.state_dict())

    def describe(self) -> dict[str, Any]:
        """Return what is needed to build the model again."""
        return {"kind": "interaction", **self.shape.as_dict(), "about": self.about}


def check_classes(label: npt.NDArray[np.uint8], part: str) -> None:
    """Refuse a part that has no AUROC.

    Raises:
        ValueError: if its labels are not of both classes.
    """
    if not 0 < int(label.sum()) < len(label):
        raise ValueError(
            f"the {part} part has {len(label):,} pairs, {int(label.sum()):,} of them positive: AUROC is not "
            "defined without both classes; prepare the pairs with --negatives degree-matched, or more of them"
        )


def auroc(label: npt.NDArray[np.uint8], score: Numbers) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if a score is not finite.

    It is Mann and Whitney's U (1947) over its largest value: torchmetrics computes it in float32, and of
    scores outside 0 to 1 after a sigmoid that makes ties of large logits.
    """
    if not np.isfinite(score).all():
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1; tied scores share the mean of theirs
    positives = int(label.sum())
    won = rank[label == 1].sum() - positives * (positives + 1) / 2
    return float(won / (positives * (len(label) - positives)))


def cross_entropy(label: npt.NDArray[np.uint8], logits: Numbers) -> float:
    """Return the mean cross-entropy in nats a pair."""
    return float((np.logaddexp(0.0, logits) - label * logits).mean())


def predict_pairs(model: InteractionModel, pairs: PairSet, gene: Rows, molecule: Rows) -> Numbers:
    """Return the logits of pairs of a set, whether they are in its list or not.

    Args:
        model: on the device that is to compute.
        pairs: whose tables of genes and molecules are meant.
        gene: rows of its genes, [N].
        molecule: rows of its molecules, [N].

    Returns:
        float64, [N].
    """
    return predict(model, model.shape.tokens(pairs), gene, molecule)


@torch.no_grad()
def predict(model: nn.Module, tokens: PairTokens, gene: Rows, molecule: Rows) -> Numbers:
    """Return the logits of pairs, computed in full precision; each gene and molecule is encoded once.

    Args:
        model: an `InteractionModel`, or what the training loop made of one.
        tokens: of a set's genes and molecules.
        gene: rows of the genes, [N].
        molecule: rows of the molecules, [N].

    Returns:
        float64, [N].
    """
    inner = getattr(model, "module", model)  # without autocast, so that results are those of an opened model
    assert isinstance(inner, InteractionModel)
    was_training = inner.training
    inner.eval()
    genes, of_gene = _vectors(inner.gene_vectors, tokens.genes, gene, inner)
    molecules, of_molecule = _vectors(inner.molecule_vectors, tokens.molecules, molecule, inner)
    parts = [np.zeros(0)]
    for at in range(0, len(gene), CLASSIFY_BATCH):
        rows = slice(at, at + CLASSIFY_BATCH)
        logits = inner.head(genes[of_gene[rows]], molecules[of_molecule[rows]])
        parts.append(logits.double().cpu().numpy())
    inner.train(was_training)
    return np.concatenate(parts)


def _vectors(encode: Any, tokens: Ragged, rows: Rows, model: InteractionModel) -> tuple[Tensor, Tensor]:
    """Return the vectors of the distinct among `rows`, and which of them is each row's, [N]."""
    device = next(model.parameters()).device
    distinct, which = np.unique(rows, return_inverse=True)
    lengths = tokens.begins[distinct + 1] - tokens.begins[distinct]
    order = np.argsort(lengths, kind="stable")  # like lengths together: little padding
    parts = []
    for at in range(0, len(order), ENCODE_BATCH):
        taken, real = tokens.take(distinct[order[at : at + ENCODE_BATCH]])
        parts.append(encode(taken.to(device), real.to(device)).float())
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = torch.cat(parts) if parts else torch.empty(0, device=device)
    return found, torch.from_numpy(place[which]).to(device)
