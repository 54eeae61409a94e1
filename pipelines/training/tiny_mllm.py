"""Stage: writes the tiny checkpoint of a real architecture, with a tokenizer trained on this run's own texts.

Labels, prompts, and of the training clips rationales, captions and questions -> folder that `from_pretrained` loads.
Trains nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import prompts
from models.config import MLLMConfig
from pipelines.batches.questions import QuestionSource
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection, select
from pipelines.rationales.answers import load_rationales
from pipelines.runtime.digest import digest
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.training.validation import sample_keys
from skeleton_io import storage

MOST_QUESTIONS = 128
"""Clips whose questions the tokenizer sees: they are worded alike, and each costs a look at the motion."""


def corpus(selection: Selection, rationales: dict[str, str], more: Sequence[str] = ()) -> list[str]:
    """The texts that the model will read and write; test clips contribute nothing."""
    texts = [text for labels in selection.labels.values() for text in prompts.prompt_corpus(labels)]
    texts += [rationales[key] for key in sorted(rationales)]
    return [*texts, *more]


def free_texts(cfg: FullConfig, store: ClipStore, selection: Selection) -> list[str]:
    """Captions and questions of the training clips, where a stage asks them."""
    tasks = {task for stage in cfg.train.stages for task in stage.tasks}
    parts = (selection.train, selection.unlabelled_train)
    keys = {key for part in parts for own in part.values() for key in own}
    texts: list[str] = []
    if "caption" in tasks:
        rows = store.meta().select(["dataset", "id", "captions"]).to_pylist()
        texts += [text for row in rows if f"{row['dataset']}/{row['id']}" in keys for text in row["captions"]]
    if "qa" in tasks:
        source = QuestionSource(cfg.train.questions)
        for key in sample_keys({"": sorted(keys)}, MOST_QUESTIONS):
            for question in source(store.clip(key)):
                texts += [prompts.qa_prompt(question.question, question.choices), question.answer]
    return texts


def write(out: str, family: str, cfg: MLLMConfig, texts: list[str], image_size: int, seed: int) -> dict[str, Any]:
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
    selection = select(cfg, store)
    texts = corpus(selection, load_rationales(paths.rationales), free_texts(cfg, store, selection))
    key = digest("tiny-mllm", cfg.mllm, cfg.renderer.image_size, cfg.seed, texts)
    return run_once(
        "tiny-mllm",
        paths.mllm,
        key,
        lambda: write(paths.mllm, cfg.mllm.family, cfg.mllm, texts, cfg.renderer.image_size, cfg.seed),
    )
