"""One adapter over Hugging Face for InternVL (HF format), Qwen2.5-VL and Qwen3-VL.

Inputs -> outputs: float frames (B, F, 3, H, W) in [0, 1], with gradient, and a TextBatch -> LMOutput; greedy answers;
log-probabilities of candidate answers. Pixels and text go through the library's own model. Does not render, does not
resize, and knows nothing of tasks or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import LoraConfig, MLLMConfig, SparsifyConfig
from models.mllm import decode, sparsify
from models.mllm.base import IGNORE, CandidateScores, LMOutput, TextBatch
from models.mllm.families.registry import family_named
from models.mllm.patchify import VisionGeometry, replace_patch_convolutions
from models.mllm.positions import VideoTiming
from models.mllm.text import PromptEncoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_encoder(path: str | Path, cfg: MLLMConfig) -> tuple[Any, Any, PromptEncoder]:
    """(model config, image processor, prompt encoder) of a checkpoint, without its weights.

    Raises:
        ValueError: the checkpoint is of another family, or of one that does not read `cfg.frames_as`.
    """
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    config = AutoConfig.from_pretrained(path)
    try:
        family = family_named(config.model_type)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    processor = AutoImageProcessor.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    geometry = family.read_geometry(config, processor.image_mean, processor.image_std)
    video = None
    if cfg.frames_as == "video":
        video = VideoTiming(cfg.video_fps, getattr(config.vision_config, "tokens_per_second", 1.0))
    encoder = PromptEncoder(tokenizer, family.name, geometry, video)
    return config, processor, encoder


def check_attention(attention: str) -> None:
    """Refuses what cannot run here.

    Raises:
        ValueError: FlashAttention without its package or without a GPU.
    """
    if attention != "flash_attention_2":
        return
    if find_spec("flash_attn") is None:
        raise ValueError("mllm.attention: flash_attention_2 needs the package flash-attn, which is not installed")
    if not torch.cuda.is_available():
        raise ValueError("mllm.attention: flash_attention_2 needs a GPU, and none is found; sdpa runs everywhere")


class HFMultimodal(nn.Module):
    """A multimodal LLM behind the surface of `models.mllm.base.MultimodalLM`."""

    def __init__(self, model: Any, encoder: PromptEncoder, image_processor: Any, sparse: SparsifyConfig) -> None:
        super().__init__()
        if sparse.enabled:
            encoder.rules.prepare_sparse(model)
        self.model: Any = model  # its attributes are not known to a type checker
        self.sparse = sparse
        self.encoder = encoder
        self.image_processor = image_processor

    @classmethod
    def from_checkpoint(cls, path: str | Path, cfg: MLLMConfig) -> HFMultimodal:
        """Load weights, tokenizer, chat template and image statistics of a folder or hub id.

        Raises:
            ValueError: the checkpoint is of an unsupported family, lacks a chat template or reads no video, or the
                attention implementation cannot run here.
            OSError: the files are not there (raised by transformers).
        """
        from transformers import AutoModelForImageTextToText

        check_attention(cfg.attention)
        _, processor, encoder = load_encoder(path, cfg)
        model = AutoModelForImageTextToText.from_pretrained(
            path, dtype=DTYPES[cfg.precision], attn_implementation=cfg.attention
        )
        replace_patch_convolutions(model)
        if cfg.gradient_checkpointing:
            # Non-reentrant: the frames need a gradient although no parameter before the first layer may.
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return cls(model, encoder, processor, cfg.sparsify)

    @property
    def family(self) -> str:
        """Architecture family of the checkpoint."""
        return self.encoder.family

    @property
    def geometry(self) -> VisionGeometry:
        """Patch and token geometry; `geometry.tokens(image_size)` is the cost of a frame."""
        return self.encoder.geometry

    def tokenize(
        self, prompts: Sequence[str], answers: Sequence[str] | None, frames: int, image_size: int
    ) -> TextBatch:
        """See `PromptEncoder.__call__`. Touches no weights, so a collating thread may call it."""
        return self.encoder(prompts, answers, frames, image_size)

    def choose(self, frames: Tensor, text: TextBatch) -> tuple[Tensor | None, TextBatch]:
        """Which blocks of the frames are read, and the token rows that go with them: both arguments of `read`.

        Without sparsification (None, text as it is); with it kept blocks (B, F, h, w) bool and pruned rows. As
        a video, the steps in time stand in place of F.
        """
        if not self.sparse.enabled:
            return None, text
        self.geometry.check(*frames.shape[-2:])
        unit = self.geometry.patch * self.geometry.merge
        together = 1 if self.encoder.video is None else self.geometry.temporal
        keep = sparsify.foreground(frames, unit, self.sparse.threshold, self.sparse.dilation, together)
        return keep, sparsify.prune_text(text, keep, self.encoder.image_id, self.encoder.pad_id)

    def see(self, frames: Tensor, keep: Tensor | None) -> dict[str, Any]:
        """Pixels of frames (B, F, 3, H, W) as arguments of the backbone: whole images, or visual tokens of `keep`."""
        video = self.encoder.video is not None
        inputs = self.geometry.video_inputs(frames) if video else self.geometry.pixel_inputs(frames.flatten(0, 1))
        if keep is None:
            return inputs
        rules, blocks = self.encoder.rules, keep.flatten(0, 1)
        return {"mm_encoder_outputs": rules.encode_kept(self.model.model, inputs, blocks, self.geometry, video)}

    def read(self, frames: Tensor, text: TextBatch, use_cache: bool, keep: Tensor | None = None) -> Any:
        """Run the backbone on images and text, without the language-model head; last_hidden_state is (B, L, D).

        `keep` and `text` come from `choose`. No attention mask is handed on: attention is causal and padding stands at
        the right, so only padding sees padding. That keeps the fast causal kernels, and what follows on the cache masks
        the padding out.
        """
        inputs = self.see(frames, keep)
        if text.mm_token_type_ids is not None:
            inputs["mm_token_type_ids"] = text.mm_token_type_ids
        if text.position_ids is not None:
            inputs["position_ids"] = text.position_ids
            if text.position_ids.dim() == 2:
                # Gaps in plain positions read as borders of packed sequences unless there is a mask; one that masks
                # nothing is dropped again by the library.
                inputs["attention_mask"] = torch.ones_like(text.attention_mask)
        return self.model.model(input_ids=text.input_ids, use_cache=use_cache, **inputs)

    def read_on(self, text: TextBatch, cache: Any) -> Any:
        """Run the backbone on text that continues a cached prefix; masks and positions are those of `text`."""
        return self.model.model(
            input_ids=text.input_ids,
            attention_mask=text.attention_mask,
            position_ids=text.position_ids,
            past_key_values=cache,
            use_cache=True,
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of selected hidden states (..., D) -> (..., V)."""
        return self.model.lm_head(hidden)

    def forward(self, frames: Tensor, text: TextBatch) -> LMOutput:
        """Language-modelling loss of the answers.

        frames (B, F, 3, H, W) float in [0, 1]; text from `tokenize` with answers. Logits are computed at the answer
        positions only, the loss in float32. Differentiable with respect to frames and weights.
        """
        if text.labels is None:
            raise ValueError("forward: expected a text batch with answers, found prompts only")
        keep, text = self.choose(frames, text)
        states = self.read(frames, text, use_cache=False, keep=keep).last_hidden_state
        labels = cast(Tensor, text.labels)
        row, column = (labels[:, 1:] != IGNORE).nonzero(as_tuple=True)
        logits = self.logits(states[row, column])
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        token_loss = functional.cross_entropy(wide, labels[row, column + 1], reduction="none")
        batch = labels.shape[0]
        counts = torch.bincount(row, minlength=batch)
        # index_put keeps the sum deterministic on a GPU where index_add would not be.
        sums = token_loss.new_zeros(batch).index_put((row,), token_loss, accumulate=True)
        return LMOutput(token_loss.mean(), sums / counts, counts, token_loss, row, logits)

    @torch.no_grad()
    def generate(self, frames: Tensor, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Greedy answers of B clips, cut at the end of the turn, stripped of outer white space."""
        text = self.tokenize(prompts, None, frames.shape[1], frames.shape[-1]).to(frames.device)
        with decode.evaluating(self):
            rows = decode.greedy(self, frames, text, max_new_tokens)
        decoded = self.encoder.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [t.strip() for t in decoded]

    @torch.no_grad()
    def score_candidates(
        self,
        frames: Tensor,
        prompts: Sequence[str],
        candidates: Sequence[Sequence[str]],
        begun: Sequence[str] | None = None,
    ) -> list[CandidateScores]:
        """Log-probability of every candidate answer of every clip, images and prompt encoded once per clip.

        begun: what each clip's answer already says; candidates go on from there, and only they are counted.
        """
        if begun is None:
            text = self.tokenize(prompts, None, frames.shape[1], frames.shape[-1])
            ids = [[self.encoder.answer_ids(c) for c in clip] for clip in candidates]
        else:
            split = [self.encoder.continuations(b, clip) for b, clip in zip(begun, candidates, strict=True)]
            starts, ids = [shared for shared, _ in split], [rest for _, rest in split]
            text = self.encoder.begun_rows(prompts, starts, frames.shape[1], frames.shape[-1])
        with decode.evaluating(self):
            return decode.score(self, frames, text.to(frames.device), ids)

    def add_lora(self, cfg: LoraConfig, seed: int = 0) -> None:
        """Put trainable adapters on the language model's projections, in place."""
        from models.mllm import lora  # inside: an exported model goes without adapters

        lora.add_lora(self.model, cfg, seed)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights (safetensors, adapters merged in), configs, tokenizer and image processor."""
        from models.mllm import lora

        state = lora.merged_state_dict(self.model)
        self.model.save_pretrained(folder, state_dict=state, safe_serialization=True)
        self.encoder.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
