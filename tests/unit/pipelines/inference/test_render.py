"""`skel render` below the command line: weights of every kind, shard sets, chosen frames."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.config import RendererConfig, RendererKind
from models.draction.renderer import DrAction
from models.draction.weights import import_released, save_renderer
from pipelines.data.clip_files import read_clips
from pipelines.data.renderer_input import clip_input
from pipelines.inference import render
from pipelines.inference.render import RenderOptions, load_renderer
from pipelines.runtime.errors import UserError
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

SMALL = RendererConfig(frames=3, image_size=64, samples_per_bone=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("throw",), broken=False))
    return read_clips(str(folder / "demo_ntu"), "ntu", [])[0]


@pytest.fixture
def trained() -> DrAction:
    torch.manual_seed(7)
    renderer = DrAction(SMALL)
    with torch.no_grad():
        for parameter in renderer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return renderer.eval()


@pytest.mark.parametrize("as_folder", [False, True])
def test_our_weights_draw_as_they_were_trained(clip, trained, tmp_path: Path, as_folder):
    save_renderer(trained, tmp_path / "renderer.safetensors")
    uri = str(tmp_path if as_folder else tmp_path / "renderer.safetensors")
    options = RenderOptions(weights=uri)
    found = render.draw(load_renderer(options), clip, options)
    with torch.no_grad():
        expected = trained([clip_input(clip, SMALL, None, None)])[0].permute(0, 2, 3, 1)
    assert found.frames.shape == (3, 64, 64, 3)
    assert np.abs(found.frames / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    other = render.draw(load_renderer(RenderOptions()), clip, RenderOptions())
    assert other.frames.shape == (12, 448, 448, 3)  # untrained, with the configuration's defaults


def test_released_weights_with_and_without_modulator(shared_data, tmp_path):
    folder = shared_data / "golden" / "draction"
    stored = load_file(folder / "draction_candidate_01.safetensors")
    save_file({k: v for k, v in stored.items() if not k.startswith("nfm.")}, tmp_path / "bare.safetensors")
    (clip,) = read_clips(str(folder / "S001C001P001R001A023.skeleton"), "", [])
    frames = []
    for path in (folder / "draction_candidate_01.safetensors", tmp_path / "bare.safetensors"):
        options = RenderOptions(weights=str(path), frame_indices=(11,), image_size=128)
        frames.append(render.draw(load_renderer(options), clip, options).frames)
    assert frames[0].shape == frames[1].shape == (1, 128, 128, 3)
    assert not import_released(tmp_path / "bare.safetensors", RendererConfig()).cfg.nfm
    assert np.abs(frames[0].astype(int) - frames[1]).max() > 5  # the modulator does something
    assert ((frames[0] > 20).any(-1) & (frames[1] > 20).any(-1)).sum() > 100  # on the same body


def test_a_shard_set_gives_the_same_frames(clip, tmp_path: Path):
    uri = str(tmp_path)
    info = shard_set.write_shard(shard_set.shard_uri(uri, clip.dataset, 0), [to_row(clip)])
    shard_set.write_index(uri, [info], [clip.topology], {clip.dataset: ()}, [], {clip.dataset: 1})
    with pytest.raises(UserError, match=f"--clip SET/ID, for example --clip {clip.key}"):
        read_clips(uri, "", [])
    with pytest.raises(UserError, match="no clip ntu/x"):
        read_clips(uri, "", ["ntu/x"])
    (again,) = read_clips(uri, "", [clip.key])
    options = RenderOptions(renderer="stick", image_size=64, frames=2)
    renderer = load_renderer(options)
    assert (render.draw(renderer, again, options).frames == render.draw(renderer, clip, options).frames).all()


def test_chosen_frames(clip):
    assert render.frame_indices(clip, RenderOptions(frame_indices=(3, 0, 3)), 12).tolist() == [3, 0, 3]
    spread = render.frame_indices(clip, RenderOptions(), 4)
    assert (np.diff(spread) > 0).all()
    with pytest.raises(UserError, match=f"frames 0 to {clip.frames - 1}"):
        render.frame_indices(clip, RenderOptions(frame_indices=(clip.frames,)), 12)
    options = RenderOptions(renderer="stick", image_size=64, frame_indices=(5, 2))
    drawn = render.draw(load_renderer(options), clip, options)
    assert drawn.seconds == pytest.approx(np.array([5, 2]) / clip.fps)
    assert (drawn.frames[0] != drawn.frames[1]).any()


def test_the_camera_can_be_changed(clip):
    frames = []
    for camera in ("fit", "identity"):
        options = RenderOptions(renderer="stick", image_size=64, frames=1, camera=camera)
        frames.append(render.draw(load_renderer(options), clip, options).frames)
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("kind", get_args(RendererKind))
def test_every_kind_draws(clip, kind):
    options = RenderOptions(renderer=kind, image_size=64, frames=2)
    found = render.draw(load_renderer(options), clip, options)
    assert found.frames.shape == (2, 64, 64, 3)
    assert 0.002 < (found.frames > 30).any(-1).mean() < 0.5


def test_views_share_the_frames(clip):
    options = RenderOptions(renderer="stick", image_size=64, frames=6, views=(0.0, 90.0))
    found = render.draw(load_renderer(options), clip, options)
    assert found.frames.shape[0] == 6
    assert found.indices[:3].tolist() == found.indices[3:].tolist()
    assert (found.frames[:3] != found.frames[3:]).any((1, 2, 3)).all()
    assert render._durations_ms(found.seconds)[2] < 5000  # the jump back to the second view's first moment
    with pytest.raises(UserError, match="a number that divides frames"):
        load_renderer(RenderOptions(frames=5, views=(0.0, 90.0)))


def test_names_of_outputs(clip):
    assert render.targets([clip], "a/{clip}.npz") == [Path(f"a/{clip.id}.npz")]
    assert render.targets([clip], "a.gif") == [Path("a.gif")]
    with pytest.raises(UserError, match="several clips would be written"):
        render.targets([clip, clip], "a")


def test_empty_frames_are_said(tmp_path: Path, capsys: pytest.CaptureFixture):
    # Feet of a motion capture file stand on the floor below a camera at the origin that looks along +z.
    asset = next((Path(__file__).resolve().parents[3] / "assets/asf_amc").rglob("*.amc"))
    fit = RenderOptions(format="asf_amc", renderer="stick", image_size=32, frames=2, out=str(tmp_path / "a.npz"))
    render.run([str(asset)], fit)
    assert capsys.readouterr().err == ""
    identity = dataclasses.replace(fit, camera="identity")
    blind = load_renderer(identity)
    clip = read_clips(str(asset), "asf_amc", [])[0]
    behind = dataclasses.replace(clip, positions=clip.positions - np.float32([0, 0, 50]))
    item = render.draw(blind, behind, identity)
    assert not item.frames.any()
    assert render.emptiness(item, blind.cfg).startswith("2 of 2 frames are empty: nothing stands before the authors")
