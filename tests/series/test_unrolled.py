"""The recurrent layer's own passes against torch's, and their gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from galenic.series.unrolled import _Unrolled, unroll_gru


def both(batch: int, steps: int, width: int, hidden: int, seed: int):
    """A layer, inputs, and the weights of a scalar made of all states."""
    torch.manual_seed(seed)
    return nn.GRU(width, hidden, batch_first=True), torch.randn(batch, steps, width), torch.randn(batch, steps, hidden)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.integers(1, 7), st.integers(0, 1000))
def test_states_and_gradients_are_those_of_torch(batch, steps, width, hidden, seed):
    cell, x, weights = both(batch, steps, width, hidden, seed)
    found = []
    for unroll in (lambda cell, own: cell(own)[0], unroll_gru):
        own = x.clone().requires_grad_()
        cell.zero_grad()
        states = unroll(cell, own)
        (states * weights).sum().backward()
        found.append([states.detach(), own.grad, *(p.grad.clone() for p in cell.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    shapes = ((4, 2, 3), (9, 3), (9, 3), (9,), (9,))
    given = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(_Unrolled.apply, given)


def test_under_autocast_states_are_in_single_and_all_is_near():
    cell, x, weights = both(6, 9, 5, 7, seed=1)
    found = []
    for half in (False, True):
        cell.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            states = unroll_gru(cell, x)
        (states * weights).sum().backward()
        assert states.dtype == torch.float32
        found.append([states.detach(), *(p.grad.clone() for p in cell.parameters())])
    for single, mixed in zip(*found, strict=True):
        assert mixed.dtype == torch.float32
        assert float((single - mixed).abs().max()) < 0.02 * float(single.abs().max()) + 0.01


def test_inputs_that_need_no_gradient_get_none():
    cell, x, _ = both(2, 3, 4, 5, seed=2)
    unroll_gru(cell, x).sum().backward()
    assert x.grad is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        unroll_gru(cell, x).detach().sum().backward()
