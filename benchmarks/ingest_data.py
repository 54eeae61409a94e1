"""NTU-like files for the benchmarks: numbers with the sensor's seven digits, many names over few contents."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

_CONTENTS = 50


def ntu_file(frames: int, bodies: int, seed: int) -> bytes:
    """A well-formed `.skeleton` file of random numbers."""
    rng = np.random.default_rng(seed)
    centre = np.array([0.1, 0.1, 3.0, 250, 200, 960, 540, 0, 0, 0, 0])
    spread = np.array([0.3, 0.5, 0.2, 30, 30, 90, 90, 1, 1, 1, 1])
    lines = [str(frames)]
    body = centre + spread * rng.normal(size=(bodies, 25, 11))
    for _ in range(frames):
        lines.append(str(bodies))
        body += 0.01 * spread * rng.normal(size=body.shape)
        for number in range(bodies):
            lines += [f"7205759403793{number} 0 1 1 1 1 0 0.02 -0.01 2", "25"]
            lines += [" ".join(f"{value:.7g}" for value in row) + " 2" for row in body[number]]
    return ("\n".join(lines) + "\n").encode()


def ntu_folder(folder: Path, clips: int, frames: int, bodies: int = 1) -> int:
    """`clips` files with names of their own; returns the bytes of all. Contents repeat: they are hard links."""
    folder.mkdir(parents=True)
    sizes = []
    for number in range(clips):
        place, subject, action = number // 6000, number // 120 % 50 + 1, number % 120 + 1
        path = folder / f"S{place + 1:03d}C001P{subject:03d}R001A{action:03d}.skeleton"
        if number < _CONTENTS:
            path.write_bytes(ntu_file(frames, bodies, number))
            sizes.append(path.stat().st_size)
            if number == 0:
                first = [path]
            else:
                first.append(path)
        else:
            os.link(first[number % _CONTENTS], path)
    return sum(sizes[number % _CONTENTS] for number in range(clips))
