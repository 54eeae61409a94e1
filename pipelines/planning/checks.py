"""A plan -> whether it works out: memory, cluster, leakage, rationales. Each answer is one line."""

from __future__ import annotations

from pipelines.config.tree import FullConfig
from pipelines.leakage import of_run as leakage
from pipelines.planning.cluster import cluster_nodes, fit
from pipelines.planning.data import accepted_rationales
from pipelines.planning.result import Check, Plan, PlanOptions
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths

MEMORY_GB = {"H200": 141, "H100": 80, "B200": 180, "A100": 80, "L40S": 48, "L4": 24, "A10": 24, "V100": 32, "4090": 24}
"""Device memory by name, GB, of the larger variant; the names are those of `flops.PEAKS`."""
USABLE = 0.9
"""Share of the device's memory that may be planned for: the rest goes to CUDA's context and the allocator's gaps."""


def run_checks(cfg: FullConfig, paths: RunPaths | None, options: PlanOptions, plan: Plan) -> list[Check]:
    """Memory, cluster, leakage, rationales, data."""
    checks = [_memory(cfg, options, plan), _cluster(cfg, options, plan)]
    if plan.data is None or not plan.data.counted:
        checks.append(Check("leakage", None, "there are no shards to look at; give --run"))
    else:
        assert paths is not None
        try:
            leakage.check_run(cfg, paths)
            checks.append(Check("leakage", True, "training sees nothing of what the test asks"))
        except UserError as error:
            checks.append(Check("leakage", False, str(error)))
    if any("rationale" in stage.tasks for stage in cfg.train.stages):
        checks.append(_rationales(paths, plan))
    return checks


def _memory(cfg: FullConfig, options: PlanOptions, plan: Plan) -> Check:
    peak = max(plan.stages, key=lambda stage: stage.memory.device)
    need = f"{peak.memory.device / 1e9:.1f} GB on a rank, in stage {peak.name}"
    have = options.gpu_memory or MEMORY_GB.get(options.gpu, 0)
    if not have:
        return Check("memory", None, f"{need}; give --gpu or --gpu-memory to compare")
    fine = peak.memory.device / 1e9 <= USABLE * have
    advice = "" if fine else f"; {advise_memory(cfg)}"
    return Check("memory", fine, f"{need}; {USABLE:.0%} of {have:g} GB may be used{advice}")


def advise_memory(cfg: FullConfig) -> str:
    """What makes a rank need less, cheapest first."""
    train, steps = cfg.train, []
    if not cfg.mllm.gradient_checkpointing:
        steps.append("mllm.gradient_checkpointing true")
    if train.micro_batch > 1:
        steps.append(f"train.micro_batch below {train.micro_batch}")
    if train.zero_stage < 3:
        steps.append(f"train.zero_stage {train.zero_stage + 1}")
    if not train.offload:
        steps.append("train.offload true")
    return "try " + (", ".join(steps) or "more workers or larger devices")


def _cluster(cfg: FullConfig, options: PlanOptions, plan: Plan) -> Check:
    if not options.address:
        return Check("cluster", None, "give --address to compare with a running one")
    host = max(stage.memory.host for stage in plan.stages)
    fine, text = fit(cluster_nodes(options.address), cfg.train, host)
    return Check("cluster", fine, text)


def _rationales(paths: RunPaths | None, plan: Plan) -> Check:
    if paths is None or plan.data is None or not plan.data.counted:
        return Check("rationales", None, "there are no shards; give --run")
    texts = len(accepted_rationales(paths))
    if not texts:
        return Check("rationales", None, "none are there yet; `skel rationales` makes them before training")
    return Check("rationales", True, f"{texts:,} accepted texts for {plan.data.total:,} training clips")
