"""Recurrent layers, unrolled so that the pre-activations of every time step can be seen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.hooks import Hooks

State = tuple[torch.Tensor, ...]
"""Hidden state [N, H], and for an LSTM the cell state [N, H]."""

Step = Callable[[torch.Tensor, State], State]
"""One time step: from inputs [N, I] and the state before to the state after."""

Affine = Callable[..., torch.Tensor]
"""Pre-activations [N, rows] of one or two tensors [N, ...]."""


def run(
    hooks: Hooks,
    native: Callable[..., tuple[torch.Tensor, ...]],
    inputs: Any,
    state: Any,
    weights: Any,
    biased: Any,
    layers: Any,
    dropout: Any,
    training: Any,
    bidirectional: Any,
    batch_first: Any,
) -> tuple[torch.Tensor, ...]:
    """`native`, one of `FUNCTIONS`: output and last states. Unrolled if a layer of it is hooked."""
    whole = partial(
        native,
        inputs,
        state,
        weights,
        biased,
        layers,
        dropout,
        training,
        bidirectional,
        batch_first,
    )
    # Packed sequences come with other arguments in these places, and projections with more weights.
    size = 4 if biased is True else 2
    if not isinstance(biased, bool) or len(weights) != size * layers * (1 + bidirectional):
        return whole()
    cells = [FUNCTIONS[native](hooks, *weights[k : k + size]) for k in range(0, len(weights), size)]
    if not any(hooked for _, hooked in cells):
        return whole()
    states = state if isinstance(state, tuple | list) else (state,)
    sequence = inputs.transpose(0, 1) if batch_first else inputs
    lasts: list[State] = []
    for layer in range(layers):
        if layer > 0:
            sequence = F.dropout(sequence, dropout, training)
        ways = []
        for backwards in (False, True)[: 1 + bidirectional]:
            step, first = cells[len(lasts)][0], tuple(part[len(lasts)] for part in states)
            hidden, last = _scan(step, sequence, first, backwards)
            ways.append(hidden)
            lasts.append(last)
        sequence = torch.cat(ways, -1)
    output = sequence.transpose(0, 1).contiguous() if batch_first else sequence
    return output, *(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _scan(
    step: Step, inputs: torch.Tensor, state: State, backwards: bool
) -> tuple[torch.Tensor, State]:
    """Hidden states [T, N, H] in the order of inputs [T, N, I], and the state after the last step."""
    hidden = []
    for x in inputs.flip(0) if backwards else inputs:
        state = step(x, state)
        hidden.append(state[0])
    return torch.stack(hidden[::-1] if backwards else hidden), state


def _elman(
    activation: Callable[[torch.Tensor], torch.Tensor], hooks: Hooks, *weights: torch.Tensor
) -> tuple[Step, bool]:
    affine, hooked = _joint(hooks, *weights)

    def step(x: torch.Tensor, state: State) -> State:
        return (activation(affine(x, state[0])),)

    return step, hooked


def _lstm(hooks: Hooks, *weights: torch.Tensor) -> tuple[Step, bool]:
    affine, hooked = _joint(hooks, *weights)

    def step(x: torch.Tensor, state: State) -> State:
        i, f, g, o = affine(x, state[0]).chunk(4, -1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell

    return step, hooked


def _gru(
    hooks: Hooks,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
) -> tuple[Step, bool]:
    # The reset gate comes between the two products, so that they are operators of their own.
    of_input, input_hooked = _affine(hooks, w_ih, b_ih, lambda name: _layer_name(name) + ".ih")
    of_hidden, hidden_hooked = _affine(hooks, w_hh, b_hh, lambda name: _layer_name(name) + ".hh")

    def step(x: torch.Tensor, state: State) -> State:
        input_r, input_z, input_n = of_input(x).chunk(3, -1)
        hidden_r, hidden_z, hidden_n = of_hidden(state[0]).chunk(3, -1)
        z = (input_z + hidden_z).sigmoid()
        n = (input_n + (input_r + hidden_r).sigmoid() * hidden_n).tanh()
        return (n + z * (state[0] - n),)

    return step, input_hooked or hidden_hooked


def _joint(
    hooks: Hooks,
    w_ih: torch.Tensor,
    w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None,
    b_hh: torch.Tensor | None = None,
) -> tuple[Affine, bool]:
    """The sum of both products, as one operator on [inputs, hidden state]."""
    hook = hooks.hook([w_ih, w_hh], [b_ih, b_hh], name=_layer_name)

    def affine(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        outputs = F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh)
        return outputs if hook is None else hook(torch.cat((x, h), -1), outputs)

    return affine, hook is not None


def _affine(
    hooks: Hooks, weight: torch.Tensor, bias: torch.Tensor | None, name: Callable[[str], str]
) -> tuple[Affine, bool]:
    hook = hooks.hook([weight], [bias], name=name)

    def affine(x: torch.Tensor) -> torch.Tensor:
        outputs = F.linear(x, weight, bias)
        return outputs if hook is None else hook(x, outputs)

    return affine, hook is not None


def _layer_name(weight: str) -> str:
    """The layer of a weight: "rnn.l0_reverse" for "rnn.weight_ih_l0_reverse"."""
    return weight.replace("weight_ih_", "").replace("weight_hh_", "")


FUNCTIONS: dict[Callable[..., Any], Callable[..., tuple[Step, bool]]] = {
    torch.rnn_tanh: partial(_elman, torch.tanh),
    torch.rnn_relu: partial(_elman, torch.relu),
    torch.lstm: _lstm,
    torch.gru: _gru,
}
"""Torch's recurrent functions, and what makes one layer's step and says if it is hooked."""
