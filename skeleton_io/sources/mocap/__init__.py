"""Motion capture: hierarchies, markers, body models.

Tests: one file a format; `berkeley_mhad` and `sfinge3d` in ../depth/test_lab_sets.py, `humanml3d` and `texts_only` in
../shared/test_captions.py, `bandai_namco_1` in ../test_readers_on_assets.py, `c3d_markers` in test_c3d.py.
"""
