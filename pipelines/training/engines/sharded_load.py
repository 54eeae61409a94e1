"""Under ZeRO-3, a checkpoint -> weights that are split over the ranks as they are loaded, never whole on one of them.

transformers asks a module-wide setting whether to do so. It is set for the block only: an evaluation in the same
process must get whole weights. Loads nothing itself and builds no optimiser: see `exports.store` and `zero`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from models.config import Precision
from pipelines.config.train import TrainConfig


@contextmanager
def partition_on_load(train: TrainConfig, precision: Precision, enabled: bool) -> Iterator[None]:
    """Whatever `from_pretrained` builds within the block is partitioned over the ranks of torch.distributed.

    Rank 0 reads the files, memory-mapped, and hands on one module's weights at a time.

    Args:
        train: ZeRO settings.
        precision: of the weights as they are loaded.
        enabled: False: the block changes nothing.
    """
    if not enabled:
        yield
        return
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    from pipelines.training.engines.zero import load_deepspeed, make_zero_config

    load_deepspeed()
    # transformers holds a weak reference only. DeepSpeed makes partitions of float32 unless bf16 is named here.
    reference = HfDeepSpeedConfig(make_zero_config(train, 1, 1) | {"bf16": {"enabled": precision == "bf16"}})
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del reference


def count_held_bytes(module: nn.Module) -> int:
    """Bytes of parameters that this rank holds now: its partitions, and what is gathered or never was partitioned."""
    held: dict[int, int] = {}
    for parameter in module.parameters():
        for tensor in (parameter.data, getattr(parameter, "ds_tensor", None)):
            if isinstance(tensor, torch.Tensor):
                held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(held.values())
