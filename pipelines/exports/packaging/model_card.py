"""What a run knows of a model -> its card: how to use it, what it was made from, and the numbers that were measured.

Reads manifests, the shards' metadata and the evaluation of the run. A number that the run does not hold is said to be
missing; none is computed or guessed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import prompts
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import protocol_of
from pipelines.runtime.digest import digest
from pipelines.runtime.manifest import read_manifest
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(path: str) -> bool:
    """Whether `mllm.path` names a model on a hub (owner/name) and not a folder or URI."""
    return _HUB.fullmatch(path) is not None and not path.startswith(".")


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """A data set as the shards have it.

    Attributes:
        licences: all that its clips state, joined.
        clips: of all parts.
        protocol: name of its split.
        protocol_hash: of the split's rules.
    """

    licences: str
    clips: int
    protocol: str
    protocol_hash: str


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the run says; what it does not hold is empty.

    Attributes:
        stages: manifests of the stages up to the model's own, in order.
        sets: set -> what its shards say.
        shards: hash of the shard set.
        teacher: summary of the rationales.
        scores: metrics of this very model.
    """

    stages: tuple[Mapping[str, Any], ...] = ()
    sets: dict[str, SetFacts] = field(default_factory=dict)
    shards: str = ""
    teacher: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)


def gather_facts(cfg: FullConfig, export: str, paths: RunPaths | None) -> RunFacts:
    """Reads the run that an export lies in; None: there is none, so nothing is facts."""
    if paths is None:
        return RunFacts()
    own = storage.name(export.rstrip("/").rsplit("/", 1)[0])
    names = [stage.name for stage in cfg.train.stages]
    names = names[: names.index(own) + 1] if own in names else [own]
    stages = [manifest for name in names if (manifest := read_manifest(storage.join(paths.train, name)))]
    teacher = read_manifest(paths.rationales)
    scores: Mapping[str, Any] = {}
    metrics = storage.join(paths.evaluate, "metrics.json")
    if storage.exists(metrics) and stages:
        evaluation = json.loads(storage.read_text(metrics))
        # The run may have been trained on since: numbers of another model are not this one's.
        scores = evaluation if evaluation["model"] == stages[-1]["key"] else {}
    sets, shards = _sets(cfg, paths)
    return RunFacts(
        stages=tuple(stages), sets=sets, shards=shards, teacher=teacher["summary"] if teacher else {}, scores=scores
    )


def _sets(cfg: FullConfig, paths: RunPaths) -> tuple[dict[str, SetFacts], str]:
    """Sets of the shards with licence and protocol, and the shards' hash."""
    if not storage.exists(storage.join(paths.shards, "index.json")):
        return {}, ""
    store = ClipStore(paths.shards)
    rows = store.meta().select(["dataset", "licence"]).to_pylist()
    sets = {}
    for name in store.sets:
        licences = [row["licence"] or "not stated" for row in rows if row["dataset"] == name]
        protocol = protocol_of(cfg, store, name)
        sets[name] = SetFacts(
            licences="; ".join(sorted(set(licences))),
            clips=len(licences),
            protocol=protocol.name,
            protocol_hash=protocol.hash,
        )
    return sets, store.digest


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _header(cfg: FullConfig) -> str:
    """What hubs read: tags, task and, where it is facts, the model that training started from."""
    lines = ["---", "library_name: transformers", "pipeline_tag: image-text-to-text", "license: other"]
    if is_hub_id(cfg.mllm.path):
        lines.append(f"base_model: {cfg.mllm.path}")
    return "\n".join([*lines, "tags: [skeleton, action-recognition, motion, skeletonllm]", "---"])


USE = """## Use

```python
from modeling_skeletonllm import SkeletonLLM  # beside this page; needs numpy, torch, safetensors, transformers

model = SkeletonLLM.from_pretrained(".")
clip = {{"positions": positions, "fps": 30.0, "topology": "ntu25"}}  # or "joints": names, "bones": pairs of indices
model.answer(clip, "{question}")
model.classify(clip, {labels})
```

`positions` is an array (frames, persons, joints, 3) in metres, +y up, NaN where a joint is missing; from a camera +x
points to the image's left and +z into the scene. Joints of an image are (frames, persons, joints, 2). A file that
`skel export --to npz` wrote can be given by its path. `AutoModelForImageTextToText.from_pretrained(".")` loads the
multimodal LLM alone; `model.frames(clip)` are the images that it reads."""


def _use(labels: Mapping[str, Sequence[str]]) -> str:
    examples = next((list(names)[:3] for names in labels.values() if names), ["walk", "run"])
    return USE.format(question=prompts.caption_prompt(), labels=json.dumps(examples))


def _what(cfg: FullConfig, facts: RunFacts) -> str:
    base = cfg.mllm.path if is_hub_id(cfg.mllm.path) else storage.name(cfg.mllm.path) if cfg.mllm.path else ""
    started = f"`{base}`" if base else f"a tiny {cfg.mllm.family} with random weights"
    renderer = cfg.renderer
    trained = f"on {len(facts.sets)} data sets" if facts.sets else "on the labels below"
    return (
        f"A skeleton sequence of any format is drawn as {renderer.frames} images of {renderer.image_size} x "
        f"{renderer.image_size} by a renderer (`{renderer.kind}`), which a multimodal LLM reads and answers questions "
        f"about (method: SkeletonLLM, arXiv 2603.18003). Started from {started}, trained {trained}."
    )


def _scores(facts: RunFacts) -> str:
    if not facts.scores:
        return "## Results\n\nThe run holds no evaluation of this model, so no numbers are given."
    rows = []
    for name, scores in [*facts.scores["sets"].items(), ("all", facts.scores)]:
        accuracy, written = scores["accuracy"], scores.get("generated")
        low, high = accuracy["ci95"]
        exact = f"{written['exact']['value']:.3f}" if written else "not asked"
        numbers = (f"{accuracy['value']:.3f}", f"{low:.3f} to {high:.3f}", f"{accuracy['chance']:.3f}", exact)
        rows.append((name, accuracy["n"], *numbers))
    head = ("test clips of", "clips", "accuracy", "95 % interval", "chance", "in its own words")
    return (
        "## Results\n\nAccuracy among the candidate labels of each set, by the mean log-probability of a label's "
        "tokens; intervals by bootstrap over clips.\n\n" + table(head, rows)
    )


def _data(cfg: FullConfig, facts: RunFacts) -> str:
    if not facts.sets:
        return "## Data\n\nThe shards that it was trained on are not at hand; the labels stand below."
    trained = cfg.train.sets or tuple(facts.sets)
    rows = [
        (name, "yes" if name in trained else "no", s.clips, f"{s.protocol} (`{s.protocol_hash}`)", s.licences)
        for name, s in facts.sets.items()
    ]
    text = table(("set", "trained on", "clips, all parts", "protocol (hash)", "licence"), rows)
    teacher = ""
    if facts.teacher:
        teacher = (
            f"\n\nRationales of {facts.teacher['asked']} clips come from the teacher `{facts.teacher['teacher']}`."
        )
    return f"## Data\n\n{text}\n\nHash of the shard set: `{facts.shards}`.{teacher}"


def _stage_row(stage: StageConfig, manifest: Mapping[str, Any] | None) -> tuple[object, ...]:
    """A row of the table of stages; numbers only where the stage has run."""
    rates = ", ".join(f"{group} {stage.learning_rate[group]:g}" for group in stage.trains)
    tasks = ", ".join(f"{task} {weight:g}" for task, weight in stage.tasks.items())
    if manifest is None:
        return stage.name, tasks, rates, "", "", ""
    summary = manifest["summary"]
    loss = f"{summary['loss_first']:.3f} to {summary['loss_last']:.3f}"
    accuracy = summary["validation_accuracy"]
    validation = "no clips" if accuracy is None else f"{accuracy:.3f} of {summary['validation_clips']}"
    return stage.name, tasks, rates, summary["steps"], loss, validation


def _training(cfg: FullConfig, facts: RunFacts) -> str:
    by_name = {manifest["summary"]["name"]: manifest for manifest in facts.stages}
    stages = [s for s in cfg.train.stages if not by_name or s.name in by_name]
    rows = [_stage_row(stage, by_name.get(stage.name)) for stage in stages]
    head = ("stage", "tasks", "trained, with peak rates", "steps", "loss, first to last", "validation accuracy")
    lines = [
        f"- Configuration `{digest(cfg)}`: `training_config.yaml`. Seed {cfg.seed}. Prompts version "
        f"{prompts.PROMPTS_VERSION}. Global batch {cfg.train.global_batch}, precision {cfg.mllm.precision}."
    ]
    if facts.stages:
        last = facts.stages[-1]
        versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
        lines.append(f"- Finished {last['finished']}, key `{last['key']}`, revision `{last['git_revision']}`.")
        lines.append(f"- Python {last['python']}, {versions}; {last['platform']}.")
    return "## Training\n\n" + table(head, rows) + "\n\n" + "\n".join(lines)


def _labels(labels: Mapping[str, Sequence[str]]) -> str:
    rows = [(name, len(names), ", ".join(names)) for name, names in labels.items()]
    return "## Labels seen in training\n\n" + table(("set", "number", "labels"), rows)


def _terms(cfg: FullConfig) -> str:
    base = "" if not cfg.mllm.path else " of the model that training started from, and"
    return (
        "## Terms and limits\n\n`modeling_skeletonllm.py` and `skeletonllm/` are under Apache-2.0. The weights carry "
        f"the terms{base} of the data sets named above. Answers are those of a language model: they can be wrong and "
        "still sound sure. It was tested on the clips counted above and on nothing else; in particular not for "
        "medical, safety or surveillance use."
    )


def card_text(cfg: FullConfig, labels: Mapping[str, Sequence[str]], export: str, paths: RunPaths | None) -> str:
    """The card as Markdown.

    Args:
        cfg: the model's own configuration.
        labels: set -> labels seen in training.
        export: its URI.
        paths: the run that it lies in; None: it lies alone.
    """
    facts = gather_facts(cfg, export, paths)
    parts = [_header(cfg), f"# {cfg.name}", _what(cfg, facts), _use(labels), _scores(facts), _training(cfg, facts)]
    return "\n\n".join([*parts, _data(cfg, facts), _labels(labels), _terms(cfg)]) + "\n"
