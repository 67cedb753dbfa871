"""Tests for dnalm/models/gene_cnn.py."""

import pytest
import torch
from torch import nn

from dnalm.errors import InputError
from dnalm.models.gene_cnn import GeneCNN, GeneCNNConfig, letter_codes

SMALL = GeneCNNConfig(embedding=6, channels=(4, 5, 8), kernels=(3, 5, 7), dropout=0.0)


def make() -> GeneCNN:
    """A GeneCNN whose batch normalisations are as training leaves them: no weight at its first value."""
    torch.manual_seed(0)
    made = GeneCNN(SMALL)
    with torch.no_grad():
        for norm in made.norms:
            norm.weight.uniform_(-1.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return made


def batch(lengths):
    tokens = torch.randint(5, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    return tokens.to(torch.int16), torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def reference(model, tokens):
    """The published model of sequences of one length, of PyTorch's own layers; and its normalisations."""
    norms = []
    x = model.embedding(tokens.long()).transpose(1, 2)
    for convolution, norm in zip(model.convolutions, model.norms, strict=True):
        theirs = nn.BatchNorm1d(convolution.out_channels).train(model.training)
        theirs.load_state_dict(norm.state_dict() | {"num_batches_tracked": torch.tensor(0)})
        x = nn.functional.max_pool1d(torch.relu(theirs(convolution(x))), 2, ceil_mode=True)
        norms.append(theirs)
    return x.transpose(1, 2), norms


@pytest.mark.parametrize("length", [1, 7, 8, 60, 61])
@pytest.mark.parametrize("training", [True, False])
def test_without_padding_it_is_pytorchs_layers(length, training):
    made = make().train(training)
    tokens, real = batch([length] * 3)
    expected, norms = reference(made, tokens)
    states = made(tokens, real)
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-5)  # float32, another order of sums
    draws = torch.randn(states.shape, generator=torch.Generator().manual_seed(2))
    for norm, theirs in zip(made.norms, norms, strict=True):
        torch.testing.assert_close(norm.running_mean, theirs.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, theirs.running_var, rtol=1e-4, atol=1e-5)
    theirs = [each for each in made.parameters() if not any(each is own for own in made.norms.parameters())]
    wanted = torch.autograd.grad((expected * draws).sum(), theirs)
    found = torch.autograd.grad((states * draws).sum(), theirs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)  # sums over a few hundred positions


@pytest.mark.parametrize("length", [57, 58, 59, 60, 61, 62, 63, 64])
def test_neighbours_in_the_batch_do_not_reach_a_sequence(length):
    """Neither through kernels at the edges nor through pooling, though they lie end to end."""
    made = make().eval()
    tokens, real = batch([length] * 3)
    other = tokens.clone()
    other[0], other[2] = tokens[0].flip(0), tokens[2].flip(0)
    states, changed = made(tokens, real), made(other, real)
    assert torch.equal(states[1], changed[1])
    assert not torch.equal(states[0], changed[0])


def test_padding_is_silent_in_statistics_and_gradients_of_training():
    tokens, real = batch([60, 13, 1, 33])
    results = []
    for width, junk in ((60, 0), (60, 4), (203, 3), (203, -7)):
        made = make().train()
        padded = torch.full((4, width), junk, dtype=torch.int16)
        padded[:, :60] = torch.where(real, tokens, junk)
        mask = nn.functional.pad(real, (0, width - 60))
        states = made(padded, mask)
        assert (states[~made.state_mask(mask)] == 0).all()
        states.square().sum().backward()
        gradients = [parameter.grad for parameter in made.parameters()]
        results.append([states[:, :8].detach(), *gradients, *made.buffers()])
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_a_state_is_real_where_one_of_its_bases_is():
    mask = GeneCNN(SMALL).state_mask(batch([1, 8, 9, 17])[1])
    assert mask.tolist() == [[True, False, False], [True, False, False], [True, True, False], [True] * 3]


def test_letters_in_either_case_and_any_other_is_n():
    assert letter_codes("ACGTNacgtnRX-", 100).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4, 4]
    assert letter_codes("ACGT", 2).tolist() == [0, 1]


def test_padding_before_a_base_is_refused():
    with pytest.raises(InputError, match="padding must follow"):
        make()(torch.zeros(1, 3, dtype=torch.int16), torch.tensor([[True, False, True]]))
