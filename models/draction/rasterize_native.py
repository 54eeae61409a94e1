"""CPU core of `rasterize_tiled` in C++ (`composite.cpp`): built on first use, about a second, and kept for the user.

Same functions as `rasterize_triton`. Where no C++ compiler is found, or it fails, `available()` is False and the
PyTorch core takes over. float32 only.
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

from models.draction.tiles import Tiles

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
    """Fill the touched tiles of `image`; arguments as in `rasterize_triton.composite`, on the CPU."""
    library = _library()
    assert library is not None
    held = _lists(rows, colours, tiles)
    library.composite(*(x.data_ptr() for x in held), *_sizes(tiles), image.data_ptr(), torch.get_num_threads())


def composite_backward(rows: Tensor, colours: Tensor, tiles: Tiles, image: Tensor, grad: Tensor) -> Tensor:
    """(E, 9) gradients; arguments and result as in `rasterize_triton.composite_backward`, on the CPU."""
    library = _library()
    assert library is not None
    held = _lists(rows, colours, tiles)
    result = torch.empty(len(rows), 9)
    library.composite_backward(
        *(x.data_ptr() for x in held), *_sizes(tiles),
        image.data_ptr(), grad.data_ptr(), result.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return result


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
    library.composite.restype = library.composite_backward.restype = None
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
