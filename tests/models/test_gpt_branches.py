"""Tests for dnalm/models/gpt_branches.py."""

import pytest
import torch

from dnalm.models.gpt import GPTConfig
from dnalm.models.gpt_branches import branch_logits
from dnalm.models.language import LanguageModel


@pytest.mark.parametrize("position", ["rotary", "learned"])
def test_a_branch_is_read_as_the_complete_sequence_would_be(position):
    torch.manual_seed(0)
    model = LanguageModel(GPTConfig(2, 2, 8, block_size=12, position=position), 4).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        references, branches = torch.randint(0, 4, (2, 12)), torch.randint(0, 4, (4, 9))
        of, start = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 3, 7, 11])
        read, branched = branch_logits(model, references, branches, of, start)
        torch.testing.assert_close(read, model(references, torch.ones_like(references).bool()))
        for row, (reference, first) in enumerate(zip(of, start, strict=True)):
            complete = torch.cat([references[reference, :first], branches[row]])[None, :12]
            expected = model(complete, torch.ones_like(complete).bool())[0, first:]
            torch.testing.assert_close(branched[row, : len(expected)], expected)
