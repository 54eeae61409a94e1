"""Sizes of a model + what learns + how it is sharded -> bytes on one rank, by what they hold. Allocates nothing.

T numbers of the LLM learn, F are frozen, W ranks share the work; b bytes hold a frozen number (4, under bf16 2), a an
activation (the same). What learns is always float32 (`engine`). Bytes on a rank:

    ZeRO             0         1              2              3
    weights        4T + bF   4T + bF        4T + bF        (4T + bF) / W + gathered
    master copy      0       4T / W         4T / W         4T / W
    gradients       4T       4T + 4T / W    4T / W         4T / W
    AdamW           8T       8T / W         8T / W         8T / W
    buckets      small       4 x 5e8        4 x 5e8        4 x 5e8

After ZeRO (arXiv 1910.02054, section 5), with what DeepSpeed 0.19 adds to it: a float32 partition beside weights that
are float32 already, and one flat bucket of `reduce_bucket_size` numbers however few learn. `gathered`: up to 1.05e9
numbers are whole at a time at stage 3. Offload moves master copy, AdamW and the gradients' partition to the host, at
stage 3 the weights' partition too.

Activations are what autograd saves of one micro batch, counted operation by operation (`Block`), and beside them half
of the largest block for what its backward pass makes; with gradient checkpointing the inputs of all blocks, and one
block and a half. Gradients grow as activations go, so the larger of both counts, except where gradients stay between
micro batches or in a buffer of their own (stage 3).

Tested on tiny models of the three families, float32 on the CPU: the peak within 25 % (benchmarks/plan_memory.py; its
results lie within 13 %). Under ZeRO 1 and 2, 4T more was seen to last (docs/plan.md). No 8 B model was measured. Not
counted: CUDA's context (about 0.5 GB), the allocator's gaps (a tenth is usual), communication libraries.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.config import MLLMConfig, RendererConfig
from models.mllm.families.registry import family_named
from models.mllm.sizes import ModelSizes
from models.trainable import Group
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig

GATHERED = 1_050_000_000
"""Numbers that ZeRO-3 keeps whole at a time: stage3_max_live_parameters + stage3_prefetch_bucket_size, defaults."""
REDUCE_BUCKET = 500_000_000
"""DeepSpeed's reduce_bucket_size, numbers."""
RENDERER_PER_FRAME = 200_000
"""Bytes that a rendered frame keeps for its backward pass beside its pixels: lists of tiles, Gaussians (measured for
one person of 25 joints: 146,000 at 96 pixels, 218,000 at 448)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank.

    Attributes:
        weights: of the LLM, as this rank holds them.
        master: float32 copy of what learns.
        gradients: between micro batches.
        adam: AdamW's two moments.
        buckets: of communication.
        casts: bf16 copies of what learns, for the products.
        activations: at the peak of a micro batch.
        frames: rendered images and what the renderer keeps.
        host: of all these, bytes that offload moves to the CPU's memory (not part of `device`).
        together: whether gradients and activations are there at the same time.
    """

    weights: float = 0
    master: float = 0
    gradients: float = 0
    adam: float = 0
    buckets: float = 0
    casts: float = 0
    activations: float = 0
    frames: float = 0
    host: float = 0
    together: bool = False

    @property
    def device(self) -> float:
        """Bytes in the device's memory at the peak of a step."""
        passing = self.gradients + self.activations if self.together else max(self.gradients, self.activations)
        return self.weights + self.master + self.adam + self.buckets + self.casts + self.frames + passing - self.host

    @property
    def lasting(self) -> float:
        """Bytes that stay from step to step, wherever they are."""
        return self.weights + self.master + self.adam + (self.gradients if self.together else 0.0)


@dataclass(frozen=True)
class Block:
    """One transformer block as autograd sees it; numbers per token or patch.

    Attributes:
        hidden: width h.
        query: heads x their size.
        key: key heads x their size; values are as wide.
        intermediate: width i of the feed-forward part.
        gated: gate and up, as in SwiGLU: three saved tensors of width i instead of one.
        query_norm: norms on queries and keys.
        fused_qkv: one product makes all three, so that its whole output stays beside what is rotated.
        rotated: of queries and keys.
    """

    hidden: int
    query: int
    key: int
    intermediate: int
    gated: bool
    query_norm: bool
    fused_qkv: bool
    rotated: bool

    def saved(self, bytes_each: int, learns: bool, lora: int, dropout: bool) -> float:
        """Bytes that the backward pass needs of one token.

        Both norms keep their input in float32; attention keeps queries, keys, values and its output; the feed-forward
        part what its activation saw and made. Where the matrices learn, their inputs stay, too; adapters keep their
        own, after a dropout with its mask.

        Args:
            bytes_each: a.
            learns: whether the matrices learn.
            lora: widths of the inputs of all matrices with adapters, added up.
            dropout: whether they drop.
        """
        qkv = self.query + 2 * self.key
        if self.fused_qkv and self.rotated:
            qkv += self.query + self.key
        total = 4.0 * 2 * self.hidden + bytes_each * (qkv + self.query + (3 if self.gated else 1) * self.intermediate)
        if self.query_norm:
            total += 4.0 * (self.query + self.key)
        if learns:
            total += bytes_each * (2 * self.hidden + self.intermediate) + 4.0 * 2 * self.hidden
        if lora:
            total += lora * ((bytes_each + 4) if dropout else bytes_each)
        return total


def llm_block(sizes: ModelSizes) -> Block:
    """A block of the language model."""
    query, key = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    normed = family_named(sizes.family).query_norm
    return Block(sizes.hidden, query, key, sizes.intermediate, True, normed, fused_qkv=False, rotated=True)


def vision_block(sizes: ModelSizes) -> Block:
    """A block of the vision encoder."""
    width, family = sizes.vision_hidden, family_named(sizes.family)
    fused = family.fused_vision
    return Block(
        width, width, width, sizes.vision_intermediate, family.gated_vision, False, fused_qkv=fused, rotated=fused
    )


@dataclass(frozen=True)
class Load:
    """One micro batch on one rank.

    Attributes:
        clips: in it.
        tokens: of a row, visual ones included.
        visual: visual tokens of a row.
        answers: answer tokens of a row.
        images: of a row.
    """

    clips: int
    tokens: float
    visual: float
    answers: float
    images: int


def count_learning(sizes: ModelSizes, stage: StageConfig) -> int:
    """T: numbers of the LLM that learn in a stage; the renderer stays outside of all sharding."""
    return sum(number for group, number in sizes.parameters.items() if group in stage.trains)


def activation_bytes(sizes: ModelSizes, stage: StageConfig, mllm: MLLMConfig, load: Load) -> float:
    """Bytes at the peak of a micro batch: saved tensors of all blocks, projector and head, and a block's backward."""
    each = 2 if mllm.precision == "bf16" else 4
    trains: set[Group] = set(stage.trains)
    patches = load.clips * load.visual * sizes.geometry.merge**2
    tokens = load.clips * load.tokens
    # Vision keeps nothing where neither the renderer below it nor itself learns.
    sees = bool(trains & {"renderer", "vision"})
    adapters = 0
    if "lora" in trains:
        adapters = 3 * sizes.hidden + sizes.heads * sizes.head_dim
        adapters += (2 * sizes.hidden + sizes.intermediate) * (mllm.lora.targets == "all")
    dropout = mllm.lora.dropout > 0
    llm = llm_block(sizes).saved(each, "llm" in trains, adapters, dropout) * tokens
    vision = vision_block(sizes).saved(each, "vision" in trains, 0, False) * patches if sees else 0.0
    if mllm.gradient_checkpointing:
        seen = sizes.vision_layers * sizes.vision_hidden * patches if sees else 0.0
        blocks = each * (sizes.layers * sizes.hidden * tokens + seen) + max(llm, vision)
    else:
        blocks = sizes.layers * llm + sizes.vision_layers * vision
    wide = sizes.geometry.merge**2 * sizes.vision_hidden
    projector = load.clips * load.visual * (4 * wide + each * (2 * wide + 2 * sizes.hidden))
    head = load.clips * load.answers * sizes.vocab * (each + 4 + 4)
    return blocks + max(llm, vision) / 2 + projector + head


def frame_bytes(renderer: RendererConfig, stage: StageConfig, load: Load) -> float:
    """Bytes of rendered images, their normalised copy, and what the renderer keeps where it learns."""
    image = 4.0 * 3 * renderer.image_size**2
    kept = image + RENDERER_PER_FRAME if "renderer" in stage.trains else 0.0
    return load.clips * renderer.frames * (2 * image + kept)


def memory_per_rank(
    sizes: ModelSizes, stage: StageConfig, train: TrainConfig, mllm: MLLMConfig, renderer: RendererConfig, load: Load
) -> Memory:
    """Memory of one rank at the peak of a step; see the module's table.

    Args:
        sizes: of the model, adapters counted where the stage trains them.
        stage: what learns.
        train: ZeRO stage, offload, ranks.
        mllm: precision, checkpointing.
        renderer: images.
        load: one micro batch.
    """
    bf16, ranks = mllm.precision == "bf16", train.workers
    learns = count_learning(sizes, stage)
    frozen = sum(sizes.parameters.values()) - learns
    if "lora" not in stage.trains:
        frozen -= sizes.parameters.get("lora", 0)
    weights = 4.0 * learns + (2 if bf16 else 4) * frozen
    zero = train.zero_stage if learns else 0
    part = learns / ranks if zero else 0.0
    gathered, host = 0.0, 0.0
    if zero == 3:
        total = learns + frozen
        gathered = min(total, GATHERED) * weights / total
        weights = weights / ranks
    adam = 8.0 * (part if zero else learns)
    gradients = {0: 4.0 * learns, 1: 4.0 * (learns + part), 2: 4.0 * part, 3: 4.0 * part}[zero]
    if train.offload and zero:
        host = 4.0 * part + adam + 4.0 * part + (weights if zero == 3 else 0.0)
    return Memory(
        weights=weights + gathered,
        master=4.0 * part,
        gradients=gradients,
        adam=adam,
        buckets=4.0 * (REDUCE_BUCKET if zero else min(learns, 1 << 25) * (ranks > 1)),
        casts=2.0 * learns if bf16 else 0.0,
        activations=activation_bytes(sizes, stage, mllm, load) if learns or "renderer" in stage.trains else 0.0,
        frames=frame_bytes(renderer, stage, load),
        host=host,
        together=zero == 3 or train.global_batch // ranks > train.micro_batch,
    )
