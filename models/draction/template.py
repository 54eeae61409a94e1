"""A topology -> the Gaussians that stand for one body: where they sit, how thick they are, what they mean.

Knows no camera, no colours and no learned weights. Everything here is a constant of the topology, except the radii,
which follow the bone lengths of a clip (constants for autograd).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.config import RendererConfig

SIDES = ("centre", "left", "right")
LIMBS = ("torso", "head", "arm", "hand", "leg", "foot", "other")
CONTINUOUS = ("joint", "order", "bone_middle")
VOCABULARY: tuple[str, ...] = (
    *(f"side:{side}" for side in SIDES),
    *(f"limb:{limb}" for limb in LIMBS),
    *CONTINUOUS,
)
"""Names of the columns of a Gaussian's factor vector. Stored in every checkpoint."""
_FRONT = ("hand", "arm", "head", "foot", "leg", "torso")  # what hides what where depths are equal, as in all 2D

_RADIUS_CLAMP_JOINT = (1 / 3, 7 / 6)  # 0.010 and 0.035 m at the default 0.030 m
_RADIUS_CLAMP_BONE = (0.3, 1.5)  # 0.006 and 0.030 m at the default 0.020 m
_HAND_THICKNESS = 0.3  # fingers against limbs
_RATIO_UNKNOWN = 0.5  # of a bone that is never seen, and of a joint where no bone meets


@dataclass(frozen=True)
class SkeletonSpec:
    """What the models know of a topology.

    Attributes:
        name: short name, for messages.
        joint_names: anatomical names in the order of the position array.
        bones: (parent, child) joint indices.
        side: per joint, one of SIDES; anything else counts as "centre".
        limb: per joint, one of LIMBS; anything else counts as "other".
        order: per joint, place along its limb in [0, 1], outermost last.

    Raises:
        ValueError: the tuples differ in length, or a bone names a joint that is not there.
    """

    name: str
    joint_names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    side: tuple[str, ...]
    limb: tuple[str, ...]
    order: tuple[float, ...]

    def __post_init__(self) -> None:
        joints = len(self.joint_names)
        found = (len(self.side), len(self.limb), len(self.order))
        if found != (joints, joints, joints):
            raise ValueError(f"skeleton {self.name}: side, limb and order need {joints} entries each, found {found}")
        for bone in self.bones:
            if not all(0 <= end < joints for end in bone):
                raise ValueError(f"skeleton {self.name}: bone {bone} names a joint outside 0..{joints - 1}")

    def index(self, name: str) -> int | None:
        """Place of a joint in the position array, None where the topology lacks it."""
        return self.joint_names.index(name) if name in self.joint_names else None


@dataclass(frozen=True, eq=False)
class Template:
    """Constants of one body: N = J + E*S Gaussians, joints first, then bone by bone.

    Joints (columns of `blend`, `ends`) stand in drawing order, which a format's own order has no part in: Gaussians of
    equal depth hide each other in the order of the list.

    Attributes:
        blend: (N, J) skinning weights, rows sum to 1; Gaussian n sits at sum_j blend[n, j] x_j (+ offset).
        support: (N, J) 1 where a missing joint hides the Gaussian, else 0.
        factors: (N, len(VOCABULARY)) soft membership in the factors of meaning.
        ends: (E, 2) joints of every bone.
        meeting: (J, D) bones that meet at a joint, padded with E.
        samples: S.
        order: (J,) place of each joint in the format's own order, or None where that is kept (imported weights).
        offset: (N, 3) constant shift of the Gaussians in metres, or None. Only imported weights have one.
        radii: (N,) fixed radii in metres, or None for radii from bone lengths. Only imported weights have them.
        thickness: what radii from bone lengths are multiplied by: 1, and less for a hand without a body.
    """

    blend: Tensor
    support: Tensor
    factors: Tensor
    ends: Tensor
    meeting: Tensor
    samples: int
    order: Tensor | None = None
    offset: Tensor | None = None
    radii: Tensor | None = None
    thickness: float = 1.0

    @property
    def size(self) -> int:
        """N, Gaussians of one body."""
        return self.blend.shape[0]

    def ordered(self, joints: Tensor) -> Tensor:
        """(..., J, C) values of the joints, from the format's own order to the template's."""
        return joints if self.order is None else joints.index_select(-2, self.order)

    def to(self, where: torch.device | torch.dtype) -> Template:
        """The same template on a device, or in a floating-point type (indices keep theirs); itself where it is so."""
        if where in (self.blend.device, self.blend.dtype):
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        if isinstance(where, torch.dtype):
            tensors = {name: value for name, value in tensors.items() if value.is_floating_point()}
        return dataclasses.replace(self, **{name: value.to(where) for name, value in tensors.items()})


@lru_cache(maxsize=256)
def drawing_order(spec: SkeletonSpec) -> tuple[SkeletonSpec, tuple[int, ...]]:
    """The topology with its joints and bones listed by what they mean, and the old place of each joint.

    From front (hands) to back (torso), then by name; the two ends of a bone, and the bones, follow the joints. So a
    file's order of joints changes nothing that is drawn, not even by rounding.
    """

    def rank(joint: int) -> tuple[int, str, int]:
        limb = spec.limb[joint]
        return _FRONT.index(limb) if limb in _FRONT else len(_FRONT), spec.joint_names[joint], joint

    order = sorted(range(len(spec.joint_names)), key=rank)
    place = {old: new for new, old in enumerate(order)}
    bones = sorted(tuple(sorted((place[a], place[b]))) for a, b in spec.bones)
    ordered = dataclasses.replace(
        spec,
        joint_names=tuple(spec.joint_names[j] for j in order),
        bones=tuple((a, b) for a, b in bones),
        side=tuple(spec.side[j] for j in order),
        limb=tuple(spec.limb[j] for j in order),
        order=tuple(spec.order[j] for j in order),
    )
    return ordered, tuple(order)


@lru_cache(maxsize=64)
def template_of(spec: SkeletonSpec, samples: int, device: torch.device) -> Template:
    """The template of a topology with `samples` Gaussians inside every bone, at fractions s/(S+1). Cached."""
    spec, order = drawing_order(spec)
    joints, bones = len(spec.joint_names), len(spec.bones)
    ends = torch.tensor(spec.bones, dtype=torch.long).reshape(bones, 2)
    fraction = torch.arange(1, samples + 1, dtype=torch.float32) / (samples + 1)
    blend = torch.zeros(joints + bones * samples, joints)
    blend[:joints] = torch.eye(joints)
    rows = torch.arange(joints, blend.shape[0])
    along = fraction.repeat(bones)
    blend[rows, ends[:, 0].repeat_interleave(samples)] = 1 - along
    # += so that a bone from a joint to itself still has weights that sum to 1
    blend[rows, ends[:, 1].repeat_interleave(samples)] += along
    return Template(
        blend=blend.to(device),
        support=(blend > 0).float().to(device),
        factors=_factors(spec, blend, along).to(device),
        ends=ends.to(device),
        meeting=_meeting(joints, spec.bones).to(device),
        samples=samples,
        order=torch.tensor(order, dtype=torch.long, device=device),
        thickness=_HAND_THICKNESS if hand_alone(spec) else 1.0,
    )


def hand_alone(spec: SkeletonSpec) -> bool:
    """Whether all joints are of hands: such a figure is a tenth as large as a person."""
    return bool(spec.limb) and all(limb == "hand" for limb in spec.limb)


def _factors(spec: SkeletonSpec, blend: Tensor, along: Tensor) -> Tensor:
    """(N, len(VOCABULARY)): a bone point takes its meaning from both ends, weighted as its position is."""
    joints = len(spec.joint_names)
    of_joint = torch.zeros(joints, len(VOCABULARY))
    for j, (side, limb) in enumerate(zip(spec.side, spec.limb, strict=True)):
        of_joint[j, SIDES.index(side if side in SIDES else "centre")] = 1
        of_joint[j, len(SIDES) + LIMBS.index(limb if limb in LIMBS else "other")] = 1
    of_joint[:, VOCABULARY.index("order")] = torch.tensor(spec.order)
    factors = blend @ of_joint
    factors[:joints, VOCABULARY.index("joint")] = 1
    # Symmetric in the two ends: formats disagree about a bone's direction.
    factors[joints:, VOCABULARY.index("bone_middle")] = 4 * along * (1 - along)
    return factors


def _meeting(joints: int, bones: tuple[tuple[int, int], ...]) -> Tensor:
    at: list[list[int]] = [[e for e, bone in enumerate(bones) if j in bone] for j in range(joints)]
    widest = max(1, *(len(found) for found in at)) if joints else 1
    return torch.tensor([found + [len(bones)] * (widest - len(found)) for found in at], dtype=torch.long)


@torch.no_grad()
def radii_from_lengths(template: Template, positions: Tensor, cfg: RendererConfig) -> Tensor:
    """Radii in metres, thick where bones are long (constants for autograd).

    A bone's length is its median over all frames and persons that show it. With r = length / longest bone, a bone
    point has cfg.bone_radius * r^g and a joint cfg.joint_radius * r^g with r the median over the bones that meet
    there; both are clamped, and times template.thickness.

    Args:
        positions: (B, F, P, J, 3) metres, joints in the template's order, NaN = missing.

    Returns:
        (B, N).
    """
    batch, joints = positions.shape[0], positions.shape[3]
    if template.radii is not None:
        return template.radii.expand(batch, -1)
    ends = positions.flatten(1, 2)[:, :, template.ends]  # (B, F*P, E, 2, 3)
    lengths = (ends[..., 0, :] - ends[..., 1, :]).norm(dim=-1)
    known = lengths.nanmedian(dim=1).values  # (B, E)
    if known.shape[1] == 0:
        ratio = known
    else:
        longest = known.nan_to_num(0.0).amax(dim=1, keepdim=True).clamp_min(1e-6)
        ratio = (known / longest).nan_to_num(_RATIO_UNKNOWN)
    padded = torch.cat([ratio, ratio.new_full((batch, 1), torch.nan)], dim=1)
    at_joint = padded[:, template.meeting].nanquantile(0.5, dim=-1).nan_to_num(_RATIO_UNKNOWN)  # (B, J)
    assert at_joint.shape[1] == joints
    low, high = _RADIUS_CLAMP_JOINT
    joint = (at_joint**cfg.radius_exponent).clamp(low, high) * cfg.joint_radius
    low, high = _RADIUS_CLAMP_BONE
    bone = (ratio**cfg.radius_exponent).clamp(low, high) * cfg.bone_radius
    return torch.cat([joint, bone.repeat_interleave(template.samples, dim=1)], dim=1) * template.thickness
