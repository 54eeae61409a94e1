"""Texts -> how much each has in common with an earlier one. MinHash (Broder 1997) finds candidates, words decide."""

from __future__ import annotations

import itertools
import re
import zlib

import numpy as np

_HASHES, _BAND = 32, 4
_PRIME = (1 << 31) - 1


def most_alike(texts: list[str]) -> list[float]:
    """Per text the highest similarity to any text before it, 0 to 1: shared share of its pairs of neighbouring words.

    Numbers do not count: the same sentence with other seconds says the same. Pairs of texts that share less than about
    half of their words may go unnoticed.
    """
    sets = [_shingles(text) for text in texts]
    rng = np.random.default_rng(0)
    # A fixed seed: the same texts are always the same candidates.
    factors, terms = rng.integers(1, _PRIME, (2, _HASHES, 1), dtype=np.int64)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    out = []
    for place, words in enumerate(sets):
        codes = np.fromiter(words, np.int64, len(words))[None] if words else np.zeros((1, 1), np.int64)
        signature = ((factors * codes + terms) % _PRIME).min(1)
        # Texts that agree in all hashes of any band are candidates (locality-sensitive hashing).
        keys = [(b, signature[b : b + _BAND].tobytes()) for b in range(0, _HASHES, _BAND)]
        candidates = {other for key in keys for other in (buckets.get(key, ()))}
        out.append(max((_similarity(words, sets[other]) for other in candidates), default=0.0))
        for key in keys:
            # Many copies of one text: the first few stand for all.
            if len(buckets.setdefault(key, [])) < 8:
                buckets[key].append(place)
    return out


def _shingles(text: str) -> frozenset[int]:
    # Letters only: numbers do not count.
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(zlib.crc32(f"{a} {b}".encode()) % _PRIME for a, b in itertools.pairwise(words))


def _similarity(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / max(len(a | b), 1)
