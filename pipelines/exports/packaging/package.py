"""A trained model of a run -> a folder that is used without this project.

The folder holds the multimodal LLM as `AutoModelForImageTextToText.from_pretrained` takes it (adapters were merged when
training exported it), the renderer's weights, `modeling_skeletonllm.py` with all the code that draws and asks (plain
PyTorch, no compiler), and a model card. Trains, scores and converts nothing.
"""

from __future__ import annotations

import json
from importlib import metadata

from models.config import MLLMConfig
from models.skeleton_llm import MLLM_FOLDER, RENDERER_FILE
from pipelines.config.loading import decode, to_plain
from pipelines.config.tree import FullConfig
from pipelines.exports import find
from pipelines.exports.packaging import model_card
from pipelines.exports.packaging.source_linker import Linker
from pipelines.exports.packaging.standalone import MODEL_FILE, MODEL_FORMAT, RENDERER_WEIGHTS
from pipelines.exports.store import CONFIG_FILE, LABELS_FILE
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import provenance
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from skeleton_io import storage, strict_yaml

CODE_FILE = "modeling_skeletonllm.py"
CARD_FILE = "README.md"
TRAINING_FILE = "training_config.yaml"
_BOUNDS = "pipelines.exports.packaging.plain_bounds"
_OWN = frozenset({"models", "skeleton_io", "pipelines.exports.packaging.standalone", "pipelines.scores.rules", _BOUNDS})
# The fast rasteriser without its C++, Triton and backward parts; bounds of fields without a package for them.
_INSTEAD = {
    ("models.draction.rasterize.tiled", "rasterize_tiled"): ("models.draction.rasterize.tiled", "rasterize_forward"),
    **{("annotated_types", name): (_BOUNDS, name) for name in ("Ge", "Gt", "Le", "Lt")},
}
# What only training and saving need.
_WITHOUT = {("models.mllm.hf", "HFMultimodal"): frozenset({"add_lora", "save_pretrained"})}


def model_code() -> str:
    """The text of `modeling_skeletonllm.py`: needs numpy, torch, safetensors and transformers, nothing of ours."""
    linker = Linker(_OWN, _INSTEAD, _WITHOUT)
    linker.take(("pipelines.exports.packaging.standalone", "main"))
    made = provenance()
    head = (
        '"""Skeletons drawn for a multimodal LLM: SkeletonLLM.from_pretrained(FOLDER).answer(clip, question).\n\n'
        f"Written by `skel export-model` of skeleton-ray {made['versions']['skeleton-ray']} (revision "
        f"{made['git_revision']}) from its sources.\nNeeds numpy, torch, safetensors and transformers. The method is "
        "that of SkeletonLLM, arXiv 2603.18003.\n"
        'SPDX-License-Identifier: Apache-2.0\n"""\n\n'
        "# ruff: noqa\nfrom __future__ import annotations\n\n"
    )
    return f'{head}{linker.text()}\n\nif __name__ == "__main__":\n    main()\n'


def run_settings(cfg: MLLMConfig, labels: dict[str, list[str]], identity: str) -> str:
    """The content of MODEL_FILE."""
    return json.dumps(
        {
            "format": MODEL_FORMAT,
            "export": identity,
            "mllm": {
                name: value
                for name, value in to_plain(FullConfig(mllm=cfg))["mllm"].items()
                if name not in ("path", "lora", "tiny", "gradient_checkpointing")
            },
            "labels": labels,
            "transformers": metadata.version("transformers"),
        },
        indent=1,
    )


def shareable(cfg: FullConfig) -> str:
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
    try:
        return find.find_export(place)
    except UserError as error:
        raise UserError(str(error).removeprefix("--model ")) from None


def prepare(out: str, identity: str, code: str, replace: bool) -> bool:
    """Whether there is something to do; clears what `replace` allows to be cleared.

    Raises:
        UserError: the folder holds something else.
    """
    if not storage.exists(out) or not (held := storage.list_files(out)):
        return True
    marker = storage.join(out, MODEL_FILE)
    if MODEL_FILE in held and CODE_FILE in held:
        same = json.loads(storage.read_text(marker))["export"] == identity
        if same and storage.read_text(storage.join(out, CODE_FILE)) == code:
            return False
        if replace:
            storage.remove(out)
            return True
        raise UserError(f"{out} holds another export; give another folder, or --replace")
    raise UserError(f"{out} is not empty, and no finished export; give another folder")


def run(run: str, out: str, stage: str = "", replace: bool = False) -> str:
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
    if not prepare(out, identity, code, replace):
        say(f"[export-model] {out} is up to date, nothing to do")
        return export
    cfg = decode(strict_yaml.parse(storage.read_text(storage.join(export, CONFIG_FILE))), f"{export}/{CONFIG_FILE}")
    labels = json.loads(storage.read_text(storage.join(export, LABELS_FILE)))
    weights = storage.join(export, MLLM_FOLDER)
    for name in storage.list_files(weights):
        storage.copy(storage.join(weights, name), storage.join(out, name))
    storage.copy(storage.join(export, RENDERER_FILE), storage.join(out, RENDERER_WEIGHTS))
    card = model_card.text(cfg, labels, export, run_of(export))
    for name, text in ((CODE_FILE, code), (CARD_FILE, card), (TRAINING_FILE, shareable(cfg))):
        storage.write_atomic(storage.join(out, name), text)
    # Last: a folder without it is no finished export.
    storage.write_atomic(storage.join(out, MODEL_FILE), run_settings(cfg.mllm, labels, identity))
    say(f"[export-model] {export} -> {out}")
    return export
