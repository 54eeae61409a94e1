"""INPUT -> clips: recognised formats, named ones, folders, shard sets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.data.clip_files import read_clips
from pipelines.runtime.errors import UserError
from skeleton_io.demo.dataset import DemoConfig, write_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("throw",)))
    return folder


def first(folder: Path) -> Path:
    """A file that can be read: the spoilt ones have an action number of their own."""
    return next(path for path in sorted(folder.iterdir()) if "R90" not in path.name and path.suffix != ".txt")


@pytest.mark.parametrize("name", ["ntu", "bvh", "coco17"])
def test_a_file_is_recognised(demo, name):
    path = first(demo / f"demo_{name}")
    found, named = read_clips(str(path), "", []), read_clips(str(path), name, [])
    assert [clip.source.reader for clip in found] == [name]
    assert found[0].id == named[0].id == path.stem
    assert (found[0].positions == named[0].positions).sum() > 100


def test_a_named_format_reads_a_file_of_any_name(demo, tmp_path):
    path = tmp_path / "walk.1.skeleton.txt"
    path.write_bytes(first(demo / "demo_ntu").read_bytes())
    assert read_clips(str(path), "ntu", [])[0].frames == read_clips(str(first(demo / "demo_ntu")), "", [])[0].frames


def test_a_folder_gives_all_clips_and_names_the_spoilt_ones(demo, capsys):
    clips = read_clips(str(demo / "demo_bvh"), "", [])
    assert len(clips) > 1
    assert len({clip.id for clip in clips}) == len(clips)
    assert capsys.readouterr().err.count("skipped: ") == 4  # what the demo set spoils on purpose
    one = clips[1].id
    assert [clip.id for clip in read_clips(str(demo / "demo_bvh"), "", [one])] == [one]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "format_name", "wanted", "message"),
    [
        ("absent.bvh", "", [], "no such file"),
        ("demo_bvh", "nonsense", [], "no format 'nonsense'; there is"),
        ("demo_bvh", "bhv", [], "no format 'bhv'; did you mean bvh"),
        ("demo_bvh", "no.yaml", [], "no definition at no.yaml"),
        ("README.txt", "", [], "no known format; name one with --format"),
        (".", "msr_action3d", [], "no file of the format msr_action3d"),
        ("demo_bvh", "", ["nobody"], "no clip nobody; there is S"),
        ("README.txt", "bvh", [], "README.txt"),
    ],
)
def test_refusals(demo, uri, format_name, wanted, message):
    with pytest.raises(UserError, match=message):
        read_clips(str(demo / uri), format_name, wanted)


def test_a_definition_reads_files_of_another_layout(tmp_path: Path):
    points = np.random.default_rng(0).normal(size=(9, 20, 3))
    np.save(tmp_path / "wave.npy", points * 1000)
    text = "files: (?P<id>.+)\\.npy\nlayout: T, J, C\ntopology: utd20\nunits: mm\nfps: 25\n"
    (tmp_path / "mine.yaml").write_text(text)
    for uri in (tmp_path, tmp_path / "wave.npy"):
        clips = read_clips(str(uri), str(tmp_path / "mine.yaml"), [])
        assert [clip.key for clip in clips] == ["mine/wave"]
        np.testing.assert_allclose(clips[0].positions[:, 0], points, atol=1e-5)
