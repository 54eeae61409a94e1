"""What the teacher sees of a clip: Ray Data actors that draw frames and encode them as PNG. Asks nobody.

How frames are drawn is part of every paid answer's key, so it is decided here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image

from models.config import RendererConfig
from pipelines.config.rationales import RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.teachers.task import TeacherTask
from pipelines.runtime.errors import UserError
from skeleton_io import storage

Batch = dict[str, np.ndarray]
DRAWING_VERSION = 1
"""Raised whenever the same clip gives the teacher visibly different frames; a test pins their hash."""
CLIPS_PER_BATCH = 64
_LEARNED: dict[str, Any] = {
    name: getattr(RendererConfig(), name)
    for name in ("kind", "learn_camera", "velocity_stride_s", "depth_mix", "depth_mix_init", "nfm", "nfm_width",
                 "gru", "gru_width", "feature_dim", "heatmap_sigma")
}  # fmt: skip


class FrameActor:
    """Adds the column `images` (a list of PNG files per row) and `frames_sha` to tasks.

    Args:
        shards_uri: shard set.
        cfg: which renderer.
        frames: how the frames are drawn.
        account: handle of the actor with the shared `Limits`; once it says stop, nothing more is drawn.
    """

    def __init__(self, shards_uri: str, cfg: RationalesConfig, frames: RendererConfig, account: Any = None) -> None:
        import torch

        # Many actors on one machine: threads of one would only wait for those of another.
        torch.set_num_threads(1)
        self._store, self._account = ClipStore(shards_uri), account
        self._renderer, self._renderer_cfg = load_teacher_renderer(cfg.renderer, frames)

    def __call__(self, batch: Batch) -> Batch:
        """Column `clip` -> with pictures."""
        if self._stopped():
            # Nobody will be asked: a hundred thousand clips left must not be drawn first.
            no_images = np.empty(len(batch["clip"]), object)
            no_images[:] = [[b""] for _ in no_images]
            return {**batch, "images": no_images, "frames_sha": np.full(len(no_images), "", object)}
        clips = [self.draw(str(clip)) for clip in batch["clip"]]
        # Filled place by place: numpy would make one array of lists that are equally long.
        images, shas = np.empty(len(clips), object), np.empty(len(clips), object)
        for place, frames in enumerate(clips):
            images[place] = [encode_png(frame) for frame in frames]
            shas[place] = storage.sha256(frames.tobytes())
        return {**batch, "images": images, "frames_sha": shas}

    def _stopped(self) -> bool:
        if self._account is None:
            return False
        import ray

        state: dict[str, Any] = ray.get(self._account.state.remote())
        return bool(state["stop"])

    def draw(self, clip: str) -> np.ndarray:
        """(F, H, W, 3) uint8."""
        import torch

        from pipelines.data.renderer_input import clip_input

        with torch.no_grad():
            # One clip at a time: in a batch the last bits of the frames could differ, and their hash with them.
            frames = self._renderer([clip_input(self._store.clip(clip), self._renderer_cfg, None, None)])[0]
        return (frames.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).contiguous().numpy()


def encode_png(frame: np.ndarray) -> bytes:
    """(H, W, 3) uint8 -> PNG file."""
    sink = io.BytesIO()
    # Level 1: a black picture with a few limbs hardly shrinks further, and packing would cost more than drawing.
    Image.fromarray(frame).save(sink, format="PNG", compress_level=1)
    return sink.getvalue()


def draw_frames(cfg: FullConfig, shards_uri: str, tasks: list[TeacherTask], account: Any = None) -> Any:
    """Ray Data set of tasks with pictures.

    Args:
        cfg: `rationales` and `renderer` are used.
        shards_uri: shard set.
        tasks: what is to be asked.
        account: handle of the actor with the shared `Limits`; None where nothing stops.
    """
    import ray

    rationales = cfg.rationales
    blocks = -(-len(tasks) // CLIPS_PER_BATCH)
    return ray.data.from_items([task.to_row() for task in tasks], override_num_blocks=blocks).map_batches(
        FrameActor,
        fn_constructor_args=(shards_uri, rationales, frames_config(cfg), account),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(rationales.actors, blocks)),
        # Askers wait for the network; drawing may have the processors.
        num_cpus=0.5,
    )


def frames_config(cfg: FullConfig) -> RendererConfig:
    """How the teacher's frames are drawn. What only the learned renderer looks at is left at its default where another
    one draws, so that changing it voids no paid answer.
    """
    rationales = cfg.rationales
    frames = dataclasses.replace(cfg.renderer, frames=rationales.frames, image_size=rationales.image_size)
    return dataclasses.replace(frames, **_LEARNED) if rationales.renderer == "stick" else frames


def load_teacher_renderer(name: str, frames: RendererConfig) -> tuple[Any, RendererConfig]:
    """What draws the teacher's frames, and the configuration that its inputs are made with.

    Args:
        name: as in the configuration: "stick", or the export of a training run.
        frames: their number and size.
    """
    if name == "stick":
        from models.draction.fixed import StickRenderer

        return StickRenderer(frames).eval(), frames
    from models.draction import weights
    from models.draction.registry import make_renderer
    from models.skeleton_llm import RENDERER_FILE
    from pipelines.exports.store import local_folder

    with local_folder(name) as folder:
        stored = weights.load_renderer(folder / RENDERER_FILE)
    cfg = dataclasses.replace(stored.cfg, frames=frames.frames, image_size=frames.image_size)
    renderer = make_renderer(cfg)
    renderer.load_state_dict(stored.state_dict())
    return renderer.eval(), cfg


def hash_renderer(name: str) -> str:
    """Names the renderer in an answer's key: "stick", or the hash of the weights.

    Raises:
        UserError: no export there.
    """
    if name == "stick":
        return name
    from models.skeleton_llm import RENDERER_FILE

    file = storage.join(name, RENDERER_FILE)
    if not storage.exists(file):
        raise UserError(f"rationales.renderer: no {RENDERER_FILE} in {name}")
    return storage.sha256(storage.read_bytes(file))[:16]
