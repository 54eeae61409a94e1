"""A configuration (and a run, where there is one) -> what training will need, before anything is started.

Per stage: what learns, tokens, steps, hours, memory of a rank; for the whole: teacher cost, leakage, whether it fits.
Loads no weights and starts no Ray, no training and no process; connects to a cluster only where an address is given.
What cannot be known without shards is asked for (`--clips`) or said to be unknown; every estimate is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.draction.registry import make_renderer
from models.mllm.flops import PEAKS
from models.mllm.hf import load_encoder
from models.mllm.published import NAMES, published_name
from models.mllm.sizes import ModelSizes, build_on_meta, describe, load_config
from models.mllm.tiny import build_config, build_tokenizer
from models.prompts import prompt_corpus
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.planning.checks import run_checks
from pipelines.planning.data import count_data, stand_in_labels
from pipelines.planning.memory import memory_per_rank
from pipelines.planning.result import Plan, PlanOptions, StagePlan, TeacherCost
from pipelines.planning.work import Data, describe_settings, stage_seconds, stage_work, step_operations
from pipelines.rationales import costs
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


@contextmanager
def model_source(cfg: FullConfig, paths: RunPaths | None, labels: list[str]) -> Iterator[tuple[Any, bool]]:
    """What `sizes.describe` takes, and whether a tokenizer lies beside it.

    A folder as it is; of a URI the small files; a published name; for a tiny model the run's own or one built here.

    Raises:
        UserError: a hub id that is not known here.
    """
    path = cfg.mllm.path
    if not path and paths is not None and storage.exists(storage.join(paths.mllm, "config.json")):
        path = paths.mllm
    if not path:
        tokenizer = build_tokenizer(cfg.mllm.family, prompt_corpus(labels), cfg.mllm.tiny.vocab)
        try:
            config = build_config(cfg.mllm.family, cfg.mllm.tiny, cfg.renderer.image_size, tokenizer)
        except ValueError as error:
            raise UserError(str(error)) from None
        yield config, False
    elif Path(path).is_dir():
        yield path, (Path(path) / "tokenizer_config.json").exists()
    elif "://" in path:
        with tempfile.TemporaryDirectory() as folder:
            for name in storage.list_files(path):
                if not name.endswith(_WEIGHTS):
                    storage.write_atomic(f"{folder}/{name}", storage.read_bytes(storage.join(path, name)))
            yield folder, (Path(folder) / "tokenizer_config.json").exists()
    elif published_name(path):
        yield path, False
    else:
        known = ", ".join(NAMES)
        raise UserError(f"mllm.path {path}: sizes unknown here; give a folder, a URI, or one of {known}")


def operations_per_second(cfg: FullConfig, options: PlanOptions) -> float:
    """What all ranks reach together; 0: no device named.

    Raises:
        UserError: an unknown device.
    """
    if not options.gpu:
        return 0.0
    peaks = next(((bf16, fp32) for name, bf16, fp32 in PEAKS if name == options.gpu), None)
    if peaks is None:
        raise UserError(f"--gpu {options.gpu}: expected one of {', '.join(name for name, _, _ in PEAKS)}")
    return 1e12 * peaks[cfg.mllm.precision != "bf16"] * options.mfu * cfg.train.workers


def plan_stage(
    cfg: FullConfig,
    stage: StageConfig,
    sizes: ModelSizes,
    model: Any,
    data: Data | None,
    encoder: Any,
    options: PlanOptions,
    rate: float,
) -> StagePlan:
    """One stage; `rate` is what all ranks reach, operations per second (0: unknown)."""
    renderer = sum(p.numel() for p in make_renderer(cfg.renderer).parameters()) if "renderer" in stage.trains else 0
    learns = {str(g): sizes.parameters.get(g, 0) for g in stage.trains if g != "renderer"}
    learns = {"renderer": renderer, **learns} if renderer else learns
    # Memory does not depend on how many clips there are; one stands for any where they are unknown.
    load_data = data or Data({"data": 1}, {"data": stand_in_labels(options)}, 0.0, False)
    work = stage_work(cfg, stage, sizes, load_data, encoder)
    memory = memory_per_rank(sizes, stage, cfg.train, cfg.mllm, cfg.renderer, work.load)
    flops = step_operations(model, cfg, stage, work, sizes)
    seconds = None
    if data is not None:
        seconds = stage_seconds(flops * work.steps, work, options.clips_per_second, rate)
    return StagePlan(stage.name, learns, work if data is not None else None, memory, flops, seconds)


def make_plan(cfg: FullConfig, paths: RunPaths | None, options: PlanOptions) -> Plan:
    """The plan.

    Args:
        cfg: checked when it was loaded.
        paths: a run, whose shards, rationales and tiny model are used where they are there; None: none.
        options: what the caller adds.

    Raises:
        UserError: an unknown model or device, or shards that do not fit the configuration.
    """
    if not cfg.train.stages:
        raise UserError("nothing to plan: train.stages is empty")
    rate = operations_per_second(cfg, options)
    data = count_data(cfg, paths, options)
    labels = sorted({label for names in data.labels.values() for label in names}) if data else ["walk", "run"]
    lora = any("lora" in stage.trains for stage in cfg.train.stages)
    with model_source(cfg, paths, labels) as (source, has_tokenizer):
        try:
            plain = describe(source)
            adapted = describe(source, cfg.mllm.lora) if lora else plain
            encoder = load_encoder(source, cfg.mllm)[2] if has_tokenizer else None
            models = {
                name: build_on_meta(load_config(source), cfg.mllm.lora if name else None) for name in {False, lora}
            }
        except (ValueError, OSError) as error:
            raise UserError(f"mllm.path {cfg.mllm.path}: {' '.join(str(error).split())}") from None
        model_name = cfg.mllm.path or f"tiny {cfg.mllm.family}"
        parameters = {str(group): number for group, number in adapted.parameters.items()}
        plan = Plan(model_name, parameters, describe_settings(cfg.mllm), data)
        try:
            for stage in cfg.train.stages:
                has = "lora" in stage.trains
                sizes = adapted if has else plain
                plan.stages.append(plan_stage(cfg, stage, sizes, models[has], data, encoder, options, rate))
        except ValueError as error:
            raise UserError(f"renderer.image_size: {error}") from None
    assumed = {text for stage in plan.stages if stage.work for text in stage.work.assumed}
    plan.assumed = sorted(assumed) + list_assumptions(cfg, data, options)
    plan.teacher = estimate_teacher(cfg, paths, data)
    plan.checks = run_checks(cfg, paths, options, plan)
    return plan


def list_assumptions(cfg: FullConfig, data: Data | None, options: PlanOptions) -> list[str]:
    """What the plan takes for granted."""
    assumptions = []
    if data is not None and not data.counted:
        assumptions.append(f"{options.clips:,} training clips and {options.labels} labels, as given")
    if options.clips_per_second:
        assumptions.append(f"{options.clips_per_second:g} clips per second over all workers, as given")
    elif options.gpu:
        assumptions.append(f"{options.mfu:.0%} of the peak of {cfg.train.workers} x {options.gpu} is reached")
    return assumptions


def estimate_teacher(cfg: FullConfig, paths: RunPaths | None, data: Data | None) -> TeacherCost | None:
    """Requests, tokens and money of the rationales still to be asked; None: no stage needs any, or no shards."""
    needed = any("rationale" in stage.tasks for stage in cfg.train.stages)
    if not needed or paths is None or data is None or not data.counted:
        return None
    cost = costs.estimate(cfg, paths)
    sums = {name: getattr(cost.total, name) for name in ("requests", "input", "output", "usd")}
    return TeacherCost(teacher=cfg.rationales.teacher, settled=cost.settled, priced=cost.priced, **sums)
