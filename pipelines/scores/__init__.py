"""Scored clips -> statistics. Pure numpy; runs no model (BERTScore, where asked for, runs its own encoder).

Beside the tests of the same names: `captions` is held by tests/parity/test_caption_metrics.py, `blocks`
(shapes only) by test_metrics.py; `rules` are also held against scikit-learn (tests/parity/test_scores_sklearn.py).
"""
