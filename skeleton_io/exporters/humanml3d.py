"""A clip -> HumanML3D's pair of files: joints (T, 22, 3) and captions. Guo et al., CVPR 2022.

20 frames per second, metres, +y up, joints in SMPL's order. The facing and the height of the floor are the clip's own:
HumanML3D's further steps (floor at 0, facing +z, 263 features) are for its own scripts.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from skeleton_io.exporters.refusal import Refused, need_all_joints, need_metric_3d
from skeleton_io.record import transforms
from skeleton_io.record.sequence import SkeletonSequence

FPS = 20.0
JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_clavicle", "right_clavicle", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)


def humanml3d_files(clip: SkeletonSequence) -> tuple[NDArray[np.float32], str]:
    """Joints (T, 22, 3) and the lines of the text file.

    Captions come first to last, then segments with their times; a clip without either has its label as its caption. The
    line's second part are words with the part of speech OTHER, since nothing here tags words; HumanML3D's word vectors
    know that tag.

    Raises:
        Refused: not metric 3D, several persons, joints that the topology lacks or a frame misses, or no text.
    """
    need_metric_3d(clip)
    if clip.persons > 1:
        raise Refused(f"{clip.persons} persons; the format has one")
    lacking = [joint for joint in JOINTS if joint not in clip.topology.index]
    if lacking:
        raise Refused(f"topology {clip.topology.name} lacks {', '.join(lacking)}")
    columns = [clip.topology.index[joint] for joint in JOINTS]
    if not clip.present[:, 0, columns].all():
        need_all_joints(clip, 0)
    texts = clip.captions or ((clip.label,) if clip.label and not clip.segments else ())
    if not texts and not clip.segments:
        raise Refused("neither a caption nor a label")
    regular = clip if clip.fps == FPS and clip.timestamps is None else transforms.resample(clip, FPS)
    return np.ascontiguousarray(regular.positions[:, 0, columns]), "".join(
        [_line(text) for text in texts] + [_line(part.label, part.start, part.end) for part in clip.segments]
    )


def _line(text: str, start: float = 0.0, end: float = 0.0) -> str:
    """caption#tokens#start#end in seconds, 0.0 twice for the whole clip."""
    plain = " ".join(text.replace("#", " ").split())
    tokens = " ".join(f"{word}/OTHER" for word in re.findall(r"[\w']+", plain.lower()))
    return f"{plain}#{tokens}#{float(start)}#{float(end)}\n"
