"""Stage: writes the tiny checkpoint of a real architecture, with a tokenizer trained on this run's own texts.

Labels, prompts and rationales only -> folder that `from_pretrained` loads. Trains nothing else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from models import prompts
from models.config import MLLMConfig, MLLMFamily
from pipelines import manifest
from pipelines.config import FullConfig, digest
from pipelines.datasource import ClipStore
from pipelines.manifest import RunPaths
from pipelines.rationales import load_rationales
from pipelines.selection import Selection, select
from skeleton_io import storage


def corpus(selection: Selection, rationales: dict[str, str]) -> list[str]:
    """The texts that the model will read and write; test clips contribute nothing."""
    texts = [text for labels in selection.labels.values() for text in prompts.prompt_corpus(labels)]
    texts += [rationales[key] for key in sorted(rationales)]
    return texts


def write(
    out: str, family: MLLMFamily, cfg: MLLMConfig, texts: list[str], image_size: int, seed: int
) -> dict[str, Any]:
    """The checkpoint's files at `out`, a folder or any fsspec URI."""
    import torch

    from models.mllm.hf import HFMultimodal
    from models.mllm.tiny import write_tiny_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        write_tiny_checkpoint(folder, family, cfg.tiny, texts, image_size, seed)
        model = HFMultimodal.from_checkpoint(folder, cfg)
        parameters = sum(p.numel() for p in model.parameters())
        vocabulary = len(model.encoder.tokenizer)
        storage.upload(folder, out)
        files = sorted(p.name for p in Path(folder).iterdir())
    return {
        "family": family,
        "parameters": parameters,
        "vocabulary": vocabulary,
        "texts": len(texts),
        "files": files,
        "torch": torch.__version__,
    }


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Writes the checkpoint into the run; does nothing where it is already there."""
    store = ClipStore(paths.shards)
    texts = corpus(select(cfg, store), load_rationales(paths.rationales))
    key = digest("tiny-mllm", cfg.mllm, cfg.renderer.image_size, cfg.seed, texts)
    return manifest.run_stage(
        "tiny-mllm",
        paths.mllm,
        key,
        lambda: write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, cfg.seed),
    )
