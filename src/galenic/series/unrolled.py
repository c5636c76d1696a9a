"""A layer of gated recurrent units on the CPU, forward and backward by hand: fewer, larger operations than torch's own.

The equations are those of torch.nn.GRU (Cho et al., EMNLP 2014). The inputs of all steps go through one product; the
backward pass holds what does not depend on it for all steps at once, so that a step back is four operations, and the
gradients of the weights are a product each. Under autocast the products over all steps are in half precision, and what
goes from step to step stays in single.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Unrolled(torch.autograd.Function):
    """States (steps, batch, hidden) of inputs (steps, batch, width), from a state of zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor) -> Tensor:
        """Weights and biases as torch.nn.GRU holds them: reset, update and new gate, one below the other.

        Inputs in half precision go through their product in it; all else is in the precision of the weights.
        """
        steps, batch, width = x.shape
        hidden = w_state.shape[1]
        flat = x.reshape(steps * batch, width)
        given = (flat @ w_in.t().to(flat.dtype)).to(w_in.dtype).add_(b_in).view(steps, batch, 3 * hidden)
        states = w_in.new_zeros(steps + 1, batch, hidden)
        gates = w_in.new_empty(steps, batch, 2 * hidden)  # reset, update
        news = w_in.new_empty(steps, batch, hidden)
        carried = w_in.new_empty(steps, batch, 3 * hidden)  # what the state before gives to each gate
        turned, cut = w_state.t(), 2 * hidden
        for before, after, own, gate, new, gave in zip(
            states[:-1].unbind(), states[1:].unbind(), given.unbind(), gates.unbind(), news.unbind(),
            carried.unbind(), strict=True,
        ):  # fmt: skip
            torch.addmm(b_state, before, turned, out=gave)
            torch.add(own[:, :cut], gave[:, :cut], out=gate).sigmoid_()
            torch.addcmul(own[:, cut:], gate[:, :hidden], gave[:, cut:], out=new).tanh_()
            torch.lerp(new, before, gate[:, hidden:], out=after)
        ctx.save_for_backward(flat, w_in, w_state, states, gates, news, carried)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        flat, w_in, w_state, states, gates, news, carried = ctx.saved_tensors
        steps, batch, hidden = news.shape
        of_new, slopes = _slopes(states[:-1], gates, news, carried)
        back, at_states = torch.empty_like(slopes), torch.empty_like(news)
        now = news.new_zeros(batch, hidden)
        for grad, slope, gate, own, kept in zip(
            *(reversed(one.unbind()) for one in (grads[0], slopes, gates[:, :, hidden:], back, at_states)), strict=True
        ):
            torch.add(now, grad, out=kept)
            torch.mul(kept[:, None], slope, out=own)
            now = torch.addmm(kept * gate, own.view(batch, 3 * hidden), w_state)
        to_state = back.view(steps * batch, 3 * hidden)
        to_new = at_states.mul_(of_new).view(steps * batch, hidden)  # the new gate's input is not behind the reset gate
        to_gates = to_state[:, : 2 * hidden]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.addmm(to_gates @ w_in[: 2 * hidden], to_new, w_in[2 * hidden :])
            of_x = of_x.view(steps, batch, -1).to(flat.dtype)
        of_in = [one.to(flat.dtype).t() @ flat for one in (to_gates, to_new)]
        of_b = to_state.sum(dim=0)
        return (
            of_x, torch.cat(of_in).to(w_in.dtype), to_state.t() @ states[:-1].reshape(steps * batch, hidden),
            torch.cat([of_b[: 2 * hidden], to_new.sum(dim=0)]), of_b,
        )  # fmt: skip


def _slopes(before: Tensor, gates: Tensor, news: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """How a state's change goes on: to the new gate's input, and (steps, batch, 3, hidden) to what the state before
    gives to each gate."""
    steps, batch, hidden = news.shape
    reset, update = gates[:, :, :hidden], gates[:, :, hidden:]
    slopes = news.new_empty(steps, batch, 3, hidden)
    flat = torch.addcmul(news.new_ones(()), news, news, value=-1)
    of_new = flat.addcmul_(flat, update, value=-1)  # (1 - n^2) (1 - z)
    torch.mul(torch.addcmul(update, update, update, value=-1), before - news, out=slopes[:, :, 1])
    of_reset = torch.addcmul(reset, reset, reset, value=-1).mul_(carried[:, :, 2 * hidden :])
    torch.mul(of_reset, of_new, out=slopes[:, :, 0])
    torch.mul(of_new, reset, out=slopes[:, :, 2])
    return of_new, slopes


def unroll_gru(cell: nn.GRU, x: Tensor) -> Tensor:
    """States (batch, steps, hidden) of inputs (batch, steps, width), as `cell(x)[0]` gives them; one layer."""
    weights = (cell.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    half = torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False):
        states: Tensor = _Unrolled.apply((x.bfloat16() if half else x.float()).transpose(0, 1), *weights)
    return states.transpose(0, 1)
