"""Files that hold words about motions and no motion -> refused, with what to do instead.

The same files beside motions are companions (`captions`), which the readers of those motions join.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from skeleton_io.sources.shared.files import ClipOrError, FileSource, Listing, SourceFile

_SIGNS = (b'"annotations"', b'"seg_id"', b'"feat_p"', b"participant,survey_language,motion", b"#0.0#0.0")


def parse(file: SourceFile) -> Iterable[ClipOrError]:
    """Raises for every file.

    Raises:
        SkeletonFormatError: says how many motions the texts are about.
    """
    name = file.item.path.rsplit("/", 1)[-1]
    if name.endswith(".json"):
        try:
            content = json.loads(file.text())
        except (ValueError, RecursionError) as error:
            raise file.error("whole file", "JSON", f"{type(error).__name__}: {error}"[:80]) from None
        count = f"texts about {len(content)} motions" if isinstance(content, dict) else "no motion"
    else:
        count = f"{file.data.count(10)} lines of text"
    place = "texts/ beside new_joints/" if "texts/" in file.item.path else "this file at the top of the motions' folder"
    raise file.error("whole file", f"motions to join it to ({place})", f"{count} and no motion")


def _sniff(path: str, head: bytes) -> bool:
    return path.endswith(".tsv") or any(sign in head for sign in _SIGNS)


SOURCE = FileSource(
    name="texts",
    version=1,
    pattern=r"(?:.*/)?((?:extra_)?(?:train|val|test)\.json|annotations\.json|descriptions\.tsv|kit_captions\.tsv"
    r"|answers\.csv|texts/[^/]+\.txt)",
    parse=parse,
    sniff=_sniff,
    listing=Listing(
        title="captions and labels of KIT-ML, HumanML3D, BABEL, CMU, Aalto",
        files="captions and labels without motions",
        joints="none",
        dims="none",
        persons="none",
    ),
)
