"""What a Gaussian looks like: its meaning -> feature -> colour and opacity, modulated by place and motion.

Owns all learned weights of the renderer except the depth mix. Knows no projection and no images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.template import LIMBS, SIDES, VOCABULARY, Template

_HEAD_WIDTH = 64
_START_ALPHA = 3.0  # base opacity at the start, as a logit: limbs are solid before anything is learned
_START_GATE = 3.0
_START_DELTA_ALPHA = 2.0
_FLAT_M = 1e-4  # depth range below which a person has no depth to show
# Colour at the start, as logits to be added: left is warm, right is cold; arms lean to green, legs away from it.
_START_SIDE = {"centre": (1.0, 1.0, 1.0), "left": (2.5, 0.0, -2.0), "right": (-2.0, 0.0, 2.5)}
_START_LIMB = {
    "torso": (0.0, 0.0, 0.0),
    "head": (-1.5, 1.5, -1.5),
    "arm": (0.0, 1.2, 0.0),
    "hand": (0.6, 2.4, 0.6),
    "leg": (0.0, -1.6, 0.0),
    "foot": (0.8, -2.2, 0.8),
    "other": (0.0, 0.0, 0.0),
}


def starting_colours() -> Tensor:
    """(3, len(VOCABULARY)) colour logits of side and limb before anything is learned; 0 for the other factors."""
    colours = torch.zeros(3, len(VOCABULARY))
    for names, prefix, start in ((SIDES, "side", _START_SIDE), (LIMBS, "limb", _START_LIMB)):
        for name in names:
            colours[:, VOCABULARY.index(f"{prefix}:{name}")] = torch.tensor(start[name])
    return colours


class FactorAppearance(nn.Module):
    """Feature of a Gaussian = sum of the embeddings of its factors of meaning, so one set serves every topology.

    The factors are soft (a point between shoulder and elbow is partly both), so the sum of embeddings is one linear map
    of the factor vector, whose columns `template.VOCABULARY` names.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        if feature_dim < 3:
            raise ValueError(f"feature_dim: expected at least 3, found {feature_dim}")
        self.embedding = nn.Linear(len(VOCABULARY), feature_dim, bias=False)
        with torch.no_grad():
            self.embedding.weight.normal_(std=0.1)
            meaning = len(SIDES) + len(LIMBS)
            self.embedding.weight[:3, :meaning] = starting_colours()[:, :meaning]

    def forward(self, template: Template) -> Tensor:
        """(N, feature_dim)."""
        return self.embedding(template.factors)


class TableAppearance(nn.Module):
    """One feature row for each Gaussian of ONE topology: the authors' form, for their weights only."""

    def __init__(self, gaussians: int, feature_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(gaussians, feature_dim)

    def forward(self, template: Template) -> Tensor:
        """(N, feature_dim).

        Raises:
            ValueError: the template has another number of Gaussians.
        """
        if template.size != self.table.num_embeddings:
            raise ValueError(f"appearance table: expected {self.table.num_embeddings} Gaussians, found {template.size}")
        return self.table.weight


def appearance_head(feature_dim: int) -> nn.Sequential:
    """MLP feature -> 64 -> raw rgb and raw alpha (before the sigmoid).

    Six hidden units start as the identity on the first three features, relu(x) - relu(-x), so that the starting
    features are the starting colours; the others start small and random.
    """
    head = nn.Sequential(nn.Linear(feature_dim, _HEAD_WIDTH), nn.ReLU(), nn.Linear(_HEAD_WIDTH, 4))
    first, last = head[0], head[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(0.3)
        last.bias.zero_()
        last.bias[3] = _START_ALPHA
        first.weight[:6] = 0
        first.bias[:6] = 0
        last.weight[:, :6] = 0
        for axis in range(3):
            for unit, sign in ((2 * axis, 1.0), (2 * axis + 1, -1.0)):
                first.weight[unit, axis] = sign
                last.weight[axis, unit] = sign
    return head


class Modulator(nn.Module):
    """Neural feature modulator: colour and opacity follow the position and velocity of a Gaussian."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 5))
        last = self.net[2]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.2)
            last.bias.copy_(torch.tensor([0.0, 0.0, 0.0, _START_DELTA_ALPHA, _START_GATE]))

    def forward(self, place: Tensor, velocity: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Modulated colour and opacity.

        rgb = clamp(sigmoid(raw_rgb) + d_rgb, 0, 1); o = sigmoid(sigmoid(raw_alpha) + d_alpha) sigmoid(gate).

        Args:
            place: (R, 3) camera-space position, metres.
            velocity: (R, 3) camera-space displacement, metres.
            raw: (R, 4) the head's outputs.

        Returns:
            (R, 3) in [0, 1] and (R,) in (0, 1).
        """
        out = self.net(torch.cat([place, velocity, raw], dim=-1))
        base = torch.sigmoid(raw)
        rgb = (base[:, :3] + out[:, :3]).clamp(0, 1)
        return rgb, torch.sigmoid(base[:, 3] + out[:, 3]) * torch.sigmoid(out[:, 4])


class Appearance(nn.Module):
    """Feature source, head and modulator together."""

    def __init__(self, cfg: RendererConfig, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = appearance_head(cfg.feature_dim)
        self.modulator = Modulator(cfg.nfm_width) if cfg.nfm else None

    def forward(self, template: Template, kind: Tensor, place: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and opacity of R drawn Gaussians.

        Args:
            template: of the topology.
            kind: (R,) which of the template's N Gaussians each is.
            place: (R, 3) camera-space position relative to the camera's origin point, metres.
            velocity: (R, 3) camera-space displacement over the stride, metres.

        Returns:
            (R, 3) in [0, 1] and (R,) in (0, 1).
        """
        raw = self.head(self.features(template))  # (N, 4): once for each kind, not for each frame
        if self.modulator is not None:
            return self.modulator(place, velocity, raw.index_select(0, kind))
        base = torch.sigmoid(raw).index_select(0, kind)
        return base[:, :3], base[:, 3]


def depth_colour(depth: Tensor, valid: Tensor) -> Tensor:
    """Colour by relative depth within one person and frame: d near 0, (d, 1 - |2d - 1|, 1 - d).

    Args:
        depth: (..., N) camera z, metres.
        valid: (..., N) bool, Gaussians that exist.

    Returns:
        (..., N, 3) in [0, 1]; finite where nothing is valid. A flat person (lifted 2D) has d = 0.5 all over:
        the formula would magnify rounding errors.
    """
    nearest = torch.where(valid, depth, torch.inf).amin(-1, keepdim=True)
    farthest = torch.where(valid, depth, -torch.inf).amax(-1, keepdim=True)
    nearest = torch.where(valid.any(-1, keepdim=True), nearest, 0.0)
    farthest = torch.where(valid.any(-1, keepdim=True), farthest, 1.0)
    d = ((depth - nearest) / (farthest - nearest + 1e-6)).clamp(0, 1)
    d = torch.where(farthest - nearest < _FLAT_M, 0.5, d)
    return torch.stack([d, 1 - (2 * d - 1).abs(), 1 - d], dim=-1)
