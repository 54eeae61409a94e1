"""Well-formed NTU files by the short way: what the reader says line by line, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.depth import ntu, ntu_plain
from skeleton_io.sources.registry import SOURCES
from skeleton_io.sources.shared.files import Item
from skeleton_io.sources.shared.side_files import SideInfo

ASSET = Path(__file__).resolve().parents[4] / "assets/ntu/S001C002P003R001A023.skeleton"


def outcome(data: bytes) -> object:
    try:
        (clip,) = SOURCES["ntu"].read_bytes(data, Item(id="x", path="x.skeleton"), "set", SideInfo())
    except SkeletonFormatError as error:
        return str(error)
    assert clip.orientations is not None
    assert clip.confidence is not None
    arrays = (clip.positions, clip.orientations, clip.confidence)
    return *(array.tobytes() for array in arrays), clip.track_ids, clip.notes


EDITS = {
    "as it is": lambda text: text,
    "Windows lines": lambda text: text.replace("\n", "\r\n"),
    "tabs": lambda text: text.replace(" ", "\t"),
    "two spaces": lambda text: text.replace(" ", "  "),
    "blank lines between bodies": lambda text: text.replace("\n2\n", "\n\n2\n\n"),
    "blank line in a body": lambda text: text.replace("\n0.01 ", "\n\n0.01 ", 1),
    "no line break at the end": str.rstrip,
    "more at the end": lambda text: text + "7\n",
    "a frame too many": lambda text: text.replace("3", "4", 1),
    "a joint too few": lambda text: text.replace("0.02 -0.5 2.502 250.5 200.5 960.5 540.5 1 0 0 0 2\n", "", 1),
    "a number too few": lambda text: text.replace("0.02 -0.5 ", "0.02 ", 1),
    "a word": lambda text: text.replace("0.02 -0.5 ", "0.02 half ", 1),
    "not a number": lambda text: text.replace("0.02 -0.5 ", "0.02 nan ", 1),
    "a word for a pixel": lambda text: text.replace("250.5", "far", 1),
    "another state": lambda text: text.replace("0 0 0 2\n", "0 0 0 3\n", 1),
    "a state with a point": lambda text: text.replace("0 0 0 2\n", "0 0 0 2.0\n", 1),
    "one body twice": lambda text: text.replace("7205759403794", "7205759403793", 1),
    "24 joints": lambda text: text.replace("\n25\n", "\n24\n", 1),
    "nobody": lambda text: "2\n0\n0\n",
}


@pytest.mark.parametrize("edit", EDITS)
def test_both_ways_to_read_ntu_agree(edit: str, monkeypatch: pytest.MonkeyPatch):
    data = EDITS[edit](ASSET.read_text()).encode()
    own = outcome(data)
    with monkeypatch.context() as patch:
        patch.setattr(ntu, "decode", lambda _: None)
        assert own == outcome(data)


def test_well_formed_files_take_the_short_way():
    data = ASSET.read_bytes()
    bodies = ntu_plain.decode(data)
    assert bodies is not None
    assert (bodies.frames, len(bodies.ids)) == (3, len(bodies.frame))
    assert ntu_plain.decode(data.replace(b"\n", b"\r\n")) is not None
    assert ntu_plain.decode(data.replace(b"-0.5 ", b"half ")) is None


@settings(max_examples=300)
@given(
    st.integers(0, 3000),
    st.sampled_from([b" ", b"\n", b"\r", b"\t", b"-", b"x", b"1", b"", b"\x1c", b"\xe9"]),
    st.booleans(),
)
def test_both_ways_agree_on_any_letter(place: int, letter: bytes, windows: bool):
    data = ASSET.read_bytes()
    data = data[:place] + letter + data[place + 1 :]
    data = data.replace(b"\n", b"\r\n") if windows else data
    own = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ntu, "decode", lambda _: None)
        assert own == outcome(data)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["{!r}", "{:.7g}", "{:.3f}", "{:+}"]))
def test_rounding_is_that_of_python(value: float, style: str):
    text = style.format(value)
    bodies = ntu_plain.decode(ASSET.read_bytes().replace(b"0.02 -0.5 ", f"{text} -0.5 ".encode(), 1))
    if bodies is None:
        assert text.startswith("+")
    else:
        assert bodies.values[0, 2, 0] == float(text)
