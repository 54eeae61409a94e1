"""NTU `.skeleton` text -> arrays, token by token: what `skeleton_io.sources.depth.ntu` is measured against.

Written as scripts for this format usually are, without what slows those down for no reason (no dictionary per joint,
no growing array): each number goes through `float()` once. Takes well-formed files only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COLUMNS = 12


def parse(data: bytes) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Body id -> frames (n,) in which it is seen and its joints (n, J, 12) there."""
    tokens = iter(data.decode("utf-8").split())
    take = tokens.__next__
    frames: dict[str, list[int]] = {}
    bodies: dict[str, list[list[list[float]]]] = {}
    for frame in range(int(take())):
        for _ in range(int(take())):
            name, *_ = [take() for _ in range(10)]
            joints = [[float(take()) for _ in range(_COLUMNS)] for _ in range(int(take()))]
            frames.setdefault(name, []).append(frame)
            bodies.setdefault(name, []).append(joints)
    return {name: (np.array(frames[name]), np.array(bodies[name])) for name in frames}
