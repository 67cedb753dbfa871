"""Tests for dnalm/layers.py."""

import pytest
import torch

from dnalm.layers import causal_attention, dropout


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


@pytest.mark.parametrize("length", [1, 7, 64])
def test_both_ways_of_attention_agree(length):
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3)]
    products = causal_attention(*parts)
    with torch.no_grad():
        fused = causal_attention(*parts)
    torch.testing.assert_close(products, fused)  # float32 rounding


def test_attention_dropout_drops():
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, 32, 8, requires_grad=True) for _ in range(3)]
    assert (causal_attention(*parts, 0.5) != causal_attention(*parts, 0.0)).any()
