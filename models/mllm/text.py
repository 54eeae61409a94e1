"""Prompts and answers -> padded token rows, through the checkpoint's own chat template.

Pure tokenizer work: no weights, no GPU, safe in a data-collating thread. Does not know frames' pixels, only how many
visual tokens an image takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.mllm.base import IGNORE, TextBatch
from models.mllm.families.registry import family_named
from models.mllm.patchify import VisionGeometry
from models.mllm.positions import VideoTiming

# The wording InternVL was trained with for frames of a video; short, and plain enough for the other families.
FRAME_LABEL = "Frame{}: "
_SLOT = "PROMPT-GOES-HERE"
_CACHED_PROMPTS = 4096


class PromptEncoder:
    """Turns prompts into token rows for one tokenizer and one vision geometry.

    Frames become labelled images, or with `video` one video.

    Raises:
        ValueError: the tokenizer has no chat template, the template drops or repeats the prompt or the images, or the
            family reads no video.
    """

    def __init__(self, tokenizer: Any, family: str, geometry: VisionGeometry, video: VideoTiming | None = None) -> None:
        if video is not None:
            geometry.video_steps(1)
        if not tokenizer.chat_template:
            raise ValueError("tokenizer: expected a chat template in the checkpoint folder, found none")
        self.tokenizer = tokenizer
        self.family = family
        self.rules = family_named(family)
        self.geometry = geometry
        self.video = video
        self.eos_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # The token that stands for one visual token, of an image or of a video.
        visual = self.rules.image_token if video is None else self.rules.video_token()
        self.image_id: int = tokenizer.convert_tokens_to_ids(visual)
        self._heads: dict[tuple[int, int], tuple[list[int], str]] = {}
        self._prompts: dict[tuple[int, int, str], list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text as it stands, nothing added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _visual_content(self, frames: int, image_size: int) -> tuple[list[dict[str, str]], int, str, str]:
        """(chat content, how often the placeholder must appear, placeholder, what replaces it)."""
        tokens = self.geometry.tokens(image_size)
        if self.video is None:
            content = [
                part for k in range(1, frames + 1)
                for part in ({"type": "text", "text": FRAME_LABEL.format(k)}, {"type": "image"})
            ]  # fmt: skip
            return content, frames, *self.rules.image_block(tokens)
        return [{"type": "video"}], 1, *self.rules.video_block(self.video, self.geometry, frames, tokens)

    def _head(self, frames: int, image_size: int) -> tuple[list[int], str]:
        """Ids of everything before the prompt (all images), and the template's text after it."""
        key = (frames, image_size)
        if key not in self._heads:
            content, count, placeholder, block = self._visual_content(frames, image_size)
            chat = [{"role": "user", "content": [*content, {"type": "text", "text": _SLOT}]}]
            text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            if text.count(_SLOT) != 1 or text.count(placeholder) != count:
                what = "images" if self.video is None else "video"
                raise ValueError(
                    f"chat template: expected 1 prompt and {count} {what}, found {text.count(_SLOT)} and "
                    f"{text.count(placeholder)}"
                )
            head, tail = text.split(_SLOT)
            # Head and prompt are tokenised apart; a special token or a line end stands between them.
            self._heads[key] = (self.ids(head.replace(placeholder, block)), tail)
        return self._heads[key]

    def prompt_ids(self, prompt: str, frames: int, image_size: int) -> list[int]:
        """The whole user turn and the start of the assistant's. Repeated prompts come from a cache."""
        key = (frames, image_size, prompt)
        found = self._prompts.get(key)
        if found is None:
            head, tail = self._head(frames, image_size)
            found = head + self.ids(prompt + tail)
            if len(self._prompts) < _CACHED_PROMPTS:
                self._prompts[key] = found
        return found

    def answer_ids(self, answer: str) -> list[int]:
        """The answer's ids with the end-of-turn token."""
        return [*self.ids(answer), self.eos_id]

    def continuations(self, begun: str, candidates: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """Ids of a begun answer, and of what each candidate adds to it with the end-of-turn token.

        The whole text is tokenised, since a token may reach over the border: what all candidates share of the begun
        ids is the first part, the rest of each belongs to the second.
        """
        whole = [self.answer_ids(begun + candidate) for candidate in candidates]
        shared = self.ids(begun)
        for ids in whole:
            same = 0
            while same < min(len(shared), len(ids) - 1) and shared[same] == ids[same]:
                same += 1
            shared = shared[:same]
        return shared, [ids[len(shared) :] for ids in whole]

    def __call__(
        self, prompts: Sequence[str], answers: Sequence[str] | None, frames: int, image_size: int
    ) -> TextBatch:
        """B prompts (with answers: training rows; without: prefixes to be continued) -> right-padded TextBatch."""
        heads = [self.prompt_ids(p, frames, image_size) for p in prompts]
        tails = [self.answer_ids(a) for a in answers] if answers is not None else [[] for _ in heads]
        if len(tails) != len(heads):
            raise ValueError(f"answers: expected {len(heads)}, one for each prompt, found {len(tails)}")
        return self._rows(heads, tails, answers is not None, frames, image_size)

    def begun_rows(self, prompts: Sequence[str], begun: Sequence[list[int]], frames: int, image_size: int) -> TextBatch:
        """B prompts, each with the ids of an answer that has begun: prefixes to be continued."""
        heads = [self.prompt_ids(p, frames, image_size) for p in prompts]
        return self._rows(heads, begun, False, frames, image_size)

    def _rows(
        self, heads: Sequence[list[int]], tails: Sequence[list[int]], labelled: bool, frames: int, image_size: int
    ) -> TextBatch:
        whole = [h + t for h, t in zip(heads, tails, strict=True)]
        length = max(map(len, whole))
        ids = torch.tensor([r + [self.pad_id] * (length - len(r)) for r in whole], dtype=torch.int64)
        lengths = torch.tensor([len(r) for r in whole])[:, None]
        place = torch.arange(length)[None, :]
        mask = (place < lengths).long()
        labels = None
        if labelled:
            starts = torch.tensor([len(h) for h in heads])[:, None]
            labels = ids.masked_fill((place < starts) | (place >= lengths), IGNORE)
        rows = TextBatch(ids, mask, labels)
        return self.rules.text_batch(rows, self.image_id, self.geometry, image_size, frames, self.video)
