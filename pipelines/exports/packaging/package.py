"""A trained model of a run -> a folder that is used without this project.

The folder holds the multimodal LLM as `AutoModelForImageTextToText.from_pretrained` takes it (adapters were merged when
training exported it), the renderer's weights, the code that draws and asks (plain PyTorch, no compiler), and a model
card. Trains, scores and converts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata

from models.config import MLLMConfig
from models.mllm.families.registry import FAMILIES
from models.skeleton_llm import MLLM_FOLDER, RENDERER_FILE
from pipelines.config.loading import decode, to_plain
from pipelines.config.tree import FullConfig
from pipelines.exports import find
from pipelines.exports.packaging import model_card
from pipelines.exports.packaging.source_copy import copy_package
from pipelines.exports.packaging.standalone import MODEL_FILE, MODEL_FORMAT, RENDERER_WEIGHTS, UNUSED_SETTINGS
from pipelines.exports.store import CONFIG_FILE, LABELS_FILE
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import provenance
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from skeleton_io import storage, strict_yaml

CODE_FILE = "modeling_skeletonllm.py"
CODE_PACKAGE = "skeletonllm"
CARD_FILE = "README.md"
TRAINING_FILE = "training_config.yaml"
_ENTRY = "pipelines.exports.packaging.standalone"
# Imported when a checkpoint of theirs is loaded.
_FAMILIES = tuple(f"models.mllm.families{place.partition(':')[0]}" for place in FAMILIES.values())
# Bounds of fields, of which the package reads nothing but the number, without the library for them.
_STAND_INS = {"annotated_types": "pipelines.exports.packaging.plain_bounds"}
_MODELING = '''"""Skeletons drawn for a multimodal LLM: SkeletonLLM.from_pretrained(FOLDER).answer(clip, question).

Written by `skel export-model` of skeleton-ray {version} (revision {revision}), as was `{package}/`: its sources.
Needs numpy, torch, safetensors and transformers. The method is that of SkeletonLLM, arXiv 2603.18003.
SPDX-License-Identifier: Apache-2.0
"""

from pathlib import Path

from {package}.{entry} import Clip, SkeletonLLM, main, read_clip

__all__ = ["Clip", "SkeletonLLM", "read_clip"]

if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
'''


def model_code() -> dict[str, str]:
    """File -> text of the code that goes along: needs numpy, torch, safetensors and transformers, nothing of ours."""
    origin = provenance()
    versions = {"version": origin["versions"]["skeleton-ray"], "revision": origin["git_revision"]}
    modeling = _MODELING.format(package=CODE_PACKAGE, entry=_ENTRY, **versions)
    sources = copy_package(_ENTRY, stand_ins=_STAND_INS, by_name=_FAMILIES)
    return {CODE_FILE: modeling} | {f"{CODE_PACKAGE}/{path}": text for path, text in sources.items()}


def run_settings(cfg: MLLMConfig, labels: dict[str, list[str]], identity: str) -> str:
    """The content of MODEL_FILE."""
    settings = to_plain(FullConfig(mllm=cfg))["mllm"]
    return json.dumps(
        {
            "format": MODEL_FORMAT,
            "export": identity,
            "mllm": {name: value for name, value in settings.items() if name not in UNUSED_SETTINGS},
            "labels": labels,
            "transformers": metadata.version("transformers"),
        },
        indent=1,
    )


def shareable_config(cfg: FullConfig) -> str:
    """The configuration as YAML, the folders of this machine left out."""
    plain = to_plain(cfg)
    plain["data"]["inputs"] = dict.fromkeys(plain["data"]["inputs"], "")
    if "/" in cfg.mllm.path and not model_card.is_hub_id(cfg.mllm.path):
        plain["mllm"]["path"] = storage.name(cfg.mllm.path)
    return strict_yaml.dump(plain)


def run_of(export: str) -> RunPaths | None:
    """The run that an export lies in, where it is one (RUN/train/STAGE/export)."""
    parts = export.rstrip("/").split("/")
    return RunPaths("/".join(parts[:-3])) if parts[-1] == "export" and parts[-3:-2] == ["train"] else None


def find_run_export(run: str, stage: str) -> str:
    """The export to take.

    Raises:
        UserError: none there.
    """
    place = storage.join(RunPaths(run).train, stage) if stage else run
    return find.find_export(place, subject=place)


def claim_folder(out: str, identity: str, code: Mapping[str, str], replace: bool) -> bool:
    """Whether there is something to write; clears what `replace` allows to be cleared.

    Raises:
        UserError: the folder holds something else.
    """
    if not storage.exists(out) or not (present := storage.list_files(out)):
        return True
    if not {MODEL_FILE, CODE_FILE} <= set(present):
        raise UserError(f"{out} is not empty, and no finished export; give another folder")
    if json.loads(storage.read_text(storage.join(out, MODEL_FILE)))["export"] == identity and all(
        path in present and storage.read_text(storage.join(out, path)) == text for path, text in code.items()
    ):
        return False
    if not replace:
        raise UserError(f"{out} holds another export; give another folder, or --replace")
    storage.remove(out)
    return True


def write_package(run: str, out: str, stage: str = "", replace: bool = False) -> str:
    """Writes the folder; an export that is there already is left alone.

    Args:
        run: a run, one of its training stages, or an export.
        out: folder or URI.
        stage: of the run; empty: the last that is finished.
        replace: an earlier export at `out` may be removed.

    Returns:
        The export that was taken.

    Raises:
        UserError: no model there, or `out` holds something else.
    """
    export = find_run_export(run, stage)
    identity, code = find.identity(export), model_code()
    if not claim_folder(out, identity, code, replace):
        say(f"[export-model] {out} is up to date, nothing to do")
        return export
    cfg = decode(strict_yaml.parse(storage.read_text(storage.join(export, CONFIG_FILE))), f"{export}/{CONFIG_FILE}")
    labels = json.loads(storage.read_text(storage.join(export, LABELS_FILE)))
    weights = storage.join(export, MLLM_FOLDER)
    for name in storage.list_files(weights):
        storage.copy(storage.join(weights, name), storage.join(out, name))
    storage.copy(storage.join(export, RENDERER_FILE), storage.join(out, RENDERER_WEIGHTS))
    card = model_card.card_text(cfg, labels, export, run_of(export))
    for name, text in (code | {CARD_FILE: card, TRAINING_FILE: shareable_config(cfg)}).items():
        storage.write_atomic(storage.join(out, name), text)
    # Last: a folder without it is no finished export.
    storage.write_atomic(storage.join(out, MODEL_FILE), run_settings(cfg.mllm, labels, identity))
    say(f"[export-model] {export} -> {out}")
    return export
