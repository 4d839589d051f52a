# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Point heads: the features of a point's pillar, refined by its place in the pillar, to a flow vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LinearHead(nn.Module):
    """The head of FastFlow3D: one hidden layer on pillar and offset features."""

    def __init__(self, pillar: int, hidden: int) -> None:
        super().__init__()
        self.offset_encoder = nn.Linear(3, pillar)
        self.decoder = nn.Sequential(nn.Linear(2 * pillar, hidden), nn.GELU(), nn.Linear(hidden, 3))

    def forward(self, pillar: Tensor, offset: Tensor) -> Tensor:
        """Pillar features (N, pillar) and offsets (N, 3) m to flow (N, 3) m."""
        return self.decoder(torch.cat([pillar, self.offset_encoder(offset)], dim=1))


class ConvGRU(nn.Module):
    """Gated recurrent unit whose input stays the same in every iteration."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.convz = nn.Conv1d(hidden + inputs, hidden, 1)
        self.convr = nn.Conv1d(hidden + inputs, hidden, 1)
        self.convq = nn.Conv1d(hidden + inputs, hidden, 1)

    def forward(self, state: Tensor, inputs: Tensor, iterations: int) -> Tensor:
        """State (N, hidden) after `iterations` updates with inputs (N, inputs)."""
        gates = torch.cat([self.convz.weight, self.convr.weight]).squeeze(2)
        candidate = self.convq.weight.squeeze(2)
        # The input's share of each gate is the same in every iteration.
        bias = torch.cat([self.convz.bias, self.convr.bias])  # type: ignore[list-item]  # none of them is None
        from_input = F.linear(inputs, gates[:, self.hidden :], bias)
        from_input_q = F.linear(inputs, candidate[:, self.hidden :], self.convq.bias)
        for _ in range(iterations):
            both = torch.sigmoid(F.linear(state, gates[:, : self.hidden]) + from_input)
            update, reset = both.chunk(2, dim=1)
            new = torch.tanh(F.linear(reset * state, candidate[:, : self.hidden]) + from_input_q)
            state = torch.lerp(state, new, update)
        return state


class GRUHead(nn.Module):
    """The head of DeFlow: a GRU refines the pillar features with the offset features."""

    def __init__(self, pillar: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        inputs = pillar // 2
        self.offset_encoder = nn.Linear(3, inputs)
        self.gru = ConvGRU(pillar, inputs)
        self.decoder = nn.Sequential(nn.Linear(pillar + inputs, inputs // 2), nn.GELU(), nn.Linear(inputs // 2, 3))

    def forward(self, pillar: Tensor, offset: Tensor) -> Tensor:
        """Pillar features (N, pillar) and offsets (N, 3) m to flow (N, 3) m."""
        inputs = self.offset_encoder(offset)
        state = self.gru(pillar, inputs, self.iterations)
        return self.decoder(torch.cat([state, inputs], dim=1))
