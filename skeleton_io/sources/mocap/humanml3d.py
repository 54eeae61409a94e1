"""HumanML3D (Guo et al., CVPR 2022): new_joints/ID.npy with texts/ID.txt -> clips.

Joints (T, 22, 3) in metres, y up, 20 frames per second, facing +z at the start, in SMPL's order. `M` before an id is
the mirrored motion. The 263 features in new_joint_vecs are derived and are not read.
"""

from __future__ import annotations

import numpy as np

from skeleton_io import storage
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import SMPL22
from skeleton_io.sources.decoders.npy import read_npy
from skeleton_io.sources.shared import captions
from skeleton_io.sources.shared.captions import parse_lines
from skeleton_io.sources.shared.files import FileSource, Item, Listing, SourceFile, check_present

FPS = 20.0


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    values = read_npy(file.data, file)
    shape = values.shape
    if values.dtype.kind != "f" or len(shape) != 3 or shape[1:] != (22, 3) or shape[0] == 0:
        raise file.error("whole file", "reals of shape (T, 22, 3)", f"{values.dtype} of {shape}")
    positions = np.array(values, np.float32)
    check_present(file, positions)
    place = f"../texts/{file.stem}.txt"
    data = file.beside(place)
    texts = captions.Texts()
    if data is not None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise file.error(f"{place}, byte {error.start}", "UTF-8 text", "other bytes") from None
        texts = parse_lines(file, text, place)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=SMPL22,
            positions=positions[:, None],
            fps=FPS,
            source=file.source,
            captions=texts.captions,
            segments=texts.segments,
            licence=file.licence,
            notes=() if data is not None else (f"no captions: there is no {place[3:]}",),
        )
    ]


def _protocols(root: str, items: list[Item]) -> tuple[Protocol, ...]:
    """The lists train.txt and test.txt at the top of the set's folder or beside new_joints; val.txt is in neither."""
    tops = sorted({"", *(item.path.rpartition("new_joints/")[0] for item in items)})
    sides: dict[str, list[str]] = {"train": [], "test": []}
    for side, ids in sides.items():
        uris = [storage.join(root, f"{top}{side}.txt") for top in tops]
        names = {name for uri in uris if storage.exists(uri) for name in storage.read_text(uri).split()}
        ids += [item.id for item in items if item.path.rsplit("/", 1)[-1].removesuffix(".npy") in names]
    if not all(sides.values()):
        return ()
    source = "train.txt and test.txt of the set"
    return (
        Protocol(name="official", field="id", train=tuple(sides["train"]), test=tuple(sides["test"]), source=source),
    )


def _sniff(path: str, head: bytes) -> bool:
    return head[:6] == b"\x93NUMPY" and b", 22, 3)" in head[:256]


SOURCE = FileSource(
    name="humanml3d",
    version=1,
    pattern=r"(?:.*/)?new_joints/([^/]+)\.npy",
    parse=parse,
    sniff=_sniff,
    companions=r"(?:.*/)?(?:texts/[^/]+\.txt|(?:train|test)\.txt)",
    protocols=_protocols,
    listing=Listing(
        title="HumanML3D joints and captions",
        files="new_joints/000001.npy with texts/000001.txt",
        joints="22",
        dims="3",
        persons="1",
    ),
)
