"""A layer of gated recurrent units on the CPU, forward and backward by hand: fewer, larger operations than torch's own.

The equations are those of torch.nn.GRU (Cho et al., EMNLP 2014). The inputs of all steps go through one product; the
backward pass holds what does not depend on it for all steps at once, so that a step back is four operations, and the
gradients of the weights are one product each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Unrolled(torch.autograd.Function):
    """States (steps, batch, hidden) of inputs (steps, batch, width), from a state of zeros."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor) -> Tensor:
        """Weights and biases as torch.nn.GRU holds them: reset, update and new gate, one below the other."""
        steps, batch, width = x.shape
        hidden = w_state.shape[1]
        given = torch.addmm(b_in, x.reshape(steps * batch, width), w_in.t()).view(steps, batch, 3 * hidden)
        states = x.new_zeros(steps + 1, batch, hidden)
        gates = x.new_empty(steps, batch, 2 * hidden)  # reset, update
        news = x.new_empty(steps, batch, hidden)
        carried = x.new_empty(steps, batch, 3 * hidden)  # what the state before gives to each gate
        turned = w_state.t()
        cut = 2 * hidden
        for before, after, own, gate, new, gave in zip(
            states[:-1].unbind(), states[1:].unbind(), given.unbind(), gates.unbind(), news.unbind(),
            carried.unbind(), strict=True,
        ):  # fmt: skip
            torch.addmm(b_state, before, turned, out=gave)
            torch.add(own[:, :cut], gave[:, :cut], out=gate).sigmoid_()
            torch.addcmul(own[:, cut:], gate[:, :hidden], gave[:, cut:], out=new).tanh_()
            torch.lerp(new, before, gate[:, hidden:], out=after)
        ctx.save_for_backward(x, w_in, w_state, states, gates, news, carried)
        return states[1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, w_in, w_state, states, gates, news, carried = ctx.saved_tensors
        steps, batch, hidden = news.shape
        before = states[:-1]
        reset, update = gates.split(hidden, dim=2)
        of_new = (1 - update) * (1 - news * news)
        of_update = (before - news) * update * (1 - update)
        of_reset = of_new * carried[:, :, 2 * hidden :] * reset * (1 - reset)
        slopes = torch.stack([of_reset, of_update, of_new * reset], dim=2)  # (steps, batch, 3, hidden)
        back = torch.empty_like(slopes)
        at_states = torch.empty_like(news)
        now = x.new_zeros(batch, hidden)
        for grad, slope, gate, own, kept in zip(
            reversed(grads[0].unbind()), reversed(slopes.unbind()), reversed(update.unbind()), reversed(back.unbind()),
            reversed(at_states.unbind()), strict=True,
        ):  # fmt: skip
            torch.add(now, grad, out=kept)
            torch.mul(kept[:, None], slope, out=own)
            now = torch.addmm(kept * gate, own.view(batch, 3 * hidden), w_state)
        to_state = back.view(steps * batch, 3 * hidden)
        back_in = back.clone()
        torch.mul(at_states, of_new, out=back_in[:, :, 2])
        to_input = back_in.view(steps * batch, 3 * hidden)
        of_x = (to_input @ w_in).view_as(x) if ctx.needs_input_grad[0] else None
        return (
            of_x, to_input.t() @ x.reshape(steps * batch, -1), to_state.t() @ before.reshape(steps * batch, hidden),
            to_input.sum(dim=0), to_state.sum(dim=0),
        )  # fmt: skip


def unroll_gru(cell: nn.GRU, x: Tensor) -> Tensor:
    """States (batch, steps, hidden) of inputs (batch, steps, width), as `cell(x)[0]` gives them; one layer."""
    weights = (cell.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    states: Tensor = _Unrolled.apply(x.transpose(0, 1), *weights)
    return states.transpose(0, 1)
