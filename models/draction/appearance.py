"""What a Gaussian looks like: its meaning -> feature -> colour and opacity, modulated by place and motion.

Owns all learned weights of the renderer except the depth mix and the learned camera. Knows no projection and no images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.body import Body
from models.draction.modulator import Memory, Modulator, modulated
from models.draction.template import LIMBS, SIDES, VOCABULARY, Template

_HEAD_WIDTH = 64
_START_ALPHA = 3.0  # base opacity at the start, as a logit: limbs are solid before anything is learned
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


class Appearance(nn.Module):
    """Feature source, head and modulators together."""

    def __init__(self, cfg: RendererConfig, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = appearance_head(cfg.feature_dim)
        self.modulator = Modulator(cfg.nfm_width) if cfg.nfm else None
        self.memory = Memory(cfg.gru_width, alone=not cfg.nfm) if cfg.gru else None

    def forward(self, body: Body) -> tuple[Tensor, Tensor]:
        """Colour and opacity of the R Gaussians of a group of clips.

        Returns:
            (R, 3) in [0, 1] and (R,) in (0, 1).
        """
        raw = self.head(self.features(body.template))  # (N, 4): once for each kind, not for each frame
        own = raw.index_select(0, body.kind)
        changes: list[Tensor] = []
        if self.modulator is not None:
            changes.append(self.modulator(body.from_origin, body.velocity, own))
        if self.memory is not None:
            joints = body.template.blend.shape[1]
            change = self.memory(body.joints, body.joint_velocity, raw[:joints], body.known)
            changes.append((body.template.blend @ change).flatten(0, -2).index_select(0, body.rows))
        if changes:
            return modulated(own, sum(changes[1:], changes[0]))
        base = torch.sigmoid(raw).index_select(0, body.kind)
        return base[:, :3], base[:, 3]
