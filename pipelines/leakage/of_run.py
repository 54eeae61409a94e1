"""Configuration + shards + rationales -> findings: what training would see of what the test asks. One ends the run.

Looked at: clips (by key, and by the hash of their positions, so the same recording under two names is found), labels
of training and validation clips, the wording of questions, the negatives of yes/no questions, rationales, the model
that training starts from. A zero-shot protocol of one set hides its classes from all sets that train together with it.
Reads the shards' arrays for the hashes, once per process; changes nothing and mends nothing. Does not find recordings
that differ in a single bit (another reader, another frame rate).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from models import prompts
from pipelines.batches.negatives import Table, build_negatives
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection, select
from pipelines.exports import start_points
from pipelines.rationales.answers import load_rationales
from pipelines.rationales.teachers.kinematic import leaks
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from pipelines.scores.rules import normalise
from skeleton_io import storage

SHOWN = 5
"""Findings spelled out in the error; the others are counted."""


@dataclass(frozen=True, order=True)
class Finding:
    """One leak.

    Attributes:
        kind: "clip", "recording", "label", "prompt", "negative", "rationale" or "model".
        place: where it was found.
        what: the clip or label, and why it must not be there.
    """

    kind: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def refuse(findings: Sequence[Finding]) -> None:
    """Ends the run where there are findings.

    Raises:
        UserError: with the first few, each with its place.
    """
    if findings:
        more = f"; and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
        first = "; ".join(str(finding) for finding in findings[:SHOWN])
        remedy = ""
        if all(finding.kind == "recording" for finding in findings):
            remedy = ". Leave the set out, train under a protocol without them, or be told only: --data.repeats report"
        text = f"leakage: training would see what the test asks. {first}{more}{remedy} (docs/evaluate.md, Leakage)"
        raise UserError(text)


def refuse_or_report(cfg: FullConfig, findings: Sequence[Finding]) -> None:
    """`refuse`, but a repeated recording is only told where `data.repeats` says so: published rules have some.

    Raises:
        UserError: as `refuse`.
    """
    repeats = [finding for finding in findings if finding.kind == "recording" and cfg.data.repeats == "report"]
    if repeats:
        first = repeats[0]
        say(f"[leakage] {len(repeats)} clips train and test under two names (data.repeats: report), the first: {first}")
    refuse([finding for finding in findings if finding not in repeats])


def check_run(cfg: FullConfig, paths: RunPaths) -> None:
    """Checks the sets that are trained together, before anything starts.

    Raises:
        UserError: a leak, or a protocol that does not fit the shards.
    """
    refuse_or_report(cfg, find_leaks(cfg, paths))


def check_transfer(cfg: FullConfig, paths: RunPaths, train: str, test: str) -> None:
    """Checks a transfer, whose test takes in ALL clips of the other set. Labels are shared on purpose.

    Raises:
        UserError: a clip of one is a recording of the other too, or a protocol does not fit the shards.
    """
    store = ClipStore(paths.shards)
    selection = select(cfg, store)
    unknown = sorted({train, test} - set(store.sets))
    if unknown:
        raise UserError(f"evaluate.transfer: no set {unknown[0]!r}; there is {', '.join(store.sets)}")
    sides = {f"training clips of {train}": [*selection.train[train], *selection.validation[train]]}
    other = [*selection.train[test], *selection.validation[test], *selection.test[test]]
    contents = {
        key: hash_contents(paths.shards, store.digest)[key] for keys in (*sides.values(), other) for key in keys
    }
    refuse(find_shared_clips(sides, {f"transfer test on {test}": other}, contents))


def find_leaks(cfg: FullConfig, paths: RunPaths) -> list[Finding]:
    """All leaks of a run, sorted by kind and place; empty for a clean one.

    Args:
        cfg: the run's configuration.
        paths: the run; rationales are looked at where a stage learns from them and they are there.
    """
    store = ClipStore(paths.shards)
    selection, labels = select(cfg, store), store.labels()
    sets = sorted(cfg.train.sets or selection.train)
    findings = find_clip_leaks(selection, sets, hash_contents(paths.shards, store.digest))
    hidden = collect_hidden_labels(selection, sets)
    if hidden:
        pools = {name: selection.labels[name] for name in sets}
        findings += find_label_leaks(selection, sets, labels, hidden)
        findings += find_prompt_leaks(pools, hidden)
        if any("yesno" in stage.tasks for stage in cfg.train.stages):
            findings += find_negative_leaks(_negatives(cfg, selection, labels, sets), hidden)
        if any("rationale" in stage.tasks for stage in cfg.train.stages):
            learnt = {key for name in sets for key in selection.train[name]}
            texts = {key: text for key, text in load_rationales(paths.rationales).items() if key in learnt}
            findings += find_rationale_leaks(texts, pools, hidden)
        outside = [stage for stage in cfg.train.stages if "/" in stage.start]
        for uri in [cfg.mllm.path] * bool(cfg.mllm.path) + [start_points.outside(stage) for stage in outside]:
            findings += find_model_leaks(uri, hidden)
    return sorted(findings)


def collect_hidden_labels(selection: Selection, sets: Iterable[str]) -> dict[str, str]:
    """Normalised unseen label -> "SET's label", over the sets that train together."""
    return {normalise(label): f"{label!r}, unseen in {name}" for name in sets for label in selection.unseen[name]}


def find_clip_leaks(selection: Selection, sets: Sequence[str], contents: Mapping[str, str]) -> list[Finding]:
    """Clips on two sides: training, validation (what Tune and model selection look at) and test, over all sets."""
    free = [selection.unlabelled_train, selection.unlabelled_validation, selection.unlabelled_test]
    train, validation, test = (
        {name: (*labelled[name], *others.get(name, ())) for name in sets}
        for labelled, others in zip((selection.train, selection.validation, selection.test), free, strict=True)
    )
    train = {f"training clips of {name}": keys for name, keys in train.items()}
    validation = {f"validation clips of {name} (model selection, Tune)": keys for name, keys in validation.items()}
    test = {f"test clips of {name}": keys for name, keys in test.items()}
    return [
        *find_shared_clips(train, test, contents),
        *find_shared_clips(validation, test, contents),
        *[f for f in find_shared_clips(train, validation, contents) if f.kind == "clip"],
    ]


def find_shared_clips(
    one: Mapping[str, Iterable[str]], other: Mapping[str, Iterable[str]], contents: Mapping[str, str]
) -> list[Finding]:
    """The same clip, or the same recording under two names, on both sides.

    Args:
        one: place -> keys.
        other: place -> keys.
        contents: key -> hash of the clip's positions; keys that are missing are compared by name only.
    """
    findings = []
    where = {key: place for place, keys in other.items() for key in keys}
    by_content = {contents[key]: key for key in sorted(where, reverse=True) if key in contents}
    for place, keys in one.items():
        for key in sorted(keys):
            if key in where:
                findings.append(Finding("clip", place, f"clip {key} is among the {where[key]} too"))
            elif key in contents and contents[key] in by_content:
                twin = by_content[contents[key]]
                text = f"clip {key} is the same recording as {twin} among the {where[twin]}"
                findings.append(Finding("recording", place, text))
    return findings


def find_label_leaks(
    selection: Selection, sets: Iterable[str], labels: Mapping[str, str], hidden: Mapping[str, str]
) -> list[Finding]:
    """Training and validation clips (the Tune objective) of a class that some protocol hides: one finding per class."""
    findings = []
    parts = {"training": selection.train, "validation (model selection, Tune)": selection.validation}
    for part, keys in ((part, clips[name]) for part, clips in parts.items() for name in sets):
        first = {normalise(labels[key]): key for key in sorted(keys, reverse=True)}
        for label in sorted(set(first) & set(hidden)):
            place = f"{part} clips of {first[label].split('/', 1)[0]}"
            findings.append(Finding("label", place, f"clip {first[label]} is of {hidden[label]}"))
    return findings


def find_prompt_leaks(pools: Mapping[str, Sequence[str]], hidden: Mapping[str, str]) -> list[Finding]:
    """Unseen labels in the questions as training words them, candidates included."""
    texts = {"rationale question": (prompts.rationale_prompt(), ()), "caption question": (prompts.caption_prompt(), ())}
    texts |= {f"multiple choice of {name}": (prompts.mqa_prompt(tuple(pool)), pool) for name, pool in pools.items()}
    return [
        Finding("prompt", place, f"names {hidden[label]}")
        for place, (text, seen) in texts.items()
        for label in find_hidden_labels(text, seen, hidden)
    ]


def find_negative_leaks(tables: Mapping[str, Table], hidden: Mapping[str, str]) -> list[Finding]:
    """Unseen labels that yes/no questions ask about, as right or as wrong ones.

    Args:
        tables: set -> label -> its negatives, as training draws them.
        hidden: from `collect_hidden_labels`.
    """
    findings = set()
    for name, table in tables.items():
        for label in sorted({*table, *(other for row in table.values() for other in row)}):
            if normalise(label) in hidden:
                what = f"ask about {hidden[normalise(label)]}"
                findings.add(Finding("negative", f"yes/no negatives of {name}", what))
    return sorted(findings)


def find_rationale_leaks(
    rationales: Mapping[str, str], pools: Mapping[str, Sequence[str]], hidden: Mapping[str, str]
) -> list[Finding]:
    """Unseen labels in the texts that training learns from, by clip.

    Args:
        rationales: clip key -> text.
        pools: set -> seen labels; "throw up cap or hat" is no "throw".
        hidden: from `collect_hidden_labels`.
    """
    return [
        Finding("rationale", f"rationale of {key}", f"names {hidden[label]}")
        for key in sorted(rationales)
        if key.split("/", 1)[0] in pools
        for label in find_hidden_labels(rationales[key], pools[key.split("/", 1)[0]], hidden)
    ]


def find_model_leaks(uri: str, hidden: Mapping[str, str]) -> list[Finding]:
    """Unseen labels that the model training starts from was trained on, where it is an export that says so.

    A checkpoint from elsewhere (a hub's) says nothing of its training; nothing is found there.
    """
    folders = [uri, uri.rstrip("/").rsplit("/", 1)[0]]
    listed = next((p for p in (storage.join(f, "labels.json") for f in folders) if storage.exists(p)), None)
    if listed is None:
        return []
    trained = json.loads(storage.read_text(listed))
    return [
        Finding("model", listed, f"was trained on {hidden[normalise(label)]}")
        for label in sorted({label for labels in trained.values() for label in labels})
        if normalise(label) in hidden
    ]


def find_hidden_labels(text: str, seen: Iterable[str], hidden: Iterable[str]) -> list[str]:
    """Hidden labels that stand in a text, sorted; not those inside of a longer seen label.

    A label of several words counts with any endings ("jumps up" is "jump up"), one of a single word only as it is: an
    arm that drops is not the class "drop".

    Args:
        text: any.
        seen: labels that may stand there.
        hidden: normalised labels that may not.
    """
    words, unseen = f" {normalise(text)} ", sorted(set(hidden))
    # Longest first: "throw up cap or hat" must go before "throw" cuts a piece out of it.
    for label in sorted({normalise(label) for label in seen} - set(unseen), key=len, reverse=True):
        words = words.replace(f" {label} ", "  0  ")
    return [label for label in unseen if f" {label} " in words or (" " in label and leaks(words, label))]


@lru_cache(maxsize=4)
def hash_contents(uri: str, digest: str) -> dict[str, str]:
    """Key -> hash of each clip's positions (shape and bytes, NaN included). `digest`: a changed set is a new entry."""
    store, hashes = ClipStore(uri), {}
    for batch in store.shards.table(["dataset", "id", "T", "P", "J", "C", "positions"]).to_batches():
        rows: list[dict[str, Any]] = batch.select(["dataset", "id", "T", "P", "J", "C"]).to_pylist()
        positions = batch.column("positions")
        values = positions.values.to_numpy(zero_copy_only=False)
        ends = positions.offsets.to_numpy()
        for place, row in enumerate(rows):
            part = np.ascontiguousarray(values[ends[place] : ends[place + 1]])
            shape = f"{row['T']} {row['P']} {row['J']} {row['C']} ".encode()
            content = hashlib.blake2b(shape + part.tobytes(), digest_size=16).hexdigest()
            hashes[f"{row['dataset']}/{row['id']}"] = content
    return hashes


def _negatives(
    cfg: FullConfig, selection: Selection, labels: Mapping[str, str], sets: Sequence[str]
) -> Mapping[str, Table]:
    """What yes/no questions may ask about; the model's confusions change chances, not which labels there are."""
    seen = {name: selection.labels[name] for name in sets}
    # All of a label's negatives, not only the hardest of them.
    every = dataclasses.replace(cfg.train.negatives, hardest=0)
    return build_negatives(every, {name: selection.train[name] for name in sets}, labels, seen).tables
