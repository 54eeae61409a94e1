"""The formats as a list for people: which files, how many joints, dimensions and persons, and the page about it.

Only text; what is read is decided by the table in `registry`.
"""

from __future__ import annotations

from pathlib import Path

from skeleton_io.sources.registry import SOURCES

COLUMNS = ("name", "files", "joints", "dims", "persons", "page")
_DOCS = Path(__file__).resolve().parents[2] / "docs"
ENTRIES: dict[str, tuple[str, str, str, str]] = {
    "msr_action3d": ("a01_s02_e03_skeleton3D.txt", "20", "3", "1"),
    "utd_mhad": ("a1_s2_t3_skeleton.mat", "20", "3", "1"),
    "nw_ucla": ("a08_s02_e01_v03.json", "20", "3", "1"),
    "sbu": ("s01s02/05/001/skeleton_pos.txt", "15", "3", "2"),
    "bandai_namco_1": ("dataset-1_walk_happy_001.bvh", "21 or 24", "3", "1"),
    "ntu": ("S001C002P003R001A023.skeleton", "25", "3", "any"),
    "bvh": ("*.bvh", "any", "3", "1"),
    "asf_amc": ("NN/NN_MM.amc beside NN/NN.asf", "any", "3", "1"),
    "c3d": ("*.c3d", "any", "3", "1"),
    "coco17": ("*.json (AlphaPose, MMPose)", "17", "2", "any"),
    "jhmdb": ("GT_train_1.pkl, GT_test_1.pkl", "15", "2", "1"),
    "sfinge3d": ("Dictionary/1/2.txt, Sequences/3.txt", "20 (hand)", "3", "1"),
    "pku_mmd": ("0002-L.txt", "25", "3", "2"),
    "msrc12": ("P1_1_1_p06.csv", "20", "3", "1"),
    "berkeley_mhad": ("skl_s01_a01_r03_pos.csv", "30", "3", "1"),
    "kimore": ("input.csv", "25", "3", "1"),
    "openpose18_rows": ("*.csv, a row per frame (refused: no clips in it)", "18", "2", "1"),
    "pyskl": ("*.pkl (annotations)", "17 or 25", "2 or 3", "any"),
    "kinetics_skeleton": ("*.json", "18", "2", "any"),
    "openpose": ("*_keypoints.json, one per frame", "25", "2", "any"),
    "body25": ("*_keypoints.json, one per frame", "25", "2", "any"),
    "mediapipe": ("*.json", "33", "3", "1"),
    "mediapipe33": ("*.json", "33", "3", "1"),
    "humanml3d": ("new_joints/000001.npy with texts/000001.txt", "22", "3", "1"),
    "amass": ("*_poses.npz, *_stageii.npz", "22 or 52", "3", "1"),
    "human36m": ("data_3d_h36m.npz", "17", "3", "1"),
    "texts": ("captions and labels without motions", "none", "none", "none"),
    "deepmimic": ("humanoid3d_*.txt", "16", "3", "1"),
}
_ARRAYS = ("npy, npz, csv, txt, json, mat, parquet by a YAML", "any", "2 or 3", "any")


def rows() -> list[tuple[str, str, str, str, str, str]]:
    """A row of COLUMNS for each format of the table, then `arrays`."""
    unknown = ("?", "?", "?", "?")
    entries = [(name, *ENTRIES.get(name, unknown), page(name)) for name in SOURCES]
    return [*entries, ("my.yaml", *_ARRAYS, "docs/own-data.md")]


def page(name: str) -> str:
    """Path of a format's page within the repository."""
    return f"docs/formats/{name}.md" if (_DOCS / "formats" / f"{name}.md").exists() else "docs/formats.md"
