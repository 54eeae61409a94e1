"""CPU core of `tiled` in C++ (`composite.cpp`): built on first use, about a second, and kept for the user.

Lists the tiles' rows (`tiles.Lister`), composites (same functions as `triton`), and does the arithmetic
before and after (`polynomial`, `gather`: those of `tiled`). Where no C++ compiler is found, or it fails,
`available()` is False and the PyTorch core takes over. float32 only.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from models.draction.rasterize.tiles import Boxes, Tiles

_SOURCE = Path(__file__).with_name("composite.cpp")
# What of -ffast-math lets the loops over pixels become vector instructions; the whole of it would make the linker
# switch denormal numbers off for the entire process.
_MATHS = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
_FLAGS = ("-O3", "-march=native", *_MATHS, "-std=c++17", "-shared", "-fPIC")
_LIMIT_S = 120.0
_LOG = logging.getLogger(__name__)


def available() -> bool:
    """Whether the core can be used here; builds it where it was not built yet. SKELETON_NATIVE=0 switches it off."""
    return os.environ.get("SKELETON_NATIVE") != "0" and _library() is not None


def composite(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor) -> None:
    """Fill the touched tiles of `image`; arguments as in `triton.composite`, on the CPU."""
    library = _library()
    assert library is not None
    held = _lists(rows, colours, tiles)
    library.composite(*(x.data_ptr() for x in held), *_sizes(tiles), image.data_ptr(), torch.get_num_threads())


def composite_backward(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor, grad: Tensor) -> Tensor:
    """(E, 9) gradients; arguments and result as in `triton.composite_backward`, on the CPU."""
    library = _library()
    assert library is not None
    held = _lists(rows, colours, tiles)
    result = torch.empty(len(rows), 9)
    library.composite_backward(
        *(x.data_ptr() for x in held), *_sizes(tiles),
        image.data_ptr(), grad.data_ptr(), result.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return result


def list_rows(boxes: Boxes, images: int, down: int, across: int) -> tuple[Tensor, Tensor]:
    """See `tiles.Lister`."""
    library = _library()
    assert library is not None
    held = [boxes.box.contiguous(), boxes.disc.contiguous(), boxes.image.contiguous()]
    room = int((boxes.box[:, 2:] - boxes.box[:, :2]).prod(1).sum())
    cells, owners = torch.empty(room, dtype=torch.int64), torch.empty(room, dtype=torch.int32)
    listed, counts = torch.empty(room, dtype=torch.int64), torch.zeros(images * down * across, dtype=torch.int64)
    results = (x.data_ptr() for x in (cells, owners, counts, listed))
    found = library.list_rows(*(x.data_ptr() for x in held), len(boxes.gaussian), images, down, across, *results)
    return listed[:found], counts


def polynomial(shape: Tensor, tiles: Tiles) -> Tensor:
    """(G, 6) -> (E, 6): what `tiled` asks for."""
    library = _library()
    assert library is not None
    held = [x.contiguous() for x in (shape, tiles.gaussian, tiles.tiles, tiles.start, tiles.count)]
    rows = torch.empty(len(tiles.gaussian), 6)
    library.polynomial(*(x.data_ptr() for x in held), *_sizes(tiles), rows.data_ptr())
    return rows


def gather(shape: Tensor, to_rows: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """(G, 6), (E, 9) -> (G, 6) and (G, 3): chain rule of `polynomial`, and the sum over each Gaussian's rows."""
    library = _library()
    assert library is not None
    held = [x.contiguous() for x in (shape, to_rows, tiles.gaussian, tiles.tiles, tiles.start, tiles.count)]
    results = torch.zeros(len(shape), 6), torch.zeros(len(shape), 3)
    library.gather(*(x.data_ptr() for x in held), *_sizes(tiles), *(x.data_ptr() for x in results))
    return results


def _lists(rows: Tensor, colours: Tensor, tiles: Tiles) -> list[Tensor]:
    """What the library takes by address; held by the caller until it returns."""
    lists = [rows, colours, tiles.tiles, tiles.start, tiles.count]
    return [x.contiguous() for x in lists]


def _sizes(tiles: Tiles) -> tuple[int, int, int]:
    return len(tiles.tiles), tiles.down, tiles.across


@cache
def _library() -> ctypes.CDLL | None:
    """The library, loaded; None where it cannot be had."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    try:
        library = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.info("the C++ rasteriser is not available, PyTorch composites instead: %s", error)
        return None
    address, size = ctypes.c_void_p, ctypes.c_int64
    library.composite.argtypes = [address] * 5 + [size] * 3 + [address, ctypes.c_int]
    library.composite_backward.argtypes = [address] * 5 + [size] * 3 + [address] * 3 + [ctypes.c_int]
    library.list_rows.argtypes = [address] * 3 + [size] * 4 + [address] * 4
    library.polynomial.argtypes = [address] * 5 + [size] * 3 + [address]
    library.gather.argtypes = [address] * 6 + [size] * 3 + [address] * 2
    for function in (library.composite, library.composite_backward, library.polynomial, library.gather):
        function.restype = None
    library.list_rows.restype = size
    return library


def _built(compiler: str) -> Path:
    """Path of the library for this source, compiler and processor; several processes may build it at once."""
    cpu = Path("/proc/cpuinfo")
    flags = next((x for x in cpu.read_text().splitlines() if x.startswith(("flags", "Features"))), "")
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=_LIMIT_S).stdout
    key = hashlib.sha256(
        b"\0".join([_SOURCE.read_bytes(), version, flags.encode(), platform.machine().encode(), repr(_FLAGS).encode()])
    ).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skeleton-ray"
    library = folder / f"composite-{key}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / library.name
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(fresh)]
        # OpenMP where the compiler has it; one thread is still fast.
        if subprocess.run([*command, "-fopenmp"], capture_output=True, timeout=_LIMIT_S).returncode != 0:
            subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)
        fresh.replace(library)
    return library
