"""Tests for dnalm/layers.py."""

import pytest
import torch

from dnalm.models import layers
from dnalm.models.layers import causal_attention, convolve, dropout, look_up, rotary_angles, rotate, silenced


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["own mask", "torch's"])
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype, rate):
    torch.manual_seed(0)
    out = dropout(torch.ones(1_000_003, dtype=dtype), rate)
    kept = out[out != 0]
    # a million draws: the share is known to 0.0005 (one deviation); bf16 holds 1 / (1 - rate) to 0.4 %
    assert (out == 0).float().mean().item() == pytest.approx(rate, abs=0.002)
    assert kept.unique().numel() == 1
    assert kept[0].item() == pytest.approx(1 / (1 - rate), rel=0.004)


def test_own_mask_has_no_pattern():
    """Neighbours, and bits of the same 64-bit word, are dropped independently."""
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400_000, dtype=torch.bfloat16), 0.5) == 0).float()
    for lag in (1, 2, 3, 4, 8):
        both = (dropped[lag:] * dropped[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=0.004)  # 4 deviations
    assert dropped.view(-1, 4).mean(0).tolist() == pytest.approx([0.5] * 4, abs=0.008)


def test_dropout_follows_the_seed():
    x = torch.ones(1000, dtype=torch.bfloat16)
    torch.manual_seed(5)
    first = dropout(x, 0.5)
    torch.manual_seed(5)
    assert (dropout(x, 0.5) == first).all()
    assert (dropout(x, 0.5) != first).any()


def test_dropout_gradient_is_its_mask():
    torch.manual_seed(0)
    x = torch.randn(1000, dtype=torch.bfloat16, requires_grad=True)
    out = dropout(x, 0.25)
    out.sum().backward()
    torch.testing.assert_close(x.grad * x, out)


HEADS, WIDTH = 3, 8


def make_joint(length, size=2, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(size, length, 3 * HEADS * WIDTH, dtype=dtype, requires_grad=True)


def make_angles(length, turned):
    return tuple(table.double() for table in rotary_angles(length, WIDTH)) if turned else None


def plain_attention(joint, angles):
    """The definition, by autograd: a softmax over what is on the left."""
    size, length, _ = joint.shape
    query, key, value = joint.view(size, length, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    if angles is not None:
        query, key = rotate(query, *angles), rotate(key, *angles)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(-1, -2) / WIDTH**0.5).masked_fill(future, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2).reshape(size, length, -1)


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_attention_and_its_own_backward_pass_equal_plain_autograd(length, turned):
    joint, angles = make_joint(length), make_angles(length, turned)
    weights = torch.randn(2, length, HEADS * WIDTH, dtype=torch.float64)
    found = []
    for way in (lambda: causal_attention(joint, HEADS, angles), lambda: plain_attention(joint, angles)):
        out = way()
        found.append((out.detach(), *torch.autograd.grad((out * weights).sum(), joint)))
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)  # float64 rounding


@pytest.mark.parametrize("turned", [True, False])
def test_attention_passes_gradcheck(turned):
    joint, angles = make_joint(5, size=1), make_angles(5, turned)
    assert torch.autograd.gradcheck(lambda joint: causal_attention(joint, HEADS, angles), joint)


@pytest.mark.parametrize("length", [1, 7, 64])
def test_all_ways_of_attention_agree(length, monkeypatch):
    joint, angles = make_joint(length, dtype=torch.float32), rotary_angles(length, WIDTH)
    products = causal_attention(joint, HEADS, angles)
    with torch.no_grad():
        torch.testing.assert_close(products, causal_attention(joint, HEADS, angles))  # fused; fp32 rounding
    monkeypatch.setattr(layers, "dropout", lambda x, rate: x)
    torch.testing.assert_close(products, causal_attention(joint, HEADS, angles, 0.5))  # through autograd


@pytest.mark.parametrize("length", [1, 9])
def test_attention_leaves_its_input_and_angles_alone(length):
    joint, angles = make_joint(length, size=1), make_angles(length, turned=True)
    before = [joint.detach().clone(), *(table.clone() for table in angles)]
    causal_attention(joint, HEADS, angles).sum().backward()
    assert all(torch.equal(one, other) for one, other in zip(before, (joint, *angles), strict=True))


def test_attention_in_bf16_stays_in_bf16_under_autocast():
    """All that is kept for the backward pass, too: in float32 it would be slower and twice as large."""
    exact = make_joint(64, dtype=torch.float32)
    joint = exact.detach().bfloat16().requires_grad_()
    angles = rotary_angles(64, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = causal_attention(joint, HEADS, angles)
    assert out.dtype == torch.bfloat16
    kept = out.grad_fn.saved_tensors[:-2]
    assert {tensor.dtype for tensor in kept} == {torch.bfloat16}
    wanted = plain_attention(exact, angles)
    # bf16 has 8 bits: 0.4 % of values up to about 3, a few times over
    torch.testing.assert_close(out.float(), wanted, rtol=0, atol=0.03)
    (found,) = torch.autograd.grad(out.float().square().sum(), joint)
    (wanted,) = torch.autograd.grad(wanted.square().sum(), exact)
    assert (found - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.parametrize(("length", "products"), [(8, True), (9, False)])
def test_only_short_sequences_make_the_matrix_of_all_pairs(length, products, monkeypatch):
    monkeypatch.setattr(layers, "LONGEST_PRODUCT", 8)
    mixed = causal_attention(make_joint(length), HEADS, None)
    assert (mixed.grad_fn.name() == "_CausalProductsBackward") == products


def test_attention_dropout_drops():
    joint = make_joint(32, dtype=torch.float32)
    assert (causal_attention(joint, HEADS, None, 0.5) != causal_attention(joint, HEADS, None)).any()


def test_the_gradient_of_rows_as_a_product_is_that_of_an_embedding():
    torch.manual_seed(0)
    table = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(0, 4, (3, 7))  # row 4 is in none
    weights = torch.randn(3, 7, 6, dtype=torch.float64)
    states = look_up(table, tokens)
    assert torch.equal(states, table[tokens])
    (found,) = torch.autograd.grad((states * weights).sum(), table)
    (wanted,) = torch.autograd.grad((table[tokens] * weights).sum(), table)
    torch.testing.assert_close(found, wanted)
    assert found[4].abs().max() == 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("batch", "length", "width", "reach"),
    [(2, 9, 6, 5), (1, 9, 6, 5), (2, 1, 6, 5), (2, 3, 6, 11), (2, 9, 1, 3), (2, 9, 6, 1)],
)
def test_convolving_is_conv1d_with_its_gradients(batch, length, width, reach, bias):
    torch.manual_seed(0)
    given = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((batch, length, width), (4, width, reach), (4,))
    ]
    x, weight, shift = given if bias else [*given[:2], None]
    found = convolve(x, weight, shift)
    wanted = torch.nn.functional.conv1d(x.transpose(1, 2), weight, shift, padding="same").transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    pull = torch.randn(wanted.shape, dtype=torch.float64)
    one, other = (torch.autograd.grad(out, given[: 3 if bias else 2], pull) for out in (found, wanted))
    torch.testing.assert_close(one, other)


def test_convolving_keeps_the_layout_of_states_and_has_another_way_elsewhere():
    x, weight = torch.randn(2, 9, 6), torch.randn(4, 6, 5)
    assert convolve(x, weight, None).is_contiguous()
    assert convolve(x.to("meta"), weight.to("meta"), None).shape == (2, 9, 4)


def test_padding_is_silenced_and_states_without_any_are_not_copied():
    states = torch.full((2, 3, 4), torch.nan)
    states[0], states[1, :2] = 1.0, 2.0
    real = torch.tensor([[True] * 3, [True, True, False]])
    wanted = states.nan_to_num(0.0)
    assert torch.equal(silenced(states, real), wanted)
    assert states[1, 2].isnan().all()  # what was given is as it was
    whole = torch.ones_like(real)
    assert silenced(wanted, whole) is wanted
    assert silenced(wanted.to("meta"), whole.to("meta")).shape == (2, 3, 4)
