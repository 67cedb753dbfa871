"""Reading genes and molecules with encoders of the published sizes: what encoding every pair anew costs.

Shapes used below
    B  pairs     G  tokens of a gene     M  tokens of a molecule
"""

from collections.abc import Callable

import torch

from dnalm.models.chemberta import ChemBERTa, ChemBERTaConfig
from dnalm.models.dnabert2 import DNABert2, DNABert2Config

GENE, MOLECULE = 512, 60
"""G and M: the published length, and a usual one."""


def encoding(pairs: int, device: str, *, tiny: bool) -> Callable[[], object]:
    """Return a function that encodes `pairs` genes and molecules in bf16, with random weights.

    Args:
        pairs: B.
        device: cpu or cuda.
        tiny: a small gene encoder, to see that it runs.
    """
    shape = DNABert2Config(hidden=32, layers=1, heads=4, feed_forward=64) if tiny else DNABert2Config()
    genes = DNABert2(shape).to(device).eval()
    molecules = ChemBERTa(ChemBERTaConfig()).to(device).eval()
    dna = torch.randint(5, 500, (pairs, GENE), device=device)
    smiles = torch.randint(5, 500, (pairs, MOLECULE), device=device)

    @torch.inference_mode()
    def encode() -> object:
        with torch.autocast(device, dtype=torch.bfloat16):
            return [
                encoder(tokens, torch.ones_like(tokens, dtype=torch.bool))
                for encoder, tokens in ((genes, dna), (molecules, smiles))
            ]

    return encode
