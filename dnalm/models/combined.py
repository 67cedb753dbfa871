"""A combined model of genes and molecules: counts, partners, similar molecules, trees and neural models.

Every member gives a pair one or more numbers (columns). A small combiner maps them to a logit. It has weights
of its own for pairs of known nodes, of a new gene, of a new molecule, and of both, because a count says
nothing of what is new.

Shapes: n pairs; C columns; S states, four.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.data.pairs import PairSet
from dnalm.models.input_encoder import InputEncoder
from dnalm.models.layers import Model
from dnalm.models.pair import InteractionModel, predict
from dnalm.models.pair_knowledge import COLUMNS, MEMBERS, SCORES, PairKnowledge
from dnalm.models.pair_shape import InteractionShape, PairTexts

STATES = ("known", "new molecule", "new gene", "both new")
"""What a pair can be; of a new gene or molecule there is no training pair."""
LIMIT = 5.0
"""Standard deviations to which a column is clipped: beyond them the combiner has seen next to nothing."""


@dataclass(frozen=True)
class Combiner:
    """Quadratic log-odds of standardised columns z: intercept + linear . z + z . quadratic . z, by state."""

    mean: Numbers  # of each column, [S, C]
    scale: Numbers  # its standard deviation; 0 leaves a column out, [S, C]
    linear: Numbers  # [S, C]
    quadratic: Numbers  # symmetric, [S, C, C]
    intercept: Numbers  # [S]

    def standardised(self, columns: Numbers, state: Rows) -> Numbers:
        """Return z of columns [n, C] of pairs in states [n], clipped; 0 where a column is left out."""
        scale = self.scale[state]
        z = np.divide(columns - self.mean[state], scale, out=np.zeros_like(columns), where=scale > 0)
        clipped: Numbers = np.clip(z, -LIMIT, LIMIT)
        return clipped

    def contributions(self, columns: Numbers, state: Rows) -> Numbers:
        """Return what each column adds to the logit of each pair beside the intercept, [n, C].

        These are Shapley values of the columns against columns at their mean: of a product each has half.
        """
        z = self.standardised(columns, state)
        added = np.empty_like(z)
        for each in np.unique(state):
            rows = state == each
            added[rows] = z[rows] * (self.linear[each] + z[rows] @ self.quadratic[each])
        return added

    def logits(self, columns: Numbers, state: Rows) -> Numbers:
        """Return the logits of pairs, [n]."""
        logits: Numbers = self.intercept[state] + self.contributions(columns, state).sum(axis=1)
        return logits


class CombinedModel(Model):
    """What is known of the training pairs, neural models of the same pairs, and the combiner of all.

    Args:
        knowledge: fitted to the training pairs.
        combiner: fitted to pairs that no member has seen.
        neural: models by name, their columns follow those of `knowledge`.
    """

    def __init__(
        self, knowledge: PairKnowledge, combiner: Combiner, neural: Mapping[str, InteractionModel]
    ) -> None:
        super().__init__()
        self.knowledge, self.combiner, self.names = knowledge, combiner, [*neural]
        self.neural = torch.nn.ModuleList(neural.values())
        for name, tensor in knowledge.tensors().items():
            self.register_buffer(f"knowledge_{name}", tensor)
        for each in fields(combiner):
            self.register_buffer(f"combiner_{each.name}", torch.from_numpy(getattr(combiner, each.name)))

    @classmethod
    def build(cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "CombinedModel":
        """Return the model that a checkpoint holds, whose neural members still have to be given weights."""
        parts = {
            part: {
                name.removeprefix(f"{part}_"): each
                for name, each in tensors.items()
                if name.startswith(f"{part}_")
            }
            for part in ("knowledge", "combiner")
        }
        combiner = Combiner(*(parts["combiner"][each.name].numpy() for each in fields(Combiner)))
        neural = {
            name: InteractionModel(InteractionShape.from_dict(shape))
            for name, shape in description["neural"].items()
        }
        return cls(PairKnowledge.from_tensors(parts["knowledge"]), combiner, neural)

    def describe(self) -> dict[str, Any]:
        """Return JSON values that `build` needs beside the tensors."""
        shapes = [each.shape.as_dict() for each in self.neural]  # type: ignore[union-attr, operator]
        return {"combined": {"neural": dict(zip(self.names, shapes, strict=True))}}

    @property
    def kind(self) -> str:
        """The model in a few words."""
        return "combined" + (f" (with {', '.join(self.names)})" if self.names else "")

    @property
    def parameter_count(self) -> int:
        """Numbers that were fitted: factors, leaves and thresholds, the combiner, and the neural members."""
        trees, combiner = self.knowledge.trees, self.combiner
        factors = self.knowledge.gene_factors.size + self.knowledge.molecule_factors.size
        combined = combiner.linear.size + combiner.intercept.size + combiner.quadratic.size
        return factors + 2 * len(trees.value) + combined + sum(each.parameter_count for each in self.neural)  # type: ignore[misc]

    def predictor(self, encoder: InputEncoder, texts: PairTexts | PairSet) -> "CombinedPredictor":
        """Return what predicts pairs of the genes and molecules of `texts`."""
        return CombinedPredictor(self, encoder, texts)


class CombinedPredictor:
    """Predicts pairs of given genes and molecules, by their rows; called with them it returns logits, [n]."""

    def __init__(self, model: CombinedModel, encoder: InputEncoder, texts: PairTexts | PairSet) -> None:
        self.model, self.query = model, model.knowledge.query(texts.sequences, texts.smiles)
        device = encoder.processor.fabric().device
        self._neural: list[Callable[[Rows, Rows], Numbers]] = [
            partial(predict, each.to(device), encoder.tokens(each, texts), together=True)  # type: ignore[arg-type]
            for each in model.neural
        ]

    def columns(self, gene: Rows, molecule: Rows) -> tuple[Numbers, Rows]:
        """Return the columns of pairs, [n, C], and the state of each, [n]."""
        known = self.model.knowledge.columns(self.query, gene, molecule)
        columns = np.column_stack([known, *(each(gene, molecule) for each in self._neural)])
        new_gene, new_molecule = self.model.knowledge.is_new(self.query)
        return columns, 2 * new_gene[gene].astype(np.int64) + new_molecule[molecule]

    def __call__(self, gene: Rows, molecule: Rows) -> Numbers:
        """Return the logits of pairs, [n]."""
        return self.model.combiner.logits(*self.columns(gene, molecule))

    def contributions(self, gene: Rows, molecule: Rows) -> dict[str, Numbers]:
        """Return what each member adds to the logit of each pair, [n], in nats; see `Combiner`."""
        added = self.model.combiner.contributions(*self.columns(gene, molecule))
        return {name: added[:, at].sum(axis=1) for name, at in members(self.model.names).items()}

    def member_scores(self, gene: Rows, molecule: Rows) -> dict[str, Numbers]:
        """Return the score of each member alone, [n]: higher is more likely; it is no probability."""
        columns, _ = self.columns(gene, molecule)
        places = members(self.model.names, SCORES)
        return {name: columns[:, at].sum(axis=1) for name, at in places.items()}


def members(neural: Sequence[str], columns: Mapping[str, Sequence[str]] = MEMBERS) -> dict[str, list[int]]:
    """Return the places of the `columns` of each member by name; those of `neural` ones are the last."""
    known = {name: [COLUMNS.index(each) for each in own] for name, own in columns.items()}
    return known | {name: [len(COLUMNS) + at] for at, name in enumerate(neural)}
