"""Where a Gaussian is and how it moves -> changes of its colour and opacity: in one frame (NFM) or over frames (GRU).

Both give the same five numbers, which add up; `modulated` applies them. Knows no topology: joints, Gaussians are rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_START_GATE = 3.0
_START_DELTA_ALPHA = 2.0
CHANGES = 5
"""d_rgb (3), d_alpha, gate."""


def start_opaque(last: nn.Linear, gain: float) -> None:
    """Make a readout start near the changes that leave limbs solid: weights times `gain`, biases as they must be."""
    with torch.no_grad():
        last.weight.mul_(gain)
        last.bias.copy_(torch.tensor([0.0, 0.0, 0.0, _START_DELTA_ALPHA, _START_GATE]))


def modulated(raw: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """rgb = clamp(sigmoid(raw_rgb) + d_rgb, 0, 1); o = sigmoid(sigmoid(raw_alpha) + d_alpha) sigmoid(gate).

    Args:
        raw: (R, 4) the head's outputs.
        change: (R, 5) d_rgb, d_alpha, gate.

    Returns:
        (R, 3) in [0, 1] and (R,) in (0, 1).
    """
    base = torch.sigmoid(raw)
    rgb = (base[:, :3] + change[:, :3]).clamp(0, 1)
    return rgb, torch.sigmoid(base[:, 3] + change[:, 3]) * torch.sigmoid(change[:, 4])


class Modulator(nn.Module):
    """Neural feature modulator: MLP 10 - width - 5 on one Gaussian in one frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, CHANGES))
        last = self.net[2]
        assert isinstance(last, nn.Linear)
        start_opaque(last, 0.2)

    def forward(self, place: Tensor, velocity: Tensor, raw: Tensor) -> Tensor:
        """(R, 5) changes.

        Args:
            place: (R, 3) camera-space position, metres.
            velocity: (R, 3) camera-space displacement, metres.
            raw: (R, 4) the head's outputs.
        """
        return self.net(torch.cat([place, velocity, raw], dim=-1))


class Memory(nn.Module):
    """GRU over the drawn frames: one state for each joint of each person, shared out to the Gaussians by skinning.

    A state for each joint, not each Gaussian, costs a tenth; the joint's colour tells the cell what it is, so the
    weights serve every topology and no order of joints. Frames are passed from the first to the last; where a joint
    is missing the cell sees zeros and a flag.
    """

    def __init__(self, width: int, alone: bool) -> None:
        """Build; `alone` where no NFM supplies the starting opacity."""
        super().__init__()
        self.gru = nn.GRU(11, width)
        self.out = nn.Linear(width, CHANGES)
        if alone:
            start_opaque(self.out, 0.2)
        else:
            with torch.no_grad():
                self.out.weight.mul_(0.2)
                self.out.bias.zero_()

    def forward(self, place: Tensor, velocity: Tensor, raw: Tensor, known: Tensor) -> Tensor:
        """Changes of every joint.

        Args:
            place: (B, V, M, P, J, 3) camera-space positions, metres, 0 where missing.
            velocity: (B, V, M, P, J, 3) camera-space displacements, metres, 0 where missing.
            raw: (J, 4) the head's outputs for the joints.
            known: (B, M, P, J) bool.

        Returns:
            (B, V, M, P, J, 5).
        """
        there = known[:, None, ..., None].to(place.dtype).expand(*place.shape[:-1], 1)
        seen = torch.cat([place, velocity, raw.expand(*place.shape[:-1], 4) * there, there], dim=-1)
        batch, views, moments, persons, joints, _ = seen.shape
        rows = seen.movedim(2, 0).reshape(moments, batch * views * persons * joints, 11)
        change = self.out(self.gru(rows)[0])
        return change.view(moments, batch, views, persons, joints, CHANGES).movedim(0, 2)
