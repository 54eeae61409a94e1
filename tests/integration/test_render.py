"""`skel render` through the command line: the authors' frames, every kind of output, one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main
from skeleton_io.demo.dataset import DemoConfig, write_demo

CLIPS = ("S001C001P001R001A023", "S001C001P002R001A058")
# (largest, mean) difference allowed, in units of 1/255
LIMITS = {"reference": (1, 0.001), "tiled": (2, 0.05)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("throw",)))
    return folder


def some(demo: Path, name: str) -> list[str]:
    return [str(p) for p in sorted((demo / name).iterdir()) if p.name.startswith("S") and "R90" not in p.name]


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("rasterizer", LIMITS)
def test_the_authors_frames(shared_data, tmp_path, clip, rasterizer):
    folder = shared_data / "golden" / "draction"
    golden = np.load(folder / f"{clip}.npz")
    weights = folder / "draction_candidate_01.safetensors"
    indices = map(str, golden["frame_indices"])
    command = ["render", str(folder / f"{clip}.skeleton"), "--format", "ntu", "--weights", str(weights)]
    command += ["--frame-indices", *indices, "--image-size", "448", "--camera", "identity"]
    assert main([*command, "--rasterizer", rasterizer, "--out", str(tmp_path / "x.npz")]) == 0
    found = np.load(tmp_path / "x.npz")
    assert found["frames"].dtype == np.uint8
    assert found["frames"].shape == golden["frames"].shape == (12, 448, 448, 3)
    assert found["frame_indices"].tolist() == golden["frame_indices"].tolist()
    difference = np.abs(found["frames"].astype(int) - golden["frames"])
    largest, mean = LIMITS[rasterizer]
    assert golden["frames"].max() > 50
    assert difference.max() <= largest
    assert difference.mean() < mean
    origin = json.loads(str(found["provenance"]))
    assert origin["clip"] == str(found["clip"]) == f"ntu/{clip}"
    assert len(origin["weights_sha256"]) == len(origin["source"]["sha256"]) == 64


def test_gif_and_png_of_several_inputs(demo, tmp_path):
    first, second = some(demo, "demo_bvh")[:2]
    shape = ["--renderer", "stick", "--image-size", "64", "--frames", "4"]
    assert main(["render", first, *shape, "--out", str(tmp_path / "{clip}.gif")]) == 0
    (gif,) = tmp_path.glob("*.gif")
    with Image.open(gif) as image:
        assert (image.n_frames, image.size) == (4, (64, 64))
        assert 20 <= image.info["duration"] < 5000
    assert main(["render", first, second, *shape, "--out", str(tmp_path / "png")]) == 0
    folders = sorted((tmp_path / "png").iterdir())
    assert [len(list(folder.glob("*.png"))) for folder in folders] == [4, 4]
    with Image.open(sorted(folders[0].iterdir())[1]) as image:
        assert np.asarray(image).max() > 50


def test_no_ray_is_loaded(demo, tmp_path):
    code = "import sys; from pipelines.cli import main; rc = main(sys.argv[1:]); sys.exit(rc or 'ray' in sys.modules)"
    command = [sys.executable, "-c", code, "render", some(demo, "demo_ntu")[0], "--frames", "2", "--image-size", "64"]
    done = subprocess.run([*command, "--out", str(tmp_path / "x.npz")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"2 frames of 64 x 64, ntu/{Path(some(demo, 'demo_ntu')[0]).stem}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frame-indices", "0", "99999"], "--frame-indices: ntu/"),
        (["--frames", "0"], "--frames must be 1 to 1024, found 0"),
        (["--image-size", "100000"], "--image-size must be 1 to 4096"),
        (["--weights", "absent"], "--weights absent: no such file"),
        (["--weights", "."], "a folder without renderer.safetensors"),
        (["--weights", "{input}"], "--weights"),
        (["--renderer", "stick", "--weights", "x"], "--renderer stick is fixed"),
        (["--clip", "nobody"], "no clip nobody"),
        (["--format", "nonsense"], "no format 'nonsense'"),
        (["--nonsense"], "skel render does not know --nonsense"),
        (["{second}", "--out", "x.npz"], "2 clips need a file each"),
        (["{input}"], "several clips would be written to"),
    ],
)
def test_mistakes_cost_one_line(demo, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    first, second = some(demo, "demo_ntu")[:2]
    rest = [a.replace("{input}", first).replace("{second}", second) for a in arguments]
    assert main(["render", first, *rest]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
    assert not list(tmp_path.iterdir())
