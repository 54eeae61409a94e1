"""The Triton kernels without a GPU: their arithmetic under Triton's interpreter, and that they compile for CUDA."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARITY = Path(__file__).with_name("test_rasterizers_parity.py")
# The interpreter takes seconds a scene, so not every scene: a GPU draws them all (tests/gpu).
SELECTED = "random or behind or coincident or lifted"


def test_parity_under_the_interpreter(triton):
    """Triton reads TRITON_INTERPRET on import, hence a process of its own."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "RASTER_TEST_CORES": "triton", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PARITY), "-k", SELECTED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_cuda(triton, capability):
    """To machine code, by the assembler that Triton brings along; no GPU takes part."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models.draction.rasterize import triton as rasterize_triton

    numbers, indices = "*fp32", "*i64"
    lists = {"rows": numbers, "colours": numbers, "tiles": indices, "start": indices, "count": indices}
    sizes = {"down": "i32", "across": "i32"}
    forward = lists | {"image": numbers} | sizes
    backward = lists | {"image": numbers, "grad": numbers, "result": numbers} | sizes
    for kernel, signature in ((rasterize_triton._forward, forward), (rasterize_triton._backward, backward)):
        source = ASTSource(fn=kernel, signature=signature, constexprs={})
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1})
        assert len(compiled.asm["cubin"]) > 1000
        assert "ex2.approx" in compiled.asm["ptx"]
