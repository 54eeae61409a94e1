"""Time axis + random detail -> posture channels of each action of the synthetic motion set.

One function per action fills the `Posture` of one person or of two. Everything is written for the right hand, foot or
turn; mirroring, bodies and captions are the business of `motion`. Times are shares of the clip, distances are in
arm or leg lengths (see `Posture`).
"""

from __future__ import annotations

import numpy as np

from skeleton_io.demo.body import Array, Posture


class Stage:
    """Time axis and random detail of one performance; `u` runs from 0 to 1 over the clip."""

    def __init__(
        self, frames: int, repeats: int, amplitude: float, rng: np.random.Generator, taller: float = 0.0
    ) -> None:
        self.u: Array = np.linspace(0, 1, frames)
        self.taller = taller
        """How much higher the second person's shoulders are, in arm lengths."""
        self.repeats, self.amplitude, self.rng = repeats, amplitude, rng

    def near(self, value: float, spread: float) -> float:
        """A number close to `value`: uniform within +-spread."""
        return value + spread * float(self.rng.uniform(-1, 1))

    def ease(self, start: float, end: float) -> Array:
        """0 before `start`, 1 after `end`, with zero speed and acceleration at both."""
        x = np.clip((self.u - start) / max(end - start, 1e-3), 0, 1)
        return x**3 * (x * (6 * x - 15) + 10)

    def pulse(self, rise: float, top: float, fall: float, end: float) -> Array:
        """0, up to 1 between `rise` and `top`, back to 0 between `fall` and `end`."""
        return self.ease(rise, top) - self.ease(fall, end)

    def beats(self, start: float, end: float) -> Array:
        """`repeats` bumps from 0 to 1 and back between `start` and `end`."""
        x = np.clip((self.u - start) / (end - start), 0, 1)
        return 0.5 - 0.5 * np.cos(2 * np.pi * self.repeats * x)

    def towards(self, channel: Array, weight: Array, goal: tuple[float, float, float] | Array) -> None:
        """Moves a (T, 3) channel to `goal` by `weight`, in place."""
        channel += weight[:, None] * (np.asarray(goal, dtype=float) - channel)


def wave(s: Stage, p: Posture) -> None:
    up, swing = s.pulse(s.near(0.03, 0.02), s.near(0.22, 0.04), s.near(0.82, 0.04), 0.99), s.beats(0.18, 0.84)
    high, wide = s.near(0.42, 0.08) + 0.1 * (s.amplitude - 1), 0.42 * s.amplitude
    goal = np.stack([0.20 + wide * swing, high - 0.12 * swing, np.full_like(swing, s.near(0.28, 0.06))], axis=-1)
    s.towards(p.hand["right"], up, goal)
    s.towards(p.pole["right"], up, (0.7, -0.9, -0.1))
    s.towards(p.aim["right"], up, (0, 0.8, 0.1))
    p.lean += 0.04 * up


def clap(s: Stage, p: Posture) -> None:
    up, shut = s.pulse(0.02, s.near(0.16, 0.03), s.near(0.88, 0.03), 0.99), s.beats(0.14, 0.90)
    height, ahead = s.near(-0.28, 0.07), s.near(0.58, 0.05)
    for side in ("left", "right"):
        out = 0.22 * s.amplitude * (1 - shut) - 0.30 * shut
        s.towards(p.hand[side], up, np.stack([out, height + 0 * out, ahead - 0.05 * (1 - shut)], axis=-1))
        s.towards(p.pole[side], up, (0.8, -0.9, -0.2))
        s.towards(p.aim[side], up, (0.15, 0.7, 1.4))


def kick(s: Stage, p: Posture) -> None:
    start, span = s.near(0.06, 0.03), 0.88 / s.repeats
    size = s.amplitude
    for k in range(s.repeats):
        at = start + k * span
        back = s.pulse(at, at + 0.28 * span, at + 0.30 * span, at + 0.48 * span)
        out = s.pulse(at + 0.26 * span, at + 0.52 * span, at + 0.58 * span, at + 0.98 * span)
        s.towards(p.foot["right"], back, (0.0, 0.18, -0.32))
        s.towards(p.foot["right"], out, (-0.08, min(0.52, 0.42 * size), 0.78 * min(1.1, size)))
        p.foot_pitch["right"] += 0.7 * back - 0.45 * out
        p.bend += 0.10 * back - 0.16 * out
        s.towards(p.hand["left"], out, (0.35, -0.65, 0.55))
        s.towards(p.hand["right"], out, (0.40, -0.75, -0.35))
        p.pelvis += out[:, None] * np.array([0.05, -0.02, 0.02])
        p.twist -= 0.2 * out


def punch(s: Stage, p: Posture) -> None:
    guard = s.pulse(0.02, s.near(0.18, 0.03), 0.88, 0.99)
    for side in ("left", "right"):
        s.towards(p.hand[side], guard, (-0.12, s.near(-0.02, 0.06), s.near(0.42, 0.04)))
        s.towards(p.pole[side], guard, (0.6, -1.0, -0.2))
        s.towards(p.aim[side], guard, (-0.2, 0.9, 0.6))
    s.towards(p.foot["left"], guard, (0.05, 0.0, 0.20))
    s.towards(p.foot["right"], guard, (0.08, 0.0, -0.14))
    p.foot["left"][:, 1] += 0.06 * s.pulse(0.02, 0.08, 0.09, 0.16)
    p.pelvis += guard[:, None] * np.array([0, -0.06, 0.02])
    start, span = 0.20, 0.66 / s.repeats
    for k in range(s.repeats):
        at = start + k * span
        hit = s.pulse(at, at + 0.36 * span, at + 0.44 * span, at + 0.96 * span)
        s.towards(p.hand["right"], hit, (-0.26, s.near(0.10, 0.08), min(0.97, 0.92 * s.amplitude)))
        s.towards(p.aim["right"], hit, (0, 0, 1.0))
        p.twist += 0.5 * s.amplitude * hit
        p.pelvis[:, 2] += 0.05 * hit


def squat(s: Stage, p: Posture) -> None:
    down = s.beats(s.near(0.05, 0.02), s.near(0.95, 0.02))
    drop = min(0.62, 0.50 * s.amplitude)
    p.pelvis += down[:, None] * np.array([0, -drop, -0.20])
    p.bend += s.near(0.55, 0.12) * down
    p.nod -= 0.35 * down
    for side in ("left", "right"):
        s.towards(p.hand[side], down, (0.02, s.near(0.25, 0.10), 0.93))
        p.foot[side][:, 0] += 0.06


def jump(s: Stage, p: Posture) -> None:
    span = 0.92 / s.repeats
    height = s.near(0.36, 0.05) * s.amplitude
    for k in range(s.repeats):
        at = 0.04 + k * span
        low = s.pulse(at, at + 0.28 * span, at + 0.32 * span, at + 0.44 * span)
        land = s.pulse(at + 0.70 * span, at + 0.80 * span, at + 0.82 * span, at + span)
        tau = np.clip((s.u - at - 0.40 * span) / (0.34 * span), 0, 1)
        air = 4 * tau * (1 - tau)
        swing = s.pulse(at + 0.30 * span, at + 0.48 * span, at + 0.60 * span, at + 0.95 * span)
        p.pelvis[:, 1] += height * air - 0.30 * low - 0.20 * land
        p.pelvis[:, 2] -= 0.10 * low + 0.05 * land
        p.bend += 0.45 * low + 0.30 * land
        for side in ("left", "right"):
            p.foot[side][:, 1] += height * air + 0.04 * air
            p.foot_pitch[side] += 0.7 * np.sqrt(air)
            s.towards(p.hand[side], low, (0.15, -0.80, -0.45))
            s.towards(p.hand[side], swing, (0.12, s.near(0.62, 0.12), 0.68))


def walk(s: Stage, p: Posture) -> None:
    stride = s.near(1.15, 0.10) * min(1.1, s.amplitude)
    begin = float(s.rng.uniform(0, 1))
    phase = begin + s.u * s.near(1.55, 0.12)
    p.pelvis[:, 2] += stride * (phase - phase[len(phase) // 2])
    for side, lag in (("left", 0.0), ("right", 0.5)):
        turn = phase + lag
        whole, part = np.floor(turn), turn % 1
        swing = np.clip((part - 0.58) / 0.42, 0, 1)
        lift = np.sin(np.pi * swing) ** 2
        heel = np.exp(-(((part - 0.60) / 0.09) ** 2))
        step = swing**2 * (3 - 2 * swing)
        middle = phase[len(phase) // 2] + lag
        p.foot[side][:, 2] += stride * (whole + step + 0.29 - middle)
        p.foot[side][:, 1] += 0.09 * lift + 0.07 * heel
        p.foot_pitch[side] += 0.55 * heel - 0.25 * np.exp(-(((part - 0.97) / 0.06) ** 2))
        back = np.cos(2 * np.pi * (part - 0.02)) * min(1.2, s.amplitude)
        goal = np.stack([0.13 + 0 * back, -0.93 + 0.05 * back**2, 0.10 - 0.34 * back], axis=-1)
        s.towards(p.hand[side], np.ones_like(back), goal)
    p.pelvis[:, 1] += -0.055 - 0.02 * np.cos(4 * np.pi * phase)
    p.twist += 0.12 * np.cos(2 * np.pi * phase)
    p.bend += 0.05


def bow(s: Stage, p: Posture) -> None:
    low = s.pulse(s.near(0.08, 0.04), s.near(0.40, 0.05), s.near(0.58, 0.05), s.near(0.95, 0.03))
    p.bend += min(1.35, s.near(1.05, 0.12) * s.amplitude) * low
    p.nod += 0.25 * low
    p.pelvis += low[:, None] * np.array([0, -0.02, -0.14])
    for side in ("left", "right"):
        s.towards(p.hand[side], low, (0.06, -0.55, 0.78))


def throw(s: Stage, p: Posture) -> None:
    at = s.near(0.05, 0.03)
    wind = s.pulse(at, at + 0.28, at + 0.36, at + 0.50)
    cast = s.pulse(at + 0.36, at + 0.50, at + 0.52, at + 0.66)
    after = s.pulse(at + 0.50, at + 0.64, at + 0.72, 0.99)
    stand = s.pulse(at + 0.20, at + 0.40, at + 0.74, 0.99)
    size = s.amplitude
    s.towards(p.hand["right"], wind, (0.42, s.near(0.40, 0.08), -0.38))
    s.towards(p.pole["right"], wind, (1.0, -0.3, -0.3))
    s.towards(p.aim["right"], wind, (0, 0.6, -0.8))
    s.towards(p.hand["right"], cast, (-0.02, s.near(0.50, 0.08), 0.82))
    s.towards(p.hand["right"], after, (-0.40, -0.60, 0.56))
    s.towards(p.hand["left"], wind, (0.15, -0.10, 0.75))
    p.twist += -0.55 * size * wind + 0.45 * size * (cast + after)
    p.bend += -0.12 * wind + 0.15 * cast + 0.32 * after
    s.towards(p.foot["left"], stand, (0.0, 0.0, 0.36 * size))
    lift = s.pulse(at + 0.20, at + 0.29, at + 0.31, at + 0.40) + s.pulse(0.84, 0.90, 0.91, 0.99)
    p.foot["left"][:, 1] += 0.10 * lift
    p.pelvis += stand[:, None] * np.array([0, -0.05, 0.15]) - wind[:, None] * np.array([0.03, 0.0, 0.05])


def drink(s: Stage, p: Posture) -> None:
    up = s.pulse(s.near(0.05, 0.03), s.near(0.34, 0.05), s.near(0.70, 0.05), 0.98)
    tip = s.pulse(s.near(0.30, 0.03), s.near(0.45, 0.03), s.near(0.62, 0.04), s.near(0.78, 0.03))
    s.towards(p.hand["right"], up, (-0.10, 0.30, 0.42) + 0.04 * tip[:, None] * np.array([0, 1.0, 0]))
    s.towards(p.pole["right"], up, (0.55, -0.9, -0.1))
    s.towards(p.aim["right"], up, (-0.9, 0.35, -0.9))
    p.nod -= s.near(0.40, 0.08) * tip * s.amplitude


def turn(s: Stage, p: Posture) -> None:
    angle = -np.pi * s.near(0.97, 0.06)
    start, end = s.near(0.10, 0.04), s.near(0.88, 0.04)
    p.yaw += angle * s.ease(start, end)
    p.look -= 0.5 * s.pulse(start - 0.04, start + 0.2, end - 0.3, end)
    middle = 0.5 * (start + end)
    steps = {"right": ((start, start + 0.2, 0.5), (middle, middle + 0.2, 1.0)), "left": ((start + 0.18, middle, 0.55),)}
    steps["left"] = (*steps["left"], (middle + 0.18, end + 0.06, 1.0))
    for side, moves in steps.items():
        before = 0.0
        for begin, stop, share in moves:
            p.foot_yaw[side] += angle * (share - before) * s.ease(begin, stop)
            p.foot[side][:, 1] += 0.09 * s.pulse(begin, 0.5 * (begin + stop), 0.5 * (begin + stop), stop)
            before = share
    p.pelvis[:, 1] -= 0.03 * s.pulse(start, start + 0.1, end - 0.1, end)
    for side in ("left", "right"):
        s.towards(p.hand[side], s.pulse(start, middle, middle, end), (0.28, -0.90, 0.10))


def shake_hands(s: Stage, a: Posture, b: Posture) -> None:
    grip = s.pulse(s.near(0.04, 0.02), s.near(0.26, 0.03), s.near(0.82, 0.03), 0.99)
    beat = s.beats(0.26, 0.82) * grip
    for person, level in ((a, 0.5 * s.taller), (b, -0.5 * s.taller)):
        goal = np.stack([-0.32 + 0 * beat, level - 0.50 + 0.28 * s.amplitude * beat, 0.74 + 0 * beat], axis=-1)
        s.towards(person.hand["right"], grip, goal)
        s.towards(person.aim["right"], grip, (0, 0, 1.0))
        person.bend += s.near(0.10, 0.05) * grip
        person.nod += s.near(0.05, 0.1) * grip


def push(s: Stage, a: Posture, b: Posture) -> None:
    hit = s.near(0.42, 0.03)
    ready, out = s.pulse(0.03, hit - 0.16, 0.80, 0.98), s.pulse(hit - 0.14, hit, hit + 0.16, 0.86)
    step = s.ease(hit - 0.30, hit)
    for side in ("left", "right"):
        s.towards(a.hand[side], ready, (-0.05, -0.10, 0.38))
        s.towards(a.pole[side], ready, (0.8, -0.9, -0.3))
        s.towards(a.aim[side], ready, (0, 1.2, 0.5))
        s.towards(a.hand[side], out, (-0.12, 0.02 + 0.6 * s.taller, 0.95))
    a.pelvis += step[:, None] * np.array([0, -0.05, 0.24])
    a.bend += 0.22 * out
    a.foot["right"][:, 2] += 0.42 * step
    a.foot["right"][:, 1] += 0.08 * s.pulse(hit - 0.30, hit - 0.16, hit - 0.14, hit)
    back, far = s.ease(hit - 0.02, hit + 0.30), 0.50 * s.amplitude
    b.pelvis[:, 2] -= far * back
    b.pelvis[:, 1] -= 0.05 * s.pulse(hit, hit + 0.15, hit + 0.2, 0.95)
    b.bend -= 0.35 * s.pulse(hit - 0.02, hit + 0.12, hit + 0.2, hit + 0.45)
    for side, late in (("right", 0.0), ("left", 0.16)):
        b.foot[side][:, 2] -= far * s.ease(hit + late, hit + late + 0.18)
        b.foot[side][:, 1] += 0.08 * s.pulse(hit + late, hit + late + 0.09, hit + late + 0.09, hit + late + 0.18)
        s.towards(b.hand[side], s.pulse(hit, hit + 0.15, hit + 0.25, 0.97), (0.45, -0.70, 0.35))
