"""Renderer weights <-> safetensors: our own files (configuration and vocabulary inside) and the authors' released ones.

Never unpickles anything. What a file declares is compared with the shapes it must have before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.appearance import TableAppearance
from models.draction.registry import RENDERERS, make_renderer
from models.draction.renderer import DrAction, SceneRenderer
from models.draction.template import VOCABULARY, SkeletonSpec, Template

FORMAT = "skeleton-ray renderer 1"
_SUPPORT = 0.02  # blend weight from which a missing joint hides an imported Gaussian: softmax is never exactly 0
_EMBEDDING = "appearance.features.embedding.weight"
_RELEASED = {
    "appearance.features.table.weight": "canonical_features",
    "appearance.head.0.weight": "appearance_head.0.weight",
    "appearance.head.0.bias": "appearance_head.0.bias",
    "appearance.head.2.weight": "appearance_head.2.weight",
    "appearance.head.2.bias": "appearance_head.2.bias",
    "depth_mix": "depth_mix_logit",
}
_RELEASED_NFM = {
    f"appearance.modulator.net.{layer}.{kind}": f"nfm.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
}
_GEOMETRY = ("canonical_joints", "canonical_means", "canonical_scales", "lbs_weights_logits")


def save_renderer(renderer: nn.Module, path: str | Path) -> None:
    """Write a renderer as safetensors; its configuration and vocabulary go into the metadata.

    A fixed renderer's file holds its configuration and no tensors.

    Raises:
        TypeError: not the renderer that its own configuration names, or one that was imported for one topology.
    """
    if not isinstance(renderer, SceneRenderer) or type(renderer) is not RENDERERS[renderer.cfg.kind]:
        raise TypeError(f"save_renderer: expected what make_renderer builds, found {type(renderer).__name__}")
    metadata = {
        "format": FORMAT,
        "config": json.dumps(dataclasses.asdict(renderer.cfg)),
        "vocabulary": json.dumps(VOCABULARY),
    }
    state = {name: value.detach().float().cpu().contiguous() for name, value in renderer.state_dict().items()}
    Path(path).write_bytes(_ordered(save(state, metadata=metadata)))


def _ordered(data: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library shuffles them, and equal weights give equal bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def open_weights(path: str | Path, cfg: RendererConfig) -> SceneRenderer:
    """Our own weights or the authors' released ones, whichever the file holds.

    Args:
        path: safetensors.
        cfg: for released weights; our own carry theirs.

    Raises:
        ValueError: neither of the two; says what was expected.
    """
    metadata, _ = _contents(path)
    return load_renderer(path) if metadata.get("format") == FORMAT else import_released(path, cfg)


def load_renderer(path: str | Path) -> SceneRenderer:
    """Rebuild what `save_renderer` wrote.

    The vocabulary may have grown since: columns are matched by name, and names unknown to the file keep a fresh
    renderer's start.

    Raises:
        ValueError: not such a file, a damaged one, or one that knows settings or factors that this version does not.
    """
    metadata, found = _contents(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a file with format {FORMAT!r}, found metadata {sorted(metadata)}")
    cfg = _config(path, metadata)
    stored = _vocabulary(path, metadata)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in make_renderer(cfg).state_dict().items()}
    if _EMBEDDING in expected:
        expected[_EMBEDDING] = (cfg.feature_dim, len(stored))
    _same_shapes(path, expected, found)
    renderer = make_renderer(cfg)
    state = _tensors(path)
    if _EMBEDDING in state and stored != VOCABULARY:
        columns = renderer.state_dict()[_EMBEDDING].clone()
        columns[:, [VOCABULARY.index(factor) for factor in stored]] = state[_EMBEDDING]
        state[_EMBEDDING] = columns
    renderer.load_state_dict(state)
    return renderer


class ReleasedRenderer(DrAction):
    """The authors' renderer: appearance by row and fixed skinning for the one topology it was trained on."""

    def __init__(self, cfg: RendererConfig, template: Template) -> None:
        super().__init__(cfg, TableAppearance(template.size, cfg.feature_dim))
        self._fixed = template

    def template(self, spec: SkeletonSpec, device: torch.device) -> Template:
        """The stored Gaussians, whatever the topology's bones are.

        Raises:
            ValueError: another number of joints than the weights were trained on.
        """
        joints = self._fixed.blend.shape[1]
        if len(spec.joint_names) != joints:
            raise ValueError(
                f"skeleton {spec.name} has {len(spec.joint_names)} joints; these weights fit {joints}, in the order "
                "they were trained on"
            )
        self._fixed = self._fixed.to(device)
        return self._fixed


def import_released(path: str | Path, cfg: RendererConfig) -> ReleasedRenderer:
    """Read the authors' released safetensors, with (16 tensors) or without NFM (12); bf16 is raised to float32.

    Placement is x_k(t) = m_k + sum_j w_kj (x_j(t) - c_j) with w the softmax of the stored logits; it is kept as
    blend weights and a constant offset m_k - sum_j w_kj c_j.

    Args:
        path: a file with canonical_features, canonical_joints, canonical_means, canonical_scales,
            lbs_weights_logits, appearance_head.*, depth_mix_logit and, optionally, nfm.*. Other tensors are ignored.
        cfg: frames, image size and rasteriser are used; camera, blur and widths are set to the authors' own.

    Raises:
        ValueError: not such a file: a tensor is missing, has another shape or a value that is not finite, or the
            Gaussians are not isotropic.
    """
    _, found = _contents(path)
    nfm = any(name.startswith("nfm.") for name in found)
    names = _RELEASED | (_RELEASED_NFM if nfm else {})
    if missing := sorted({*names.values(), *_GEOMETRY} - set(found)):
        raise ValueError(f"{path}: expected the released tensors, missing {', '.join(missing)}")
    shape = found["lbs_weights_logits"]
    if len(shape) != 2 or len(found["canonical_features"]) != 2 or min(shape) < 1:
        raise ValueError(f"{path}: expected lbs_weights_logits (Gaussians, joints), found {shape}")
    width = found["nfm.0.bias"][0] if nfm and len(found["nfm.0.bias"]) == 1 else cfg.nfm_width
    feature_dim = found["canonical_features"][1]
    _same_shapes(
        path, _released_shapes(shape, feature_dim, width, nfm), {n: found[n] for n in (*names.values(), *_GEOMETRY)}
    )
    stored = {name: value.float() for name, value in _tensors(path).items()}
    own = dataclasses.replace(
        cfg,
        kind="draction",
        camera="identity",
        views=(0.0,),
        learn_camera=False,
        blur_px=0.0,
        depth_mix=True,
        gru=False,
        nfm=nfm,
        nfm_width=width,
        feature_dim=feature_dim,
    )
    renderer = ReleasedRenderer(own, _released_template(stored, path))
    renderer.load_state_dict({ours: stored[theirs] for ours, theirs in names.items()})
    return renderer


def _released_shapes(shape: tuple[int, ...], features: int, width: int, nfm: bool) -> dict[str, tuple[int, ...]]:
    """What the released tensors must measure, for (Gaussians, joints)."""
    gaussians, joints = shape
    hidden = 64
    expected: dict[str, tuple[int, ...]] = {
        "canonical_features": (gaussians, features),
        "canonical_joints": (joints, 3),
        "canonical_means": (gaussians, 3),
        "canonical_scales": (gaussians, 3),
        "lbs_weights_logits": (gaussians, joints),
        "depth_mix_logit": (),
        "appearance_head.0.weight": (hidden, features),
        "appearance_head.0.bias": (hidden,),
        "appearance_head.2.weight": (4, hidden),
        "appearance_head.2.bias": (4,),
    }
    if nfm:
        expected |= {"nfm.0.weight": (width, 10), "nfm.0.bias": (width,)}
        expected |= {"nfm.2.weight": (5, width), "nfm.2.bias": (5,)}
    return expected


def _released_template(stored: dict[str, Tensor], path: str | Path) -> Template:
    blend = torch.softmax(stored["lbs_weights_logits"].double(), dim=-1)
    offset = stored["canonical_means"].double() - blend @ stored["canonical_joints"].double()
    scales = stored["canonical_scales"]
    if float((scales - scales[:, :1]).abs().max()) > 1e-6 or float(scales.min()) <= 0:
        raise ValueError(
            f"{path}: expected isotropic Gaussians, found scales that differ between axes or are not positive"
        )
    return Template(
        blend=blend.float(),
        support=(blend > _SUPPORT).float(),
        factors=torch.zeros(len(blend), len(VOCABULARY)),
        ends=torch.zeros(0, 2, dtype=torch.long),
        meeting=torch.zeros(blend.shape[1], 1, dtype=torch.long),
        samples=0,
        offset=offset.float(),
        radii=scales[:, 0].clone(),
    )


def _contents(path: str | Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Metadata and shape of each tensor; reads the header only."""
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return dict(file.metadata() or {}), shapes
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None


def _tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a file whose header was read; floating-point and finite."""
    try:
        state = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    for name, value in state.items():
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path}: tensor {name}: expected finite floating-point numbers")
    return state


def _same_shapes(path: str | Path, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    for name in sorted(set(expected) | set(found)):
        if name not in found or name not in expected or found[name] != expected[name]:
            wanted, there = expected.get(name, "no such tensor"), found.get(name, "none")
            raise ValueError(f"{path}: tensor {name}: expected shape {wanted}, found {there}")


def _config(path: str | Path, metadata: dict[str, str]) -> RendererConfig:
    """The configuration in a file's metadata; `check` is left to the renderer."""
    fields = _json(path, metadata, "config")
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: metadata 'config': expected a table of settings")
    known = {field.name: field for field in dataclasses.fields(RendererConfig)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"{path}: settings that this version does not know: {', '.join(map(str, unknown))}")
    for name, value in fields.items():
        default = known[name].default
        kind = (int, float) if isinstance(default, float) else list if isinstance(default, tuple) else type(default)
        if not isinstance(value, kind) or (isinstance(value, bool) and not isinstance(default, bool)):
            raise ValueError(f"{path}: setting {name}: expected something like {default!r}, found {value!r}")
    if "views" in fields:
        fields["views"] = tuple(fields["views"])
    cfg = RendererConfig(**fields)
    if cfg.kind not in RENDERERS:
        raise ValueError(f"{path}: setting kind: expected one of {', '.join(RENDERERS)}, found {cfg.kind!r}")
    try:
        cfg.check()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return cfg


def _vocabulary(path: str | Path, metadata: dict[str, str]) -> tuple[str, ...]:
    stored = _json(path, metadata, "vocabulary")
    if not isinstance(stored, list) or not all(isinstance(name, str) for name in stored):
        raise ValueError(f"{path}: metadata 'vocabulary': expected a list of names")
    if unknown := sorted(set(stored) - set(VOCABULARY)):
        raise ValueError(f"{path}: unknown appearance factors {', '.join(unknown)}")
    return tuple(stored)


def _json(path: str | Path, metadata: dict[str, str], name: str) -> Any:
    try:
        return json.loads(metadata[name])
    except (KeyError, ValueError, RecursionError):
        raise ValueError(f"{path}: metadata {name!r}: expected JSON, found none that can be read") from None
