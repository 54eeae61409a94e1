"""Configuration + checkpoint -> SkeletonLLM, and its export: what a stage leaves and the next one starts from.

An export is a folder or URI with renderer.safetensors, mllm/ (loads with `from_pretrained`), config.yaml (the whole
configuration), labels.json (set -> labels seen in training) and weights.json (file of mllm/ -> its SHA-256). Trains
nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from models.draction import weights
from models.draction.registry import make_renderer
from models.draction.renderer import SceneRenderer
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import MLLM_FOLDER, RENDERER_FILE, SkeletonLLM
from pipelines.config.loading import decode, to_yaml
from pipelines.config.tree import FullConfig
from pipelines.exports.downloads import shared_download
from pipelines.runtime.errors import UserError
from skeleton_io import storage, strict_yaml

CONFIG_FILE = "config.yaml"
LABELS_FILE = "labels.json"
WEIGHTS_FILE = "weights.json"


@contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """A folder on this machine with what lies at `uri`: itself, or a copy that lasts as long as anybody reads it.

    Raises:
        UserError: nothing is there.
    """
    if not storage.exists(uri):
        raise UserError(f"no model at {uri}")
    if storage.is_local(uri):
        yield storage.local_path(uri)
        return
    with shared_download(uri) as folder:
        yield folder


def load_mllm(path: str, cfg: FullConfig) -> HFMultimodal:
    """The multimodal LLM of a folder, a URI or a hub id.

    Raises:
        UserError: no such checkpoint, or one of an unsupported family.
    """
    try:
        if "://" in path or Path(path).exists():
            with local_folder(path) as folder:
                return HFMultimodal.from_checkpoint(folder, cfg.mllm)
        return HFMultimodal.from_checkpoint(path, cfg.mllm)
    except (OSError, ValueError) as error:
        raise UserError(f"mllm.path {path}: {' '.join(str(error).split())}") from None


def fresh_renderer(cfg: FullConfig) -> SceneRenderer:
    """The renderer of `renderer.kind`, untrained; the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(cfg.seed)
        return make_renderer(cfg.renderer)


def build_model(cfg: FullConfig, mllm_path: str) -> SkeletonLLM:
    """An untrained renderer before the multimodal LLM of `mllm_path`.

    Raises:
        UserError: no such checkpoint, or the LLM does not take images of `renderer.image_size`.
    """
    model = SkeletonLLM(fresh_renderer(cfg), load_mllm(mllm_path, cfg))
    check_image(model, cfg)
    return model


def check_image(model: SkeletonLLM, cfg: FullConfig) -> None:
    """Refuses an image size that the vision encoder does not take, and several views as one video.

    Raises:
        UserError: says what fits.
    """
    if cfg.mllm.frames_as == "video" and len(cfg.renderer.views) > 1:
        raise UserError(
            "mllm.frames_as: video takes one view, since its frames follow each other in time; found "
            f"{len(cfg.renderer.views)} in renderer.views"
        )
    try:
        model.mllm.geometry.tokens(cfg.renderer.image_size)
    except ValueError as error:
        raise UserError(f"renderer.image_size: {error}") from None


def continue_model(cfg: FullConfig, export_uri: str) -> SkeletonLLM:
    """The exported model under `cfg`, whose rendering may differ: renderer weights are taken over where shapes agree.

    Raises:
        UserError: no export there.
    """
    renderer = fresh_renderer(cfg)
    with local_folder(export_uri) as folder:
        stored = weights.load_renderer(folder / RENDERER_FILE).state_dict()
        own = renderer.state_dict()
        fitting = {name: value for name, value in stored.items() if name in own and own[name].shape == value.shape}
        renderer.load_state_dict(own | fitting)
        mllm = HFMultimodal.from_checkpoint(folder / MLLM_FOLDER, cfg.mllm)
    model = SkeletonLLM(renderer, mllm)
    check_image(model, cfg)
    return model


def write_export(model: SkeletonLLM, cfg: FullConfig, labels: Mapping[str, Sequence[str]], uri: str) -> None:
    """Writes the export; adapters are merged into the LLM's weights. All of `model` must be in this process."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_export(folder)
        (Path(folder) / CONFIG_FILE).write_text(to_yaml(cfg))
        (Path(folder) / LABELS_FILE).write_text(json.dumps({s: list(names) for s, names in labels.items()}, indent=1))
        (Path(folder) / WEIGHTS_FILE).write_text(json.dumps(weight_hashes(folder), indent=1))
        storage.upload(folder, uri)


def weight_hashes(export_uri: str) -> dict[str, str]:
    """File of an export's LLM -> SHA-256 of its bytes; reads all of them."""
    folder = storage.join(export_uri, MLLM_FOLDER)
    return {name: storage.file_sha256(storage.join(folder, name)) for name in storage.list_files(folder)}


def load_model(export_uri: str) -> tuple[SkeletonLLM, FullConfig, dict[str, tuple[str, ...]]]:
    """The exported model, the configuration it was trained with, and the labels it saw (set -> labels).

    Raises:
        UserError: no export there.
    """
    with local_folder(export_uri) as folder:
        cfg = decode(strict_yaml.parse((folder / CONFIG_FILE).read_text()), f"{export_uri}/{CONFIG_FILE}")
        labels = json.loads((folder / LABELS_FILE).read_text())
        model = SkeletonLLM.load_export(folder, cfg.mllm)
    return model, cfg, {name: tuple(names) for name, names in labels.items()}
