"""Motion capture: hierarchies, markers, body models."""
