"""Ticks, smoothing and film strips of the report's charts."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.figures import charts


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.037), (12, 95), (0, 12345)])
def test_ticks_are_round_and_inside(low, high):
    marks = charts.ticks(low, high)
    assert 2 <= len(marks) <= 6
    assert low <= marks[0]
    assert marks[-1] <= high
    steps = np.diff(marks)
    assert np.allclose(steps, steps[0])


def test_smooth_keeps_straight_lines():
    line = list(np.linspace(3, 1, 40))
    assert np.allclose(charts.smooth(line, 9), line)


def test_filmstrips_hold_the_frames():
    frames = np.zeros((5, 3, 64, 64), np.float32)
    frames[3, 0] = 1.0
    first, second = charts.filmstrips(frames, 32)
    image = Image.open(io.BytesIO(base64.b64decode(second.removeprefix("data:image/webp;base64,"))))
    assert image.size == (32 * 2 + 2, 32)
    red, green, _ = image.convert("RGB").getpixel((16, 16))
    assert red > 200 > 60 > green
    assert first.startswith("data:image/webp;base64,")


def test_charts_survive_empty_and_constant_series():
    assert charts.line_chart([charts.Line("loss", [], [], 1)], "step", "t") == ""
    assert "nan" not in charts.line_chart([charts.Line("loss", [1, 2], [float("nan"), 0.0], 1)], "step", "t").lower()
    assert "<circle" in charts.scatter(["a", "b"], [0.0, 0.0], 0, False, "t")
    assert "<circle" in charts.scatter([0.1], [0.5], 0, True, "t")
