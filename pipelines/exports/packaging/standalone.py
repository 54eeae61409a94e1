"""A clip as plain numbers and a question in words -> an answer: a trained model without the rest of this project.

`skel export-model` copies this module, and all that it imports, beside the weights (`source_copy`), so it imports no
Ray, no readers and no shards. Trains nothing.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import prompts
from models.config import MLLMConfig, SparsifyConfig
from models.draction import weights
from models.draction.renderer import SceneRenderer
from models.mllm.hf import HFMultimodal
from pipelines.data.renderer_input import clip_input, on_device
from pipelines.scores import rules
from skeleton_io.record.topologies import TOPOLOGIES
from skeleton_io.record.topology import Topology

MODEL_FILE = "skeletonllm.json"
"""Beside the weights: how they run, and which labels they were trained on."""
RENDERER_WEIGHTS = "renderer.safetensors"
MODEL_FORMAT = "skeleton-ray model 1"
UNUSED_SETTINGS = frozenset({"path", "lora", "tiny", "gradient_checkpointing"})
"""Fields of `MLLMConfig` that MODEL_FILE leaves out: where the weights came from, and how they were trained."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A motion.

    Attributes:
        positions: (T, P, J, 3) float32 metres, +y up, right-handed, NaN = missing; persons are tracks. From a camera:
            +x towards the image's left, +z into the scene. (T, P, J, 2) for joints in an image: +x towards the
            image's left, +y up, any unit.
        topology: names of the J joints, and the bones between them.
        fps: frames per second.
        scale: "metric", or "normalised" where the unit of 3D positions is unknown; then they are brought to human size.
        timestamps: (T,) seconds, where the frames are not evenly spaced.
    """

    positions: NDArray[np.float32]
    topology: Topology
    fps: float
    scale: str = "metric"
    timestamps: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape, joints = self.positions.shape, len(self.topology.joints)
        if len(shape) != 4 or shape[2] != joints or shape[3] not in (2, 3) or 0 in shape:
            raise ValueError(f"clip: expected positions (T, P, {joints}, 2 or 3), found {shape}")
        if np.isinf(self.positions).any() or not np.isfinite(self.positions).any():
            raise ValueError("clip: expected positions that are finite or NaN, and not all NaN")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"clip: expected fps above 0, found {self.fps}")
        if self.scale not in ("metric", "normalised", "pixels"):
            raise ValueError(f"clip: expected scale metric, normalised or pixels, found {self.scale!r}")
        if self.timestamps is not None and self.timestamps.shape != shape[:1]:
            raise ValueError(f"clip: expected {shape[0]} timestamps, found {self.timestamps.shape}")


ClipLike = Clip | Mapping[str, Any] | str | Path


def read_clip(clip: ClipLike) -> Clip:
    """A clip from an .npz file (`skel export --to npz` writes such), or from a table with the same names.

    Args:
        clip: `positions` and `fps`; the skeleton as `topology`, a known name ("ntu25", "coco17") or a table with
            `joints` (names such as "left_wrist") and `bones` (pairs of joint numbers), or as `joints` and `bones`
            themselves; where they apply `scale` and `timestamps`. Other names are ignored.

    Raises:
        ValueError: something is missing or has a wrong shape, or the file is no npz.
        OSError: no such file.
    """
    if isinstance(clip, Clip):
        return clip
    if isinstance(clip, (str, Path)):
        stored = np.load(clip, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError(f"{clip}: expected an npz with positions and fps, found one array of {stored.shape}")
        with stored:
            return read_clip(dict(stored))
    if missing := [name for name in ("positions", "fps") if name not in clip]:
        raise ValueError(f"clip: {' and '.join(missing)} missing")
    positions = np.asarray(clip["positions"], dtype=np.float32)
    scale = str(clip["scale"]) if "scale" in clip else "metric"
    times = np.asarray(clip["timestamps"], np.float64) if "timestamps" in clip else None
    return Clip(positions, skeleton_of(clip), float(clip["fps"]), scale, times)


def skeleton_of(clip: Mapping[str, Any]) -> Topology:
    """The topology that a table names or describes.

    Raises:
        ValueError: neither.
    """
    topology = clip.get("topology")
    if isinstance(topology, Topology):
        return topology
    table: Mapping[str, Any] = topology if isinstance(topology, Mapping) else clip
    if "joints" in table and "bones" in table:
        joints = tuple(str(joint) for joint in table["joints"])
        pairs = np.asarray(table["bones"], dtype=np.int64).reshape(-1, 2)
        name = str(table["name"]) if "name" in table else "clip" if topology is None else str(topology)
        return Topology(name=name, joints=joints, bones=tuple((int(p), int(c)) for p, c in pairs))
    if str(topology) in TOPOLOGIES:
        return TOPOLOGIES[str(topology)]
    raise ValueError(f"clip: expected joints and bones, or a topology of {', '.join(TOPOLOGIES)}, found {topology!r}")


def settings_of(stored: Mapping[str, Any]) -> MLLMConfig:
    """How the multimodal LLM runs, as far as the file says; sizes and adapters do not matter any more."""
    names = {field.name for field in fields(MLLMConfig)} - UNUSED_SETTINGS
    settings = {name: value for name, value in stored.items() if name in names}
    if "sparsify" in settings:
        settings["sparsify"] = SparsifyConfig(**settings["sparsify"])
    return replace(MLLMConfig(), **settings)


class SkeletonLLM:
    """The renderer before the multimodal LLM, ready to be asked. Runs where its weights are: `to("cuda")`.

    Args:
        renderer: draws.
        mllm: reads.
        labels: set -> labels that it was trained on.
        bf16: the LLM runs in bfloat16.
    """

    def __init__(
        self, renderer: SceneRenderer, mllm: HFMultimodal, labels: Mapping[str, Sequence[str]], bf16: bool
    ) -> None:
        self.renderer, self.mllm = renderer.eval(), mllm.eval()
        self.labels = {name: tuple(words) for name, words in labels.items()}
        self.bf16 = bf16

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device = "cpu") -> SkeletonLLM:
        """Loads the folder that `skel export-model` wrote.

        Raises:
            ValueError: not such a folder.
        """
        folder = Path(folder)
        file = folder / MODEL_FILE
        if not file.is_file():
            raise ValueError(f"{folder}: no {MODEL_FILE}; expected a folder that skel export-model wrote")
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["format"] != MODEL_FORMAT:
            raise ValueError(f"{file}: expected format {MODEL_FORMAT!r}, found {stored['format']!r}")
        settings = settings_of(stored["mllm"])
        mllm = HFMultimodal.from_checkpoint(folder, settings)
        renderer = weights.load_renderer(folder / RENDERER_WEIGHTS)
        return cls(renderer, mllm, stored["labels"], settings.precision == "bf16").to(device)

    def to(self, device: str | torch.device) -> SkeletonLLM:
        """Moves all weights; returns the model itself."""
        self.renderer.to(device)
        self.mllm.to(device)
        return self

    @torch.no_grad()
    def frames(self, clip: ClipLike) -> torch.Tensor:
        """What the LLM sees: (1, F, 3, H, W) float32 in [0, 1]."""
        device = next(self.mllm.parameters()).device
        return self.renderer([on_device(clip_input(read_clip(clip), self.renderer.cfg, None, None), device)])

    @torch.no_grad()
    def answer(self, clip: ClipLike, question: str, max_new_tokens: int = 64) -> str:
        """The model's own words, chosen greedily."""
        frames = self.frames(clip)
        with torch.autocast(frames.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.mllm.generate(frames, [question], max_new_tokens)[0]

    def describe(self, clip: ClipLike, max_new_tokens: int = 64) -> str:
        """A sentence about the motion, asked for in the wording of the training."""
        return self.answer(clip, prompts.caption_prompt(), max_new_tokens)

    def explain(self, clip: ClipLike, max_new_tokens: int = 256) -> str:
        """Step by step what the body does and then `Label: X`, asked for in the wording of the training."""
        return self.answer(clip, prompts.rationale_prompt(), max_new_tokens)

    @torch.no_grad()
    def classify(self, clip: ClipLike, labels: Sequence[str]) -> dict[str, float]:
        """Probabilities of the labels, highest first: by the mean log-probability of each label's tokens.

        Raises:
            ValueError: no labels.
        """
        frames, question = self.frames(clip), prompts.mqa_prompt(labels)
        with torch.autocast(frames.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            candidates = self.mllm.score_candidates(frames, [question], [labels])[0]
        means = rules.closed_set(candidates.log_prob.cpu().numpy(), candidates.tokens.cpu().numpy())
        shares = rules.probabilities(means)
        order = np.argsort(-shares, kind="stable")
        return {str(labels[int(i)]): float(shares[i]) for i in order}


def main(folder: Path, argv: Sequence[str] | None = None) -> None:
    """`python modeling_skeletonllm.py CLIP.npz "QUESTION"` asks the model of `folder`."""
    parser = argparse.ArgumentParser(description="Ask the model of this folder about a motion.")
    parser.add_argument("clip", help=".npz with positions, fps, and joints and bones or a topology's name")
    parser.add_argument("question", help="in words, for example: Describe the motion in one sentence.")
    parser.add_argument("--labels", nargs="+", help="choose among these instead, and print their probabilities")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    args = parser.parse_args(argv)
    try:
        clip = read_clip(args.clip)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        parser.error(f"{args.clip}: {error}".replace(f"{args.clip}: {args.clip}: ", f"{args.clip}: "))
    model = SkeletonLLM.from_pretrained(folder, args.device)
    if args.labels:
        for label, share in model.classify(clip, args.labels).items():
            print(f"{share:.3f}  {label}")
        return
    print(model.answer(clip, args.question, args.max_new_tokens))
