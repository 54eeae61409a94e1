"""Names of the formats that clips are exported to. Imports nothing, since `--help` reads it."""

from __future__ import annotations

from typing import Literal

ExportFormat = Literal["pyskl", "humanml3d", "npz", "bvh", "parquet"]
