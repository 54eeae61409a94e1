"""Where the virtual camera stands: joint positions of a clip -> a pinhole camera, from one or more sides.

Fitting a camera is pure torch without gradients, well below a millisecond a clip; what is drawn through a camera has
gradients with respect to its tensors, and `LearnedView` learns a change of it. World: the record's convention (metres,
+y up, right-handed; for camera formats +x towards the image's left and +z into the scene). Camera space: x right, y up,
z into the scene.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.template import SkeletonSpec, drawing_order, hand_alone

_PUSH_BELOW_M = 0.5  # the authors' rule: median depth nearer than this is moved by _PUSH_M
_PUSH_M = 1.0
_FLAT_M = 0.01  # a clip no deeper than this is planar (lifted 2D): turning it would mirror or squash it
_PRESENT_SHARE = 0.25  # a person seen in fewer of the frames than this share of the most seen one is ignored
_SURE = 0.2  # least mean length of the unit facing vectors: below, the clip has no one direction
_APART_M = 0.15  # two persons nearer than this have no line between them


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole camera: x_cam = rotation @ x + translation, u = focal x/z + cx, v = cy - focal y/z.

    One pose, or V of them stacked: then the clip is drawn from each. Gradients flow into whichever tensors ask for it.

    Attributes:
        rotation: (3, 3) or (V, 3, 3) world to camera. Its determinant is -1 for true left and right (camera space has
            z inward).
        translation: (3,) or (V, 3) metres.
        focal_px: pixels; a number or a scalar tensor, like cx and cy.
        cx: pixels.
        cy: pixels.
        origin: (3,) or (V, 3) camera-space point that the feature modulator measures positions from and that a learned
            camera turns about, metres.
        planar: the clip has no depth; a learned camera does not turn it.
    """

    rotation: Tensor
    translation: Tensor
    focal_px: float | Tensor
    cx: float | Tensor
    cy: float | Tensor
    origin: Tensor
    planar: bool = False

    @property
    def views(self) -> int:
        """V."""
        return 1 if self.rotation.dim() == 2 else self.rotation.shape[0]

    def to(self, device: torch.device | str) -> Camera:
        """The same camera with its tensors on a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **tensors)


def stacked(cameras: Sequence[Camera]) -> Camera:
    """Cameras of one clip as one with V poses; all share the first one's intrinsics."""
    if len(cameras) == 1:
        return cameras[0]
    return dataclasses.replace(
        cameras[0],
        rotation=torch.stack([camera.rotation for camera in cameras]),
        translation=torch.stack([camera.translation for camera in cameras]),
        origin=torch.stack([camera.origin for camera in cameras]),
    )


class LearnedView(nn.Module):
    """A learned turn (yaw), tilt (pitch) and change of distance of each view, about the camera's origin point.

    All start at 0, which changes nothing. Planar clips are only brought nearer or farther.
    """

    def __init__(self, views: int) -> None:
        super().__init__()
        self.yaw = nn.Parameter(torch.zeros(views))
        self.pitch = nn.Parameter(torch.zeros(views))
        self.log_distance = nn.Parameter(torch.zeros(views))

    def forward(self, rotation: Tensor, shift: Tensor, origin: Tensor, planar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x' = Q (x - o) + s o with Q = Q_pitch Q_yaw and s = e^log_distance, in camera space.

        Args:
            rotation: (B, V, 3, 3).
            shift: (B, V, 3) metres.
            origin: (B, V, 3) o, metres.
            planar: (B,) bool.

        Returns:
            The same three of the changed cameras.

        Raises:
            ValueError: another number of views than was learned.
        """
        if rotation.shape[1] != len(self.yaw):
            raise ValueError(f"learned camera: expected {len(self.yaw)} views, found {rotation.shape[1]}")
        turns = (~planar).to(self.yaw.dtype)[:, None]
        yaw, pitch = self.yaw * turns, self.pitch * turns  # (B, V)
        zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
        cos, sin = yaw.cos(), yaw.sin()
        about_y = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(-1, (3, 3))
        cos, sin = pitch.cos(), pitch.sin()
        about_x = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).unflatten(-1, (3, 3))
        turn = about_x @ about_y
        moved = origin * self.log_distance.exp()[:, None]
        shift = (turn @ (shift - origin)[..., None]).squeeze(-1) + moved
        return turn @ rotation, shift, moved


def focal_length(cfg: RendererConfig) -> float:
    """f = W / (2 tan(fov / 2)), pixels."""
    return cfg.image_size / (2 * math.tan(math.radians(cfg.fov_deg) / 2))


def _camera(rotation: Tensor, translation: Tensor, origin: Tensor, cfg: RendererConfig, planar: bool = False) -> Camera:
    centre = cfg.image_size / 2
    return Camera(rotation, translation, focal_length(cfg), centre, centre, origin, planar)


@torch.no_grad()
def identity_camera(cfg: RendererConfig, positions: Tensor | None = None) -> Camera:
    """The authors' camera: at the origin, looking along +z, +x drawn to the right (a mirror image for Kinect data).

    Args:
        cfg: image size and field of view.
        positions: (T, P, J, 3), NaN = missing. Where their median depth is below 0.5 m in magnitude, the clip is
            pushed 1 m away; None never pushes.
    """
    push = 0.0
    if positions is not None:
        depth = positions[..., 2].flatten()
        median = float(depth[torch.isfinite(depth)].median()) if torch.isfinite(depth).any() else 0.0
        push = _PUSH_M if abs(median) < _PUSH_BELOW_M else 0.0
    return _camera(torch.eye(3), torch.tensor([0.0, 0.0, push]), torch.zeros(3), cfg)


@torch.no_grad()
def fit_camera(positions: Tensor, spec: SkeletonSpec, cfg: RendererConfig, yaw: float = 0.0) -> Camera:
    """A level camera that frames all persons in all frames, with true left and right.

    It stands at least cfg.distance from the clip's centre and steps back until everything lies inside the margin. A
    hand without a body, a tenth of a person, is framed as near as the margin allows.
    View "front" stands before the person, or across the line between two; "sensor" looks along +z. Planar clips
    (lifted 2D) and skeletons without left and right are always seen from the sensor.

    Args:
        positions: (T, P, J, 3) metres, NaN = missing.
        spec: names the left and right joints.
        cfg: view, distance, margin, field of view, image size.
        yaw: further turn about the vertical, radians (training augmentation, extra views); ignored for planar clips.
    """
    positions = positions.float()
    points = positions.flatten(0, 2)
    points = points[torch.isfinite(points).all(-1)]
    forward = torch.tensor([0.0, 0.0, 1.0])
    if len(points) == 0:
        return _camera(_look(forward), torch.tensor([0.0, 0.0, cfg.distance]), _ahead(cfg.distance), cfg)
    extent = points.amax(0) - points.amin(0)
    planar = float(extent[2]) <= _FLAT_M
    if not planar:
        if cfg.view == "front":
            forward = view_direction(positions, spec)
        forward = _turn(forward, yaw)
    rotation = _look(forward)
    seen = points @ rotation.T
    eye, distance = _stand(seen, cfg, 0.0 if hand_alone(spec) else cfg.distance)
    return _camera(rotation, -eye, _ahead(distance), cfg, planar)


def clip_camera(positions: Tensor, spec: SkeletonSpec, cfg: RendererConfig, yaw: float = 0.0) -> Camera:
    """The camera that the configuration asks for, with one pose for each of cfg.views.

    Args:
        positions: (T, P, J, 3) metres, NaN = missing.
        spec: names the left and right joints.
        cfg: camera, views.
        yaw: further turn of all views, radians.
    """
    if cfg.camera == "identity":
        return identity_camera(cfg, positions)
    return stacked([fit_camera(positions, spec, cfg, yaw + math.radians(view)) for view in cfg.views])


def _ahead(distance: float) -> Tensor:
    return torch.tensor([0.0, 0.0, distance])


def _turn(forward: Tensor, yaw: float) -> Tensor:
    cos, sin = math.cos(yaw), math.sin(yaw)
    x, _, z = forward.tolist()
    return torch.tensor([cos * x + sin * z, 0.0, cos * z - sin * x])


def _look(forward: Tensor) -> Tensor:
    """Rows right, up, forward, with right = forward x up and up = +y; `forward` is horizontal and of length 1."""
    x, _, z = forward.tolist()
    return torch.tensor([[-z, 0.0, x], [0.0, 1.0, 0.0], [x, 0.0, z]])


def _stand(seen: Tensor, cfg: RendererConfig, least: float) -> tuple[Tensor, float]:
    """Nearest point from which all of `seen` (N, 3; right, up, forward axes) lies inside the margin.

    Inside means |a - a0| <= k (c - c0) across and up, with k = (1 - 2 margin) tan(fov/2): a pair of planes on each
    axis, whose intersection gives the nearest eye (a0, c0) in closed form. `least`: metres from the middle.

    Returns:
        The eye in those axes, and its distance from the middle of the points' depth range.
    """
    k = (1 - 2 * cfg.margin) * math.tan(math.radians(cfg.fov_deg) / 2)
    sideways, depth = seen[:, :2], seen[:, 2:]
    high = (sideways - k * depth).amax(0)
    low = (sideways + k * depth).amin(0)
    near, far = float(depth.amin()), float(depth.amax())
    middle = (near + far) / 2
    limits = ((low - high) / (2 * k)).tolist()
    back = min(*limits, middle - least)
    centre = ((low + high) / 2).tolist()
    return torch.tensor([centre[0], centre[1], back]), middle - back


def view_direction(positions: Tensor, spec: SkeletonSpec) -> Tensor:
    """Horizontal unit vector along which the "front" view looks; +z (the sensor's) where nothing is known.

    Args:
        positions: (T, P, J, 3) metres, NaN = missing.
        spec: names the left and right joints.

    Returns:
        (3,).
    """
    sensor = torch.tensor([0.0, 0.0, 1.0])
    spec, order = drawing_order(spec)  # sums below then round alike whatever the file's order of joints
    positions = positions[:, :, list(order)]
    known = torch.isfinite(positions).all(-1)
    shown = known.any(-1).float().mean(0)  # (P,) share of frames
    persons = (shown >= _PRESENT_SHARE * shown.max()).nonzero().squeeze(1)
    if len(persons) > 1:
        pair = persons[torch.sort(shown[persons], descending=True, stable=True).indices[:2]]
        middles = positions[:, pair].nanmean(2)  # (T, 2, 3)
        line = (middles[:, 1] - middles[:, 0]).nanmean(0).nan_to_num(0.0)
        across = torch.stack([-line[2], line.new_zeros(()), line[0]])
        length = float(across.norm())
        if length > _APART_M:
            across = across / length
            return across if float(across[2]) >= 0 else -across
    rightward = facing_right(positions[:, persons], spec)
    # The person looks along up x right = (r_z, 0, -r_x); the camera looks back along the opposite.
    return sensor if rightward is None else torch.stack([-rightward[2], rightward.new_zeros(()), rightward[0]])


def facing_right(positions: Tensor, spec: SkeletonSpec) -> Tensor | None:
    """Horizontal unit vector to the person's right: mean over frames, persons, hips and shoulders.

    Args:
        positions: (T, P, J, 3) metres, NaN = missing.
        spec: joints named left_x and right_x that lie at the trunk (hips, shoulders, clavicles) are used.

    Returns:
        (3,), or None where no such joints are seen or the clip has no one direction.
    """
    pairs = _trunk_pairs(spec)
    if not pairs:
        return None
    left, right = torch.tensor(pairs).unbind(1)
    across = positions[:, :, right] - positions[:, :, left]
    across = across[..., [0, 2]].reshape(-1, len(pairs), 2).nanmean(1)
    length = across.norm(dim=-1, keepdim=True)
    unit = (across / length)[(length.squeeze(-1) > 1e-4)]  # drops NaN too: every comparison with NaN is false
    if len(unit) == 0:
        return None
    mean = unit.mean(0)
    size = float(mean.norm())
    if size < _SURE:
        return None
    x, z = (mean / size).tolist()
    return torch.tensor([x, 0.0, z])


def _trunk_pairs(spec: SkeletonSpec) -> list[tuple[int, int]]:
    """(left, right) joints where arms and legs meet the trunk."""
    pairs: list[tuple[int, int]] = []
    for j, (name, limb, order) in enumerate(zip(spec.joint_names, spec.limb, spec.order, strict=True)):
        partner = spec.index("right_" + name.removeprefix("left_")) if name.startswith("left_") else None
        if partner is not None and limb in ("arm", "leg") and order < 0.2:
            pairs.append((j, partner))
    return pairs
