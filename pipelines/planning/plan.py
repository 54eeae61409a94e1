"""A configuration (and a run, where there is one) -> what training will need, before anything is started.

Per stage: what learns, tokens, steps, hours, memory of a rank; for the whole: teacher cost, leakage, whether it fits.
Loads no weights and starts no Ray, no training and no process; connects to a cluster only where an address is given.
What cannot be known without shards is asked for (`--clips`) or said to be unknown; every estimate is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.leakage import of_run as leakage
from pipelines.planning import cluster as plan_cluster
from pipelines.planning import memory as plan_memory
from pipelines.planning import work as plan_work
from pipelines.planning.work import Data
from pipelines.rationales import costs
from pipelines.rationales.answers import load_rationales
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage

MEMORY_GB = {"H200": 141, "H100": 80, "B200": 180, "A100": 80, "L40S": 48, "L4": 24, "A10": 24, "V100": 32, "4090": 24}
"""Device memory by name, GB, of the larger variant; the names are those of `flops.PEAKS`."""
USABLE = 0.9
"""Share of the device's memory that may be planned for: the rest goes to CUDA's context and the allocator's gaps."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the caller says beyond the configuration.

    Attributes:
        clips: training clips, where there are no shards; 0: unknown.
        labels: candidates of a multiple-choice question, where there are no shards.
        clips_per_second: measured, over all workers; 0: from the device's peak.
        gpu: device, a key of MEMORY_GB; empty: not said.
        gpu_memory: GB of one device; 0: that of `gpu`.
        mfu: share of the device's peak that is assumed to be reached.
        address: of a cluster to compare with; empty: none.
    """

    clips: int = 0
    labels: int = 60
    clips_per_second: float = 0.0
    gpu: str = ""
    gpu_memory: float = 0.0
    mfu: float = 0.3
    address: str = ""


@dataclass(frozen=True)
class StagePlan:
    """One row: what learns by group, renderer included; work, memory, operations of a step; None: unknown."""

    name: str
    learns: dict[str, int]
    work: plan_work.Work | None
    memory: plan_memory.Memory
    step_flops: float
    seconds: float | None


@dataclass(frozen=True)
class Check:
    """One question asked of the plan. `fine` is None where it could not be answered."""

    name: str
    fine: bool | None
    text: str


@dataclass
class Plan:
    """The whole answer."""

    model: str
    parameters: dict[str, int]
    settings: str
    data: Data | None
    stages: list[StagePlan] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    teacher: dict[str, Any] | None = None
    assumed: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        stages = [
            asdict(stage) | {"bytes_on_device": stage.memory.device, "bytes_on_host": stage.memory.host}
            for stage in self.stages
        ]
        own = {"model": self.model, "parameters": self.parameters, "settings": self.settings, "teacher": self.teacher}
        checks = [asdict(check) for check in self.checks]
        return (
            own
            | {"data": asdict(self.data) if self.data else None, "stages": stages}
            | {"checks": checks, "assumed": self.assumed}
        )


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


def known_data(cfg: FullConfig, paths: RunPaths | None, given: Given) -> Data | None:
    """Training clips and labels: counted in the run's shards, or as given; None: unknown.

    Raises:
        UserError: a protocol does not fit the shards.
    """
    if paths is None or not storage.exists(storage.join(paths.shards, "index.json")):
        if not given.clips:
            return None
        name = next(iter(cfg.data.inputs), "data")
        return Data({name: given.clips}, {name: [f"drink water {k}" for k in range(given.labels)]}, 0.0, counted=False)
    store = ClipStore(paths.shards)
    selection = select(cfg, store)
    sets = sorted(cfg.train.sets or selection.train)
    free = any({"caption", "qa"} & set(stage.tasks) for stage in cfg.train.stages)
    clips = {n: len(selection.train[n]) + (len(selection.unlabelled_train.get(n, ())) if free else 0) for n in sets}
    texts = texts_of(paths)
    mean = sum(map(len, texts.values())) / len(texts) if texts else 0.0
    labels = {n: list(selection.labels[n]) or ["motion"] for n in sets}
    return Data({n: c for n, c in clips.items() if c}, labels, mean, counted=True)


def texts_of(paths: RunPaths) -> dict[str, str]:
    """The run's accepted rationales; empty where there are none, or none that this version wrote."""
    try:
        return load_rationales(paths.rationales)
    except FileNotFoundError:
        return {}


def operations_per_second(cfg: FullConfig, given: Given) -> float:
    """What all ranks reach together; 0: no device named.

    Raises:
        UserError: an unknown device.
    """
    if not given.gpu:
        return 0.0
    found = next(((bf16, fp32) for name, bf16, fp32 in PEAKS if name == given.gpu), None)
    if found is None:
        raise UserError(f"--gpu {given.gpu}: expected one of {', '.join(name for name, _, _ in PEAKS)}")
    return 1e12 * found[cfg.mllm.precision != "bf16"] * given.mfu * cfg.train.workers


def plan_stage(
    cfg: FullConfig,
    stage: StageConfig,
    sizes: ModelSizes,
    model: Any,
    data: Data | None,
    encoder: Any,
    given: Given,
    rate: float,
) -> StagePlan:
    """One stage; `rate` is what all ranks reach, operations per second (0: unknown)."""
    renderer = sum(p.numel() for p in make_renderer(cfg.renderer).parameters()) if "renderer" in stage.trains else 0
    learns = {str(g): sizes.parameters.get(g, 0) for g in stage.trains if g != "renderer"}
    learns = {"renderer": renderer, **learns} if renderer else learns
    # Memory does not depend on how many clips there are; one stands for any where they are unknown.
    load_data = data or Data({"data": 1}, {"data": [f"drink water {k}" for k in range(given.labels)]}, 0.0, False)
    work = plan_work.work_of(cfg, stage, sizes, load_data, encoder)
    memory = plan_memory.per_rank(sizes, stage, cfg.train, cfg.mllm, cfg.renderer, work.load)
    flops = plan_work.step_operations(model, cfg, stage, work, sizes)
    seconds = None
    if data is not None:
        seconds = plan_work.seconds(flops * work.steps, work, given.clips_per_second, rate)
    return StagePlan(stage.name, learns, work if data is not None else None, memory, flops, seconds)


def make(cfg: FullConfig, paths: RunPaths | None, given: Given) -> Plan:
    """The plan.

    Args:
        cfg: checked when it was loaded.
        paths: a run, whose shards, rationales and tiny model are used where they are there; None: none.
        given: what the caller adds.

    Raises:
        UserError: an unknown model or device, or shards that do not fit the configuration.
    """
    if not cfg.train.stages:
        raise UserError("nothing to plan: train.stages is empty")
    rate = operations_per_second(cfg, given)
    data = known_data(cfg, paths, given)
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
        named = cfg.mllm.path or f"tiny {cfg.mllm.family}"
        parameters = {str(group): number for group, number in adapted.parameters.items()}
        plan = Plan(named, parameters, plan_work.settings(cfg.mllm), data)
        try:
            for stage in cfg.train.stages:
                has = "lora" in stage.trains
                sizes = adapted if has else plain
                plan.stages.append(plan_stage(cfg, stage, sizes, models[has], data, encoder, given, rate))
        except ValueError as error:
            raise UserError(f"renderer.image_size: {error}") from None
    assumed = {text for stage in plan.stages if stage.work for text in stage.work.assumed}
    plan.assumed = sorted(assumed) + assumptions(cfg, data, given)
    plan.teacher = teacher_of(cfg, paths, data)
    plan.checks = checks(cfg, paths, given, plan)
    return plan


def assumptions(cfg: FullConfig, data: Data | None, given: Given) -> list[str]:
    """What the plan takes for granted."""
    told = []
    if data is not None and not data.counted:
        told.append(f"{given.clips:,} training clips and {given.labels} labels, as given")
    if given.clips_per_second:
        told.append(f"{given.clips_per_second:g} clips per second over all workers, as given")
    elif given.gpu:
        told.append(f"{given.mfu:.0%} of the peak of {cfg.train.workers} x {given.gpu} is reached")
    return told


def teacher_of(cfg: FullConfig, paths: RunPaths | None, data: Data | None) -> dict[str, Any] | None:
    """Requests, tokens and money of the rationales still to be asked; None: no stage needs any, or no shards."""
    needed = any("rationale" in stage.tasks for stage in cfg.train.stages)
    if not needed or paths is None or data is None or not data.counted:
        return None
    cost = costs.estimate(cfg, paths)
    sums = {name: getattr(cost.total, name) for name in ("requests", "input", "output", "usd")}
    return {"teacher": cfg.rationales.teacher, "settled": cost.settled, "priced": cost.priced, **sums}


def checks(cfg: FullConfig, paths: RunPaths | None, given: Given, plan: Plan) -> list[Check]:
    """Memory, cluster, leakage, rationales, data."""
    found = [_memory(cfg, given, plan), _cluster(cfg, given, plan)]
    if plan.data is None or not plan.data.counted:
        found.append(Check("leakage", None, "there are no shards to look at; give --run"))
    else:
        assert paths is not None
        try:
            leakage.check_run(cfg, paths)
            found.append(Check("leakage", True, "training sees nothing of what the test asks"))
        except UserError as error:
            found.append(Check("leakage", False, str(error)))
    if any("rationale" in stage.tasks for stage in cfg.train.stages):
        found.append(_rationales(paths, plan))
    return found


def _memory(cfg: FullConfig, given: Given, plan: Plan) -> Check:
    peak = max(plan.stages, key=lambda stage: stage.memory.device)
    need = f"{peak.memory.device / 1e9:.1f} GB on a rank, in stage {peak.name}"
    have = given.gpu_memory or MEMORY_GB.get(given.gpu, 0)
    if not have:
        return Check("memory", None, f"{need}; give --gpu or --gpu-memory to compare")
    fine = peak.memory.device / 1e9 <= USABLE * have
    advice = "" if fine else f"; {advise(cfg)}"
    return Check("memory", fine, f"{need}; {USABLE:.0%} of {have:g} GB may be used{advice}")


def advise(cfg: FullConfig) -> str:
    """What makes a rank need less, cheapest first."""
    train, options = cfg.train, []
    if not cfg.mllm.gradient_checkpointing:
        options.append("mllm.gradient_checkpointing true")
    if train.micro_batch > 1:
        options.append(f"train.micro_batch below {train.micro_batch}")
    if train.zero_stage < 3:
        options.append(f"train.zero_stage {train.zero_stage + 1}")
    if not train.offload:
        options.append("train.offload true")
    return "try " + (", ".join(options) or "more workers or larger devices")


def _cluster(cfg: FullConfig, given: Given, plan: Plan) -> Check:
    if not given.address:
        return Check("cluster", None, "give --address to compare with a running one")
    host = max(stage.memory.host for stage in plan.stages)
    fine, text = plan_cluster.fit(plan_cluster.nodes_of(given.address), cfg.train, host)
    return Check("cluster", fine, text)


def _rationales(paths: RunPaths | None, plan: Plan) -> Check:
    if paths is None or plan.data is None or not plan.data.counted:
        return Check("rationales", None, "there are no shards; give --run")
    there = len(texts_of(paths))
    if not there:
        return Check("rationales", None, "none are there yet; `skel rationales` makes them before training")
    return Check("rationales", True, f"{there:,} accepted texts for {plan.data.total:,} training clips")
