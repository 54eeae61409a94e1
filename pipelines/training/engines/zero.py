"""DeepSpeed ZeRO 1-3 around the multimodal LLM, as a `base.StageEngine`. The renderer stays outside; see there.

Stage 0 replicates everything, which `plain.PlainEngine` does without DeepSpeed, as it does where the renderer alone
learns. DeepSpeed's own checkpoints are not used: they are pickles, bound to one number of ranks, and its universal ones
give every group the first group's rate at stage 3. The state is read and written where ZeRO keeps it, in its flat
float32 partitions.

The optimiser is torch's AdamW, handed over: an optimizer block in DeepSpeed's configuration, and its shared-memory
collectives, are C++ extensions that are compiled for a minute at first use and fail without a compiler. DeepSpeed casts
nothing here; `base` says how bf16 is done.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models.config import Precision
from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from models.skeleton_llm import SkeletonLLM
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.trainer.engine import Piece
from pipelines.trainer.replica import Replica, adam_state, make_adamw, parameter_names
from pipelines.training.engines.plain import Reader, split_groups

AT_A_TIME = 1 << 28
"""Numbers that are gathered at a time for an export."""


def make_zero_config(train: TrainConfig, micro_batch: int, micro_batches: int) -> dict[str, Any]:
    """DeepSpeed's configuration; `micro_batch` clips per pass on one rank, `micro_batches` of them per step."""
    zero: dict[str, Any] = {"stage": train.zero_stage}
    if train.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    if train.offload and train.zero_stage == 3:
        zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": micro_batches,
        "gradient_clipping": train.clip_grad,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def load_deepspeed() -> Any:
    """The deepspeed module, quiet and without just-in-time compilation of its shared-memory collectives."""
    # Version 0.19 calls collectives by names that torch 2.13 is about to rename.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # ZeRO-3's hooks cannot look into LMOutput; no module that returns one has weights of its own.
    deepspeed.utils.logger.addFilter(lambda record: "unknown inputs or outputs" not in record.getMessage())
    # deepspeed.ops replaces attribute access, so the table is reached through sys.modules.
    sys.modules["deepspeed.ops"].__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


class ZeroEngine:
    """DeepSpeed ZeRO over an initialised torch.distributed.

    Args:
        model: on this rank's device; what learns is already chosen, and is more than the renderer.
        stage: learning rates.
        train: ZeRO stage (1-3), clipping, decay.
        precision: of the LLM.
        world_size: ranks.
    """

    def __init__(
        self, model: SkeletonLLM, stage: StageConfig, train: TrainConfig, precision: Precision, world_size: int
    ) -> None:
        self.model, self.sharded = model, train.zero_stage == 3
        own = train.global_batch // world_size
        self.done, self.micro_batches = 0, -(-own // train.micro_batch)
        mine, others = split_groups(model, stage, train)
        names = parameter_names(model)
        self.replica = Replica(mine, names, train.clip_grad, world_size)
        self.rest = torch.zeros(())
        self.learning = [(names[id(p)], p) for group in others for p in group["params"]]
        self.peaks = [group["lr"] for group in others]
        self.deepspeed = load_deepspeed()
        self.engine, *_ = self.deepspeed.initialize(
            model=Reader(model.mllm, precision),
            optimizer=make_adamw(others),
            config=make_zero_config(train, -(-own // self.micro_batches), self.micro_batches),
        )
        self.zero: Any = self.engine.optimizer
        self._clip_together()

    def _clip_together(self) -> None:
        """Makes DeepSpeed's global norm one over the renderer too: it asks for the norm, then clips by the answer."""
        if self.sharded:
            groups = self.zero._get_norm_groups
            self.zero._get_norm_groups = lambda: [*groups(), self.rest]
            return
        whole = self.zero.scaled_global_norm

        def joint(norm_type: int = 2) -> Tensor:
            own = whole(norm_type)
            return torch.linalg.vector_norm(torch.stack([own, self.rest.to(own)]))

        self.zero.scaled_global_norm = joint

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """See StageEngine."""
        return self.engine(self.model.renderer(clips), text)

    def backward(self, loss: Tensor) -> None:
        """See Engine. DeepSpeed divides by the number of micro batches and steps at the last one."""
        self.engine.backward(loss)
        self.done += 1
        if self.done < self.micro_batches:
            self.engine.step()  # only counts the micro batch

    def step(self, factor: float) -> float:
        """See Engine."""
        for group, peak in zip(self.zero.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.rest = self.replica.average_gradients().to(self.engine.device)
        self.engine.step()
        self.done = 0
        norm = float(self.engine.get_global_grad_norm())
        self.replica.step(factor, norm)
        return norm

    def _places(self) -> Iterator[tuple[str, int, Tensor, int, int]]:
        """(name, start in the parameter, flat partition, start in it, length) of all that this rank holds."""
        for name, parameter in self.learning:
            if self.sharded:
                group, place, size = self.zero.grad_position[self.zero.get_param_id(parameter)]
                start = torch.distributed.get_rank() * size
                size = min(size, parameter.ds_numel - start)  # the last ranks' partitions end in padding
                if size > 0:
                    yield name, start, self.zero.fp32_partitioned_groups_flat[group], place, size
            elif (link := parameter._hp_mapping) is not None:
                flat = self.zero.single_partition_of_fp32_groups[link.param_group_index]
                place = link.hp_fragment_address.start
                yield name, link.lp_fragment_address.start, flat, place, link.hp_fragment_address.numel

    def pieces(self) -> list[Piece]:
        """See Engine."""
        pieces = self.replica.pieces()
        for name, start, flat, place, size in self._places():
            state = adam_state(self.zero.optimizer, flat)
            parts = [t.detach().narrow(0, place, size) for t in (flat, state["exp_avg"], state["exp_avg_sq"])]
            pieces.append(Piece(name, start, *parts, shared=False))
        return pieces

    def resume_at(self, steps: int) -> None:
        """See Engine. The model's weights are copied from the partitions, as DeepSpeed does after a step."""
        self.replica.resume_at(steps)
        for _, _, flat, _, _ in self._places():
            adam_state(self.zero.optimizer, flat)["step"].fill_(steps)
        if not self.sharded:
            self.zero.update_lp_params()
            return
        self.zero.checkpoint_event_prologue()
        for group in range(len(self.zero.fp16_groups)):
            self.zero._reassign_or_swap_out_partitioned_parameters(group)
        self.zero.checkpoint_event_epilogue()

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """See Engine. Sharded weights are whole in rank 0's host memory: a GPU may not hold all of them."""
        whole = self._whole() if self.sharded else {}
        parts = {parameter: parameter.data for parameter in whole}
        try:
            for parameter, value in whole.items():
                parameter.data = value
            yield
        finally:
            for parameter, part in parts.items():
                parameter.data = part

    def _whole(self) -> dict[nn.Parameter, Tensor]:
        """On rank 0 the LLM's parameters and their whole values on the CPU, elsewhere nothing; all ranks call it."""
        values: dict[nn.Parameter, Tensor] = {}
        chunk: list[nn.Parameter] = []
        parameters = list(self.model.mllm.parameters())
        for number, parameter in enumerate(parameters, 1):
            chunk.append(parameter)
            if sum(getattr(p, "ds_numel", p.numel()) for p in chunk) < AT_A_TIME and number < len(parameters):
                continue
            with self.deepspeed.zero.GatheredParameters(chunk, modifier_rank=None):
                if torch.distributed.get_rank() == 0:
                    values |= {p: p.data.to("cpu", copy=True) for p in chunk}
            chunk = []
        return values
