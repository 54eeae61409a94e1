"""Why a clip cannot be written in a format, and the checks that several formats share. Writes nothing."""

from __future__ import annotations

from skeleton_io.record.sequence import SkeletonSequence


class Refused(ValueError):
    """The format cannot say what the clip holds; the message says what."""


def need_metric_3d(clip: SkeletonSequence) -> None:
    """Refuses 2D clips and those whose scale is not known."""
    if clip.positions.shape[-1] != 3:
        raise Refused("the clip is 2D")
    if clip.scale != "metric":
        raise Refused(f"the clip's scale is {clip.scale}, not metric")


def need_all_joints(clip: SkeletonSequence, person: int) -> None:
    """Refuses gaps, for a format without a word for "missing"."""
    present = clip.present[:, person]
    if not present.all():
        lost = int((~present).sum())
        raise Refused(
            f"{lost} of {present.size} joints of person {person + 1} are missing, which the format cannot say; "
            "short gaps are filled with --fill-gaps SECONDS"
        )
