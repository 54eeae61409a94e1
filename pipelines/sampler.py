"""Which clips a step sees: a pure function of seed, epoch, step and global batch, the same on any number of workers.

An epoch is one list of draws; batches follow each other through the epochs without a gap, so each batch is full and
each epoch is passed exactly once. A checkpoint needs (epoch, step) and nothing else. Reads no clips.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Seed = int


@dataclass(frozen=True)
class Draw:
    """One clip of a batch.

    Attributes:
        key: of the clip.
        visit: how often this clip has come up before in the stage; the epoch, where sets are drawn by size. Frames,
            augmentation and texts are drawn from (seed, visit, key).
        task: what is asked.
        positive: for yes/no questions, whether the right answer is yes.
    """

    key: str
    visit: int
    task: str
    positive: bool


def generator(seed: Seed, visit: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, visit, names)."""
    text = "\0".join(names).encode()
    return np.random.Generator(np.random.SFC64([seed & 0xFFFFFFFF, visit, *hashlib.blake2s(text).digest()[:8]]))


def stage_seed(seed: int, stage: str) -> Seed:
    """A seed for one stage, so that stages do not repeat each other's draws."""
    return int.from_bytes(hashlib.blake2s(f"{seed}/{stage}".encode()).digest()[:4], "little")


def quotas(sizes: Sequence[int], temperature: float) -> list[int]:
    """How many draws each set gets in an epoch of sum(sizes) draws: ~ size^temperature, largest remainders first."""
    weights = np.array([float(size) ** temperature if size else 0.0 for size in sizes])
    wanted = sum(sizes) * weights / weights.sum()
    counts = np.floor(wanted).astype(int)
    rest = sum(sizes) - int(counts.sum())
    for index in np.argsort(-(wanted - counts), kind="stable")[:rest]:
        counts[index] += 1
    return [int(count) for count in counts]


class Sampler:
    """Draws of a stage.

    Args:
        keys: set -> keys of its training clips.
        tasks: task -> relative weight.
        temperature: sets are drawn ~ size^temperature.

    Raises:
        ValueError: no clips, or no task with a weight.
    """

    def __init__(self, keys: Mapping[str, Sequence[str]], tasks: Mapping[str, float], temperature: float) -> None:
        self.sets = {name: tuple(sorted(found)) for name, found in sorted(keys.items()) if found}
        self.tasks = {name: weight for name, weight in tasks.items() if weight > 0}
        if not self.sets or not self.tasks:
            raise ValueError("sampler: expected at least one clip and one task with a weight above 0")
        self.quota = dict(zip(self.sets, quotas([len(k) for k in self.sets.values()], temperature), strict=True))
        self._epoch = lru_cache(maxsize=4)(self._draws)

    def __len__(self) -> int:
        """Draws of one epoch: the number of clips."""
        return sum(self.quota.values())

    def steps(self, epochs: float, global_batch: int) -> int:
        """Steps of a stage, at least one. Epochs may be fractional."""
        return max(1, round(epochs * len(self) / global_batch))

    def first_step(self, epoch: int, global_batch: int) -> int:
        """Number of the first step that begins inside an epoch, counted over the stage."""
        return -(-epoch * len(self) // global_batch)

    def place(self, number: int, global_batch: int) -> tuple[int, int]:
        """(epoch, step within it) of a step counted over the stage."""
        epoch = number * global_batch // len(self)
        return epoch, number - self.first_step(epoch, global_batch)

    def batch(self, seed: Seed, epoch: int, step: int, global_batch: int) -> tuple[Draw, ...]:
        """The draws of one step; a batch that begins at the end of an epoch goes on in the next."""
        start = (self.first_step(epoch, global_batch) + step) * global_batch
        size = len(self)
        return tuple(self._epoch(seed, p // size)[p % size] for p in range(start, start + global_batch))

    def _draws(self, seed: Seed, epoch: int) -> tuple[Draw, ...]:
        """All draws of one epoch, in order."""
        visits = [visit for name in self.sets for visit in self._visits(seed, epoch, name)]
        rng = generator(seed, epoch, "order")
        visits = [visits[i] for i in rng.permutation(len(visits))]
        names = list(self.tasks)
        weights = np.array([self.tasks[name] for name in names])
        asked = rng.choice(len(names), size=len(visits), p=weights / weights.sum())
        draws, yes = [], epoch % 2 == 0
        for (key, visit), number in zip(visits, asked, strict=True):
            task = names[number]
            # In turn: yes and no are 1:1 over the epoch and in every stretch of it.
            yes = yes if task != "yesno" else not yes
            draws.append(Draw(key, visit, task, yes))
        return tuple(draws)

    def _visits(self, seed: Seed, epoch: int, name: str) -> list[tuple[str, int]]:
        """(key, visit) of one set in one epoch: the next stretch of an endless row of permutations."""
        keys, quota = self.sets[name], self.quota[name]
        found: list[tuple[str, int]] = []
        position = epoch * quota
        while len(found) < quota:
            visit, offset = divmod(position + len(found), len(keys))
            order = generator(seed, visit, "set", name).permutation(len(keys))
            found += [(keys[i], visit) for i in order[offset : offset + quota - len(found)]]
        return found


def share(draws: Sequence[Draw], rank: int, world_size: int, micro_batch: int) -> list[Sequence[Draw]]:
    """This rank's stretch of a global batch, cut into the fewest micro batches of nearly equal size.

    Every rank gets as many clips and as many micro batches as the others.

    Raises:
        ValueError: the batch cannot be divided evenly.
    """
    if len(draws) % world_size:
        raise ValueError(f"global batch {len(draws)} is no multiple of {world_size} workers")
    own = len(draws) // world_size
    parts = -(-own // micro_batch)
    edges = [rank * own + i * own // parts for i in range(parts + 1)]
    return [draws[a:b] for a, b in itertools.pairwise(edges)]
