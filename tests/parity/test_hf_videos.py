"""Frames as a video equal what the Hugging Face processors of Qwen2.5-VL and Qwen3-VL make of it, token by token.

The library's video processors import torchvision, which this project does without. They run here in a process of their
own, over a stand-in that has the two functions they call.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import prompt_corpus

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
SIZE = 32
PROMPTS = ["Which action is this?", "Which action is this? wave or sit down"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

STAND_IN = {
    "torchvision/__init__.py": "__version__ = '0.28.0'\n",
    "torchvision/io.py": "",
    "torchvision/transforms/__init__.py": (
        "import enum\n"
        "class InterpolationMode(enum.Enum):\n"
        "    NEAREST = 0\n    NEAREST_EXACT = 1\n    BILINEAR = 2\n    BICUBIC = 3\n    BOX = 4\n"
        "    HAMMING = 5\n    LANCZOS = 6\n"
    ),
    "torchvision/transforms/functional.py": "def pil_to_tensor(image):\n    raise NotImplementedError\n",
    "torchvision/transforms/v2/__init__.py": "from . import functional\n",
    "torchvision/transforms/v2/functional.py": (
        "import torch\nfrom torchvision.transforms import InterpolationMode\n"
        "def grayscale_to_rgb(x):\n    return x\n"
        "def normalize(x, mean, std, inplace=False):\n"
        "    shape = (-1, 1, 1)\n"
        "    return (x - torch.as_tensor(mean).view(shape)) / torch.as_tensor(std).view(shape)\n"
    ),
    "torchvision-0.28.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n",
}

THEIRS = """
import sys
import torch
import numpy as np
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.video_utils import VideoMetadata

family, folder, source, target, mean, std = sys.argv[1:7]
if family == "qwen2_5_vl":
    from transformers import Qwen2_5_VLProcessor as Processor, Qwen2VLVideoProcessor as VideoProcessor
else:
    from transformers import Qwen3VLProcessor as Processor, Qwen3VLVideoProcessor as VideoProcessor
with np.load(source) as data:
    videos, fps = data["videos"], float(data["fps"])
prompts = sys.argv[7:]
tokenizer = AutoTokenizer.from_pretrained(folder)
videos_of = VideoProcessor(
    patch_size=8, merge_size=2, temporal_patch_size=2, do_resize=False, do_sample_frames=False,
    image_mean=eval(mean), image_std=eval(std), cap_pixels_per_frame=False,
)
image = AutoImageProcessor.from_pretrained(folder)
processor = Processor(image, tokenizer, videos_of, chat_template=tokenizer.chat_template)
count = videos.shape[1]
seen = VideoMetadata(total_num_frames=count, fps=fps, frames_indices=list(range(count)), duration=count / fps)
chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": p}]}] for p in prompts]
texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
if family == "qwen3_vl":
    # The layout of training: the processor's own text has the times in it and needs no second pair of markers.
    texts = [t.replace("<|vision_start|><|video_pad|><|vision_end|>", "<|video_pad|>") for t in texts]
out = processor(
    text=texts, videos=[torch.from_numpy(v).permute(0, 3, 1, 2) for v in videos], video_metadata=[seen] * len(videos),
    padding=True, return_tensors="pt",
)
model = AutoModelForImageTextToText.from_pretrained(folder)
extra = {}
if "second_per_grid_ts" in out:
    extra["second_per_grid_ts"] = torch.as_tensor(out["second_per_grid_ts"])
positions, deltas = model.model.get_rope_index(
    out["input_ids"], out["mm_token_type_ids"], video_grid_thw=out["video_grid_thw"],
    attention_mask=out["attention_mask"], **extra,
)
names = ["input_ids", "attention_mask", "mm_token_type_ids", "pixel_values_videos", "video_grid_thw"]
kept = {k: np.asarray(out[k]) for k in names}
np.savez(target, positions=positions.numpy(), deltas=deltas.numpy(), **kept)
"""


@pytest.mark.parametrize(
    ("family", "frames", "fps"), [("qwen2_5_vl", 6, 2.0), ("qwen2_5_vl", 5, 3.0), ("qwen3_vl", 5, 2.0)]
)
def test_video_rows_and_positions_equal_the_processors(family, frames, fps, tmp_path: Path):
    for name, text in STAND_IN.items():
        file = tmp_path / "stand-in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    folder = tmp_path / "model"
    write_tiny_checkpoint(folder, family, SMALL, prompt_corpus(["wave", "sit down"]), SIZE, seed=3)
    videos = np.random.default_rng(0).integers(0, 256, (2, frames, SIZE, SIZE, 3), dtype=np.uint8)
    np.savez(tmp_path / "in.npz", videos=videos, fps=fps)
    arguments = [
        family,
        str(folder),
        str(tmp_path / "in.npz"),
        str(tmp_path / "out.npz"),
        str(MEAN),
        str(STD),
        *PROMPTS,
    ]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "stand-in"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", THEIRS, *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "out.npz") as data:
        theirs = {name: torch.from_numpy(data[name]) for name in data.files}

    mllm = HFMultimodal.from_checkpoint(folder, MLLMConfig(frames_as="video", video_fps=fps))
    text = mllm.tokenize(PROMPTS, None, frames, SIZE)
    assert torch.equal(text.input_ids, theirs["input_ids"])
    assert torch.equal(text.attention_mask, theirs["attention_mask"])
    assert torch.equal(text.mm_token_type_ids, theirs["mm_token_type_ids"].long())
    assert torch.equal(text.position_ids, theirs["positions"] * text.attention_mask)
    assert torch.equal(text.next_positions(), text.attention_mask.sum(1) + theirs["deltas"][:, 0])
    object.__setattr__(mllm.encoder, "geometry", _with_statistics(mllm.geometry))
    ours = mllm.see(torch.from_numpy(videos).permute(0, 1, 4, 2, 3) / 255, None)
    assert torch.equal(ours["video_grid_thw"], theirs["video_grid_thw"])
    # The library folds 1 / 255 into mean and deviation, which rounds once less: a last bit of values up to 2.7.
    torch.testing.assert_close(ours["pixel_values_videos"], theirs["pixel_values_videos"], atol=1e-6, rtol=0)


def _with_statistics(geometry):
    from dataclasses import replace

    return replace(geometry, mean=MEAN, std=STD)
