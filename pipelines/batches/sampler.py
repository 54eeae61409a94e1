"""Which clips a step sees: a pure function of seed, epoch, step and global batch, the same on any number of workers.

An epoch is one list of draws; batches follow each other through the epochs without a gap, so each batch is full and
each epoch is passed exactly once. A checkpoint needs (epoch, step) and nothing else. Reads no clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Seed = int
FALLBACK = "mqa"
"""What a clip is asked that has no material for any task of the mix."""


@dataclass(frozen=True)
class Draw:
    """One clip of a batch.

    Attributes:
        key: of the clip.
        visit: how often this clip has come up before in the stage; the epoch, where sets are drawn by size. Frames,
            augmentation and texts are drawn from (seed, visit, key).
        task: what is asked.
        positive: for yes/no questions, whether the right answer is yes.
        wanted: the task that was drawn first, where the clip has no material for it; empty: `task` was.
    """

    key: str
    visit: int
    task: str
    positive: bool
    wanted: str = ""


def generator(seed: Seed, visit: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, visit, names)."""
    text = "\0".join(names).encode()
    return np.random.Generator(np.random.SFC64([seed & 0xFFFFFFFF, visit, *hashlib.blake2s(text).digest()[:8]]))


def stage_seed(seed: int, stage: str) -> Seed:
    """A seed for one stage, so that stages do not repeat each other's draws."""
    return int.from_bytes(hashlib.blake2s(f"{seed}/{stage}".encode()).digest()[:4], "little")


def quotas(sizes: Sequence[int], temperature: float) -> list[int]:
    """How many draws each set gets in an epoch of sum(sizes) draws: ~ size^temperature, largest remainders first."""
    exact = sum(sizes) * shares(sizes, temperature)
    counts = np.floor(exact).astype(int)
    rest = sum(sizes) - int(counts.sum())
    for index in np.argsort(-(exact - counts), kind="stable")[:rest]:
        counts[index] += 1
    return [int(count) for count in counts]


def shares(sizes: Sequence[int], temperature: float) -> NDArray[np.float64]:
    """(N,) share of each group, ~ size^temperature; an empty group gets nothing."""
    weights = np.array([float(size) ** temperature if size else 0.0 for size in sizes])
    return weights / weights.sum()


@dataclass(frozen=True)
class Classes:
    """Class-balanced drawing inside of a set.

    Attributes:
        labels: key -> label; clips without one keep the share that they have by number.
        temperature: labels are drawn ~ clips^temperature; 1: as they are, 0: evenly.
    """

    labels: Mapping[str, str]
    temperature: float


class Sampler:
    """Draws of a stage.

    Args:
        keys: set -> keys of its training clips.
        tasks: task -> relative weight.
        temperature: sets are drawn ~ size^temperature.
        material: task -> keys of the clips that it can be asked about; a task that is not named: all. A clip whose task
            has no material for it draws among the others of `tasks`; where none is left it is asked `FALLBACK`, and
            left out where it has no material for that either.
        classes: class-balanced drawing; None: clips of a set are drawn alike.

    Raises:
        ValueError: no clips, or no task with a weight.
    """

    def __init__(
        self,
        keys: Mapping[str, Sequence[str]],
        tasks: Mapping[str, float],
        temperature: float,
        material: Mapping[str, Container[str]] | None = None,
        classes: Classes | None = None,
    ) -> None:
        self.tasks = {name: weight for name, weight in tasks.items() if weight > 0}
        self.material = material or {}
        fit = {name: tuple(sorted(k for k in own if self._usable(k))) for name, own in sorted(keys.items())}
        self.left_out = sum(len(own) for own in keys.values()) - sum(len(own) for own in fit.values())
        self.sets = {name: own for name, own in fit.items() if own}
        if not self.sets or not self.tasks:
            raise ValueError("sampler: expected at least one clip and one task with a weight above 0")
        self.quota = dict(zip(self.sets, quotas([len(k) for k in self.sets.values()], temperature), strict=True))
        self.groups = {name: class_groups(own, classes) for name, own in self.sets.items()} if classes else {}
        self._epoch = lru_cache(maxsize=4)(self._draws)

    def _has(self, task: str, key: str) -> bool:
        """Whether a task can be asked about a clip."""
        return task not in self.material or key in self.material[task]

    def _usable(self, key: str) -> bool:
        """Whether there is anything that this stage can ask about a clip."""
        return any(self._has(task, key) for task in (*self.tasks, FALLBACK))

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
        numbers = rng.choice(len(names), size=len(visits), p=weights / weights.sum())
        second = generator(seed, epoch, "without material").random(len(visits)) if self.material else numbers
        draws, yes = [], epoch % 2 == 0
        for (key, visit), number, chance in zip(visits, numbers, second, strict=True):
            wanted = names[number]
            task = self._task(key, wanted, float(chance))
            # In turn: yes and no are 1:1 over the epoch and in every stretch of it.
            yes = yes if task != "yesno" else not yes
            draws.append(Draw(key, visit, task, yes, "" if task == wanted else wanted))
        return tuple(draws)

    def _task(self, key: str, wanted: str, chance: float) -> str:
        """The wanted task, or what the clip is asked instead; `chance` in [0, 1) chooses among the others."""
        if self._has(wanted, key):
            return wanted
        others = [name for name in self.tasks if self._has(name, key)]
        if not others:
            return FALLBACK
        ends = np.cumsum([self.tasks[name] for name in others])
        return others[int(np.searchsorted(ends, chance * ends[-1], side="right"))]

    def _visits(self, seed: Seed, epoch: int, name: str) -> list[tuple[str, int]]:
        """(key, visit) of one set in one epoch."""
        if name not in self.groups:
            return take_visits(self.sets[name], seed, epoch * self.quota[name], self.quota[name], "set", name)
        labels, exact = zip(*((label, part * self.quota[name]) for label, _, part in self.groups[name]), strict=True)
        # Systematic sampling: each label within one draw of its share, the sum exact, all of it fair over the epochs.
        edges = np.floor(np.concatenate([[0.0], np.cumsum(exact)]) + generator(seed, epoch, "class", name).random())
        edges[-1] = edges[0] + self.quota[name]
        visits: list[tuple[str, int]] = []
        for place, (_, keys, _) in enumerate(self.groups[name]):
            count, most = int(edges[place + 1] - edges[place]), int(np.ceil(exact[place] - 1e-9))
            visits += take_visits(keys, seed, epoch * most, count, "class", name, labels[place] or "")
        return visits


def class_groups(keys: Sequence[str], classes: Classes) -> list[tuple[str | None, tuple[str, ...], float]]:
    """(label, its keys, its share of the set's draws) of one set; None: the clips without a label."""
    by_label: dict[str, list[str]] = {}
    free = [key for key in keys if key not in classes.labels]
    for key in keys:
        if key in classes.labels:
            by_label.setdefault(classes.labels[key], []).append(key)
    names, rest = sorted(by_label), 1 - len(free) / len(keys)
    part = shares([len(by_label[name]) for name in names], classes.temperature) * rest if names else []
    groups: list[tuple[str | None, tuple[str, ...], float]] = [
        (name, tuple(by_label[name]), float(value)) for name, value in zip(names, part, strict=True)
    ]
    return [*groups, (None, tuple(free), 1 - rest)] if free else groups


def take_visits(keys: Sequence[str], seed: Seed, start: int, count: int, *names: str) -> list[tuple[str, int]]:
    """(key, visit) at `count` places from `start` on in an endless row of permutations of the keys."""
    visits: list[tuple[str, int]] = []
    while len(visits) < count:
        visit, offset = divmod(start + len(visits), len(keys))
        order = generator(seed, visit, *names).permutation(len(keys))
        visits += [(keys[int(i)], visit) for i in order[offset : offset + count - len(visits)]]
    return visits


def take_share(draws: Sequence[Draw], rank: int, world_size: int) -> Sequence[Draw]:
    """This rank's stretch of a global batch; every rank gets as many clips as the others.

    Raises:
        ValueError: the batch cannot be divided evenly.
    """
    if len(draws) % world_size:
        raise ValueError(f"global batch {len(draws)} is no multiple of {world_size} workers")
    own = len(draws) // world_size
    return draws[rank * own : (rank + 1) * own]
