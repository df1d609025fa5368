"""Recurrent layers, with the inputs and pre-activations of all time steps shown at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.hooks import Hook, Hooks, sampler_of, with_gradient

State = tuple[torch.Tensor, ...]
"""Hidden state [N, H], and for an LSTM the cell state [N, H]."""

Step = Callable[[Sequence[torch.Tensor], State], State]
"""One time step: from the pre-activations [N, rows] of its operators and the state before."""

Native = Callable[..., tuple[torch.Tensor, ...]]
"""One of `FUNCTIONS`."""


def run(
    hooks: Hooks,
    native: Native,
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
    """Run `native`, layer by layer if one is hooked. Gives the output and the last states."""
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
    # Packed sequences have other arguments in these places, and projections have more weights.
    size = 4 if biased is True else 2
    if not isinstance(biased, bool) or len(weights) != size * layers * (1 + bidirectional):
        return whole()
    cells = [_Cell.of(hooks, native, weights[k : k + size]) for k in range(0, len(weights), size)]
    if not any(hook for cell in cells for hook in cell.hooks):
        return whole()
    states = state if isinstance(state, tuple | list) else (state,)
    sequence = inputs.transpose(0, 1) if batch_first else inputs
    lasts: list[State] = []
    for layer in range(layers):
        if layer > 0:
            sequence = F.dropout(sequence, dropout, training)
        ways = []
        for backwards in (False, True)[: 1 + bidirectional]:
            cell, first = cells[len(lasts)], tuple(part[len(lasts)] for part in states)
            hidden, last = cell.run(sequence.flip(0) if backwards else sequence, first)
            ways.append(hidden.flip(0) if backwards else hidden)
            lasts.append(last)
        sequence = torch.cat(ways, -1)
    output = sequence.transpose(0, 1).contiguous() if batch_first else sequence
    return output, *(torch.stack(parts) for parts in zip(*lasts, strict=True))


@dataclass(frozen=True)
class _Cell:
    """One layer in one direction.

    `hooks` are those of its operator on [inputs, hidden state], or of its two operators on each.
    """

    native: Native
    weights: Sequence[torch.Tensor]
    is_joint: bool
    step: Step
    hooks: Sequence[Hook | None]

    @classmethod
    def of(cls, hooks: Hooks, native: Native, weights: Sequence[torch.Tensor]) -> _Cell:
        is_joint, step = FUNCTIONS[native]
        biases = weights[2:]
        if is_joint:
            found = [hooks.hook(weights[:2], biases, name=_layer_name)]
        else:
            found = [
                hooks.hook(weights[k : k + 1], biases[k : k + 1], name=partial(_part_name, part))
                for k, part in enumerate(("ih", "hh"))
            ]
        return cls(native, weights, is_joint, step, found)

    def run(self, inputs: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Hidden states [T, N, H] of inputs [T, N, I], and the last state."""
        if any(hook is not None and hook.wants_outputs for hook in self.hooks):
            return self._unrolled(inputs, state)
        hidden, last = self._whole(inputs, state)
        for place, hook in enumerate(self.hooks):
            if hook is not None:
                before = torch.cat([state[0][None], hidden[:-1]])
                if hook.before(sampler_of(self._seen(inputs, before)[place])):
                    hidden, last = self._whole(inputs, state)
        return hidden, last

    def _whole(self, inputs: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The native function on this layer alone."""
        first = tuple(part[None].contiguous() for part in state)
        biased = len(self.weights) == 4
        hidden, *last = self.native(
            inputs.contiguous(),
            first if len(first) > 1 else first[0],
            list(self.weights),
            biased,
            1,
            0.0,
            False,
            False,
            False,
        )
        return hidden, tuple(part[0] for part in last)

    def _unrolled(self, inputs: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Step by step, so that the gradients of all pre-activations can be had."""
        w_ih, w_hh, *biases = self.weights
        b_ih, b_hh = biases or (None, None)
        of_inputs = F.linear(inputs, w_ih, b_ih)
        rows = of_inputs.shape[-1]
        # They are added as zeros. So their gradients are those of the pre-activations, whose values
        # they get later.
        shown = [
            with_gradient(of_inputs.new_zeros(inputs.shape[0] * inputs.shape[1], rows))
            for _ in self.hooks
        ]
        added = [one.view(of_inputs.shape) for one in shown]
        hidden, before, values = [], [], []
        for t, of_input in enumerate(of_inputs):
            of_hidden = F.linear(state[0], w_hh, b_hh)
            both = [of_input + of_hidden] if self.is_joint else [of_input, of_hidden]
            values.append([one.detach() for one in both])
            before.append(state[0])
            state = self.step([s + a[t] for s, a in zip(both, added, strict=True)], state)
            hidden.append(state[0])
        for one, parts in zip(shown, zip(*values, strict=True), strict=True):
            one.detach().copy_(torch.cat(parts))
        seen = self._seen(inputs, torch.stack(before))
        for hook, of_operator, sums in zip(self.hooks, seen, shown, strict=True):
            if hook is not None:
                hook.show(sampler_of(of_operator), sums)
        return torch.stack(hidden), state

    def _seen(self, inputs: torch.Tensor, before: torch.Tensor) -> list[torch.Tensor]:
        """What each operator sees, of inputs [T, N, I] and hidden states before [T, N, H]."""
        return [torch.cat((inputs, before), -1)] if self.is_joint else [inputs, before]


def _elman(
    activation: Callable[[torch.Tensor], torch.Tensor], sums: Sequence[torch.Tensor], _: State
) -> State:
    return (activation(sums[0]),)


def _lstm(sums: Sequence[torch.Tensor], state: State) -> State:
    i, f, g, o = sums[0].chunk(4, -1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru(sums: Sequence[torch.Tensor], state: State) -> State:
    # The reset gate comes between the two products, so that they are operators of their own.
    input_r, input_z, input_n = sums[0].chunk(3, -1)
    hidden_r, hidden_z, hidden_n = sums[1].chunk(3, -1)
    z = (input_z + hidden_z).sigmoid()
    n = (input_n + (input_r + hidden_r).sigmoid() * hidden_n).tanh()
    return (n + z * (state[0] - n),)


def _layer_name(weight: str) -> str:
    """The layer of a weight: "rnn.l0_reverse" for "rnn.weight_ih_l0_reverse"."""
    return weight.replace("weight_ih_", "").replace("weight_hh_", "")


def _part_name(part: str, weight: str) -> str:
    return f"{_layer_name(weight)}.{part}"


FUNCTIONS: dict[Callable[..., Any], tuple[bool, Step]] = {
    torch.rnn_tanh: (True, partial(_elman, torch.tanh)),
    torch.rnn_relu: (True, partial(_elman, torch.relu)),
    torch.lstm: (True, _lstm),
    torch.gru: (False, _gru),
}
"""Torch's recurrent functions: whether a layer is one operator on both, and its time step."""
