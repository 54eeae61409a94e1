"""Clips -> a pyskl annotation pickle: {"split": {name: ids}, "annotations": [...]}. Duan et al., ACM MM 2022.

Plain data and numpy arrays only, in pickle protocol 4. Reads no pickle.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from skeleton_io.exporters.refusal import Refused
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology


class PysklSet:
    """Annotations of one set and topology.

    Per clip: frame_dir (its id), label (place in the sorted labels), total_frames, fps and scale of the record,
    keypoint (P, T, J, C) with 0 for missing, keypoint_score (P, T, J): the confidence, or 1 and 0 for present and
    missing; 0 wherever a joint is missing. 2D clips also have img_shape and original_shape (height, width) and pixels
    from the upper left corner; 3D clips keep the record's frame, which for Kinect data is pyskl's.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._found: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []

    def add(self, clip: SkeletonSequence, sides: Mapping[str, str]) -> None:
        """Keeps one clip.

        Raises:
            Refused: no label, or 2D coordinates that are no pixels.
        """
        if clip.label is None:
            raise Refused("no label; pyskl learns from labels only")
        places = clip.positions.astype(np.float32)
        annotation: dict[str, Any] = {"frame_dir": clip.id, "total_frames": clip.frames}
        annotation |= {"fps": clip.fps, "scale": clip.scale}  # pyskl ignores keys that it does not know
        if places.shape[-1] == 2:
            if clip.scale != "pixels" or clip.image_size is None:
                raise Refused(f"2D keypoints are pixels in pyskl, the clip's scale is {clip.scale}")
            width, height = clip.image_size
            annotation |= {"img_shape": (height, width), "original_shape": (height, width)}
            places = np.array([width, height], np.float32) - places
        present = clip.present
        score = present.astype(np.float32) if clip.confidence is None else clip.confidence
        annotation["keypoint"] = _by_person(np.where(present[..., None], places, np.float32(0)))
        annotation["keypoint_score"] = _by_person(np.where(present, np.nan_to_num(score), np.float32(0)))
        self._found.append((clip.label, annotation, sides))

    def files(self) -> tuple[bytes, str]:
        """The pickle, and JSON with labels by number, joints and bones."""
        labels = sorted({label for label, _, _ in self._found})
        number = {label: place for place, label in enumerate(labels)}
        split: dict[str, list[str]] = {}
        annotations = []
        for label, annotation, sides in self._found:
            annotations.append({**annotation, "label": number[label]})
            for protocol, side in sides.items():
                split.setdefault(f"{protocol}_{side}", []).append(annotation["frame_dir"])
        described = {"labels": labels, **self.topology.to_json()}
        # Protocol 4: read by every Python since 3.4.
        data = pickle.dumps({"split": split, "annotations": annotations}, protocol=4)
        return data, json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _by_person(array: np.ndarray) -> np.ndarray:
    """(T, P, ...) -> (P, T, ...)."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1), np.float32)
