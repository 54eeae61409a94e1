"""What an export is known by: its bytes, those of the LLM with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.config import RendererConfig
from models.draction.renderer import DrAction
from models.draction.weights import load_renderer, save_renderer
from pipelines.config.tree import FullConfig
from pipelines.exports import store
from pipelines.exports.find import identity
from pipelines.exports.store import write_export


class Trained:
    """A stage that left the renderer alone; its LLM's one file holds `text`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save_export(self, folder: str) -> None:
        (Path(folder) / "mllm").mkdir()
        (Path(folder) / "mllm" / "model.safetensors").write_text(self.text)
        (Path(folder) / "renderer.safetensors").write_text("frozen")


def export(folder: Path, text: str) -> str:
    write_export(Trained(text), FullConfig(), {"set": ["wave"]}, str(folder))  # type: ignore[arg-type]
    return str(folder)


@pytest.mark.parametrize("listed", [True, False], ids=["as written", "by an earlier version"])
def test_stages_that_differ_in_the_llm_alone_are_told_apart(tmp_path: Path, listed: bool) -> None:
    exports = [export(tmp_path / str(n), text) for n, text in enumerate(("stage 3", "stage 4", "stage 4"))]
    known = [identity(uri) for uri in exports]
    if not listed:
        for uri in exports:
            Path(uri, store.WEIGHTS_FILE).unlink()
        assert [identity(uri) for uri in exports] == known
    assert known[0] != known[1] == known[2]


def test_hashes_of_the_weights_are_read_and_not_made_again(tmp_path: Path) -> None:
    uri = export(tmp_path, "stage 4")
    listed = json.loads(Path(uri, store.WEIGHTS_FILE).read_text())
    assert list(listed) == ["model.safetensors"]
    before = identity(uri)
    Path(uri, "mllm", "model.safetensors").write_text("4 stage")
    assert identity(uri) == before


def test_equal_renderers_are_equal_files(tmp_path: Path) -> None:
    renderer = DrAction(RendererConfig())
    files = [tmp_path / f"{n}.safetensors" for n in range(12)]  # three keys of metadata in any order: 6 ways
    for file in files:
        save_renderer(renderer, file)
    assert len({file.read_bytes() for file in files}) == 1
    again = load_renderer(files[0]).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in renderer.state_dict().items())
