"""Renderer weights <-> safetensors: our own files (configuration and vocabulary inside) and the authors' released ones.

Never unpickles anything.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.config import RendererConfig
from models.draction.appearance import TableAppearance
from models.draction.renderer import Renderer
from models.draction.template import VOCABULARY, SkeletonSpec, Template

FORMAT = "skeleton-ray renderer 1"
_SUPPORT = 0.02  # blend weight from which a missing joint hides an imported Gaussian: softmax is never exactly 0
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


def save_renderer(renderer: nn.Module, path: str | Path) -> None:
    """Write a `Renderer` as safetensors; its configuration and vocabulary go into the metadata.

    Raises:
        TypeError: another module, or a renderer that was imported for one topology.
    """
    if type(renderer) is not Renderer:
        raise TypeError(f"save_renderer: expected a Renderer, found {type(renderer).__name__}")
    metadata = {
        "format": FORMAT,
        "config": json.dumps(dataclasses.asdict(renderer.cfg)),
        "vocabulary": json.dumps(VOCABULARY),
    }
    state = {name: value.detach().float().cpu().contiguous() for name, value in renderer.state_dict().items()}
    save_file(state, str(path), metadata=metadata)


def load_renderer(path: str | Path) -> Renderer:
    """Rebuild what `save_renderer` wrote.

    The vocabulary may have grown since: columns are matched by name, and names unknown to the file keep a fresh
    renderer's start.

    Raises:
        ValueError: not such a file, or it knows factors that this version does not.
    """
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
    if "format" not in metadata or metadata["format"] != FORMAT:
        raise ValueError(f"{path}: expected a file with format {FORMAT!r}, found metadata {sorted(metadata)}")
    renderer = Renderer(RendererConfig(**json.loads(metadata["config"])))
    state = load_file(str(path))
    stored = tuple(json.loads(metadata["vocabulary"]))
    if unknown := sorted(set(stored) - set(VOCABULARY)):
        raise ValueError(f"{path}: unknown appearance factors {', '.join(unknown)}")
    if stored != VOCABULARY:
        name = "appearance.features.embedding.weight"
        columns = renderer.state_dict()[name].clone()
        columns[:, [VOCABULARY.index(factor) for factor in stored]] = state[name]
        state[name] = columns
    renderer.load_state_dict(state)
    return renderer


class ReleasedRenderer(Renderer):
    """The authors' renderer: appearance by row and fixed skinning for the one topology it was trained on."""

    def __init__(self, cfg: RendererConfig, template: Template) -> None:
        super().__init__(cfg, TableAppearance(template.size, cfg.feature_dim))
        self._fixed = template

    def template(self, spec: SkeletonSpec, device: torch.device) -> Template:
        """The stored Gaussians, whatever the topology's bones are.

        Raises:
            ValueError: another number of joints than the weights were trained on.
        """
        fixed = self._fixed
        if len(spec.joint_names) != fixed.blend.shape[1]:
            raise ValueError(f"skeleton {spec.name}: these weights need {fixed.blend.shape[1]} joints in their order")
        if fixed.blend.device != device:
            moved = {k: v.to(device) for k, v in vars(fixed).items() if isinstance(v, Tensor)}
            self._fixed = fixed = dataclasses.replace(fixed, **moved)
        return fixed


def import_released(path: str | Path, cfg: RendererConfig) -> ReleasedRenderer:
    """Read the authors' released safetensors (bf16 is raised to float32).

    Placement is x_k(t) = m_k + sum_j w_kj (x_j(t) - c_j) with w the softmax of the stored logits; it is kept as
    blend weights and a constant offset m_k - sum_j w_kj c_j.

    Args:
        path: a file with canonical_features, canonical_joints, canonical_means, canonical_scales,
            lbs_weights_logits, appearance_head.*, depth_mix_logit and, optionally, nfm.*.
        cfg: frames, image size and rasteriser are used; camera, blur and widths are set to the authors' own.

    Raises:
        ValueError: a tensor is missing, or the Gaussians are not isotropic.
    """
    stored = {name: value.float() for name, value in load_file(str(path)).items()}
    names = {**_RELEASED, **(_RELEASED_NFM if "nfm.0.weight" in stored else {})}
    geometry = ("canonical_joints", "canonical_means", "canonical_scales", "lbs_weights_logits")
    if missing := sorted({*names.values(), *geometry} - set(stored)):
        raise ValueError(f"{path}: expected the released tensors, missing {', '.join(missing)}")
    template = _released_template(stored, path)
    nfm = "nfm.0.weight" in stored
    cfg = dataclasses.replace(
        cfg,
        camera="identity",
        blur_px=0.0,
        nfm=nfm,
        nfm_width=stored["nfm.0.weight"].shape[0] if nfm else cfg.nfm_width,
        feature_dim=stored["canonical_features"].shape[1],
    )
    renderer = ReleasedRenderer(cfg, template)
    renderer.load_state_dict({ours: stored[theirs] for ours, theirs in names.items()})
    return renderer


def _released_template(stored: dict[str, Tensor], path: str | Path) -> Template:
    blend = torch.softmax(stored["lbs_weights_logits"].double(), dim=-1)
    offset = stored["canonical_means"].double() - blend @ stored["canonical_joints"].double()
    scales = stored["canonical_scales"].reshape(len(blend), -1)
    if float((scales - scales[:, :1]).abs().max()) > 1e-6:
        raise ValueError(f"{path}: expected isotropic Gaussians, found scales that differ between axes")
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
