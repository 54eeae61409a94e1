"""SkeletonSequence -> questions about its motion with answers that can be checked: which, how often, where, when, why.

All answers come from `kinematics`; a question is asked only where the facts are clear by the margins of
`scene`, so many clips give few. Deterministic. Names no action, reads no labels, draws nothing: who trains
picks from what is here. Works on any topology, in 3D and in 2D, on bodies and on bare hands, as far as the facts do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from skeleton_io.questions.order import order_questions
from skeleton_io.questions.pairs import pair_questions
from skeleton_io.questions.scene import (
    ALIKE_RATIO,
    COUNTS,
    KINDS,
    LEAST_TRAVEL,
    LEAST_TURN,
    MORE_RATIO,
    NO,
    REST_PATH,
    REST_SHARE,
    YES,
    Question,
    Scene,
    compare_lengths,
    count_choice,
    family,
    scene_of,
)
from skeleton_io.record.sequence import SkeletonSequence

__all__ = ["KINDS", "QUESTIONS_VERSION", "Question", "family", "questions_of"]
QUESTIONS_VERSION = 1
"""Raised whenever the same clip gets other questions or answers."""


def questions_of(seq: SkeletonSequence) -> tuple[Question, ...]:
    """All questions of a clip whose answers are clear, in a fixed order; empty where nothing is."""
    scene = scene_of(seq)
    questions: list[Question] = []
    makers: list[Callable[[Scene, int], Iterable[Question | None]]] = [
        _sides,
        _fingers,
        _moving,
        _counts,
        _directions,
        _together,
        order_questions,
    ]
    for person in sorted(scene.names):
        for maker in makers:
            questions += [question for question in maker(scene, person) if question is not None]
    questions += [question for question in pair_questions(scene) if question is not None]
    return tuple(dict.fromkeys(questions))


def _sides(scene: Scene, person: int) -> Iterable[Question | None]:
    """Which hand, which foot moves more; which hand goes to the head."""
    for limb in ("hand", "foot"):
        parts = (f"left_{limb}", f"right_{limb}")
        side = compare_lengths([scene.path(part, person) for part in parts], MORE_RATIO)
        if side is None or not scene.events(person, parts[side]):
            continue
        choices = (f"the left {limb}", f"the right {limb}")
        whose = "" if len(scene.names) == 1 else f" of {scene.names[person]}"
        yield Question(f"Which {limb}{whose} moves more?", choices[side], f"which {limb}", choices)
    touched = {c.side for c in scene.facts.contacts if c.kind == "hand and head" and c.persons == (person,)}
    if touched:
        choices = ("the left hand", "the right hand", "both hands")
        answer = "both hands" if len(touched) == 2 else f"the {touched.pop()} hand"
        yield Question(f"Which hand does {scene.names[person]} bring to the head?", answer, "hand to head", choices)


def _fingers(scene: Scene, person: int) -> Iterable[Question | None]:
    """Of bare hands: the finger that bends or stretches by far the most."""
    if person not in scene.facts.hands:
        return
    for side in ("left", "right"):
        bent: dict[str, float] = {}
        for event in scene.facts.events:
            if event.person == person and event.part.startswith(f"{side}_") and event.motion in ("bends", "stretches"):
                finger = event.part.removeprefix(f"{side}_")
                bent[finger] = bent.get(finger, 0.0) + event.degrees * event.repetitions
        ranked = sorted(bent.items(), key=lambda item: -item[1])
        if ranked and (len(ranked) == 1 or ranked[0][1] > MORE_RATIO * ranked[1][1]):
            choices = ("thumb", "index", "middle", "ring", "pinky")
            yield Question(f"Which finger of the {side} hand bends most?", ranked[0][0], "which finger", choices)


def _moving(scene: Scene, person: int) -> Iterable[Question | None]:
    """Does a part move? Yes and no come up about equally often over a set."""
    parts = [f"{side}_{limb}" for limb in ("hand", "foot") for side in ("left", "right")]
    paths = {part: path for part in parts if (path := scene.path(part, person)) is not None}
    moving = [part for part in paths if scene.events(person, part)]
    most = max(paths.values(), default=0.0)
    limit = max(REST_PATH * max(1.0, scene.facts.duration / 2), REST_SHARE * most)
    resting = [part for part in paths if paths[part] < limit and part not in moving]
    # Parts that rest are rarer than parts that move: they are asked for wherever there are some.
    candidates = resting or (moving if scene.coin("moves") else [])
    if not candidates:
        return
    pick = max if candidates is moving else min
    part = pick(candidates, key=lambda name: paths[name])
    answer = YES if candidates is moving else NO
    yield Question(f"Does {scene.of(part, person)} move?", answer, "moves", (YES, NO))


def _counts(scene: Scene, person: int) -> Iterable[Question | None]:
    """How often: swings of a hand or foot, meetings of the hands, jumps."""
    name = scene.names[person]
    for part in ("left_hand", "right_hand", "left_foot", "right_foot"):
        swings = [e for e in scene.events(person, part) if e.motion == "swings"]
        if len(swings) == 1:
            question = f"How many times does {scene.of(part, person)} swing back and forth?"
            yield Question(question, count_choice(swings[0].repetitions), "repetitions", COUNTS)
    for contact in scene.facts.contacts:
        if contact.kind == "own hands" and contact.persons == (person,):
            yield Question(
                f"How many times do the hands of {name} meet?", count_choice(contact.count), "meetings", COUNTS
            )
        if contact.kind == "thumb and index" and contact.persons == (person,):
            question = f"How many times do thumb and index finger of the {contact.side} hand meet?"
            yield Question(question, count_choice(contact.count), "meetings", COUNTS)
    jumps = sum(e.motion == "leaves the floor" for e in scene.events(person, "body"))
    if jumps:
        yield Question(f"How many times does {name} leave the floor?", count_choice(jumps), "jumps", COUNTS)


def ways(scene: Scene, person: int) -> tuple[str, ...]:
    """Directions that can be told of this person."""
    view = scene.facts.views[scene.facts.persons.index(person)]
    flat = {"front": ("left", "right"), "side": ("forward", "back"), "oblique": ()}
    return ("up", "down", *flat.get(view, ("left", "right", "forward", "back")))


def _directions(scene: Scene, person: int) -> Iterable[Question | None]:
    """Where a hand or foot moves at first, where the person goes, which way it turns. One clear direction only."""
    name, directions = scene.names[person], ways(scene, person)
    turns = [e for e in scene.events(person, "body") if e.motion == "rotates"]
    for part in ("left_hand", "right_hand", "left_foot", "right_foot"):
        first = next(iter(scene.events(person, part)), None)
        if first is None or first.motion != "moves" or len(first.direction) != 1:
            continue
        if any(turn.start < first.end for turn in turns):  # left of whom, before or after the turn?
            continue
        choices = directions if len(scene.names) == 1 else ("up", "down", "towards", "away")
        if len(choices) > 2 and first.direction[0] in choices:
            hint = "" if len(scene.names) == 1 else " (towards and away: the other person)"
            question = f"In which direction does {scene.of(part, person)} move first{hint}?"
            yield Question(question, first.direction[0], "direction", choices)
    body = next((b for b in scene.facts.bodies if b.person == person), None)
    if body is None:
        return
    flat = tuple(way for way in directions if way not in ("up", "down"))
    if not turns and body.travel >= LEAST_TRAVEL and len(body.direction) == 1 and body.direction[0] in flat:
        question = f"Where does {name} go, as that person sees it?"
        yield Question(question, body.direction[0], "travel", flat)
    if turns and abs(body.turn) >= LEAST_TURN:
        answer = "left" if body.turn > 0 else "right"
        if all(e.direction == (answer,) and e.repetitions == 1 for e in turns):
            question = f"Which way does {name} turn, as that person sees it?"
            yield Question(question, answer, "turn", ("left", "right"))


def _together(scene: Scene, person: int) -> Iterable[Question | None]:
    for pair in scene.facts.pairs:
        paths = [scene.path(f"{side}_{pair.limb}", person) for side in ("left", "right")]
        # Where one side moves far more, "alike" would be said of the rest only.
        if pair.person == person and compare_lengths(paths, ALIKE_RATIO) is None:
            limbs = "hands" if pair.limb == "hand" else "feet"
            question = f"Do the {limbs} of {scene.names[person]} move alike or in turns?"
            yield Question(question, pair.kind, "together", ("alike", "in turns"))
