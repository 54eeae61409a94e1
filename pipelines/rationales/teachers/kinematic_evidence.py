"""Motion facts -> what sets a motion apart, for the built-in teacher: contacts, company, symmetry, pauses, travel, and
what stays still. Sentences of a small vocabulary; every number is the facts'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from skeleton_io.kinematics.facts import Contact, MotionFacts, PairMotion, Relation

# Torso lengths per second: what a resting hand of a noisy recording travels.
_STILL_PATH = 0.35
_MOST_SENTENCES = 3


def person_words(person: int, facts: MotionFacts) -> str:
    """ " of person 1" where there are several; else empty."""
    return f" of person {person + 1}" if len(facts.persons) > 1 else ""


def still_parts(facts: MotionFacts) -> list[str]:
    """Hands and feet of the first person that hardly move."""
    out = []
    for limb, both in (("hand", "both hands"), ("foot", "both feet")):
        quiet = []
        for side in ("left", "right"):
            activity = facts.part(f"{side}_{limb}", facts.persons[0])
            # A short stroke in a long clip hardly adds to the path, and yet the part has moved.
            travelled = any(e.part == f"{side}_{limb}" and e.person == facts.persons[0] for e in facts.events)
            if activity is not None and not travelled and activity.path < _STILL_PATH * max(1.0, facts.duration):
                quiet.append(side)
        if len(quiet) == 2:
            out.append(both)
        elif quiet:
            out.append(f"the {quiet[0]} {limb}")
    return out


def evidence_of(facts: MotionFacts) -> str:
    """Contacts, how two persons stand to each other, symmetry, pauses, where the body ends up; the first three."""
    sentences = [_contact(contact, facts) for contact in _longest_contacts(facts.contacts)]
    sentences += [_relation(relation) for relation in facts.relations]
    sentences += [_pair(pair, facts) for pair in facts.pairs]
    sentences += [_pause(pause, facts) for pause in _longest(facts.pauses)]
    if len(facts.persons) == 1 and facts.bodies:
        body = facts.bodies[0]
        travelled = [e for e in facts.events if e.part == "body" and e.motion == "moves" and e.distance > 1.0]
        if body.travel > 1.0 and travelled and body.direction:
            # The facts give metres for events only; the body's own events tell how long a torso length is.
            unit = next((e.metres / e.distance for e in travelled), math.nan)
            size = f"{body.travel:.1f} torso lengths" if math.isnan(unit) else f"{body.travel * unit:.1f} m"
            sentences.append(f"The body ends {size} {' and '.join(body.direction)}.")
        # A fifth larger or smaller: less than that comes from sway and noise.
        if not math.isnan(body.nearer) and abs(body.nearer) > 0.2:
            sentences.append(f"The body comes {'closer' if body.nearer > 0 else 'less close'}.")
    return " ".join([sentence for sentence in sentences if sentence][:_MOST_SENTENCES])


def _longest_contacts(contacts: Sequence[Contact]) -> list[Contact]:
    """At most one contact of a kind: the longest."""
    best: dict[str, Contact] = {}
    for contact in contacts:
        before = best.get(contact.kind)
        if before is None or contact.end - contact.start > before.end - before.start:
            best[contact.kind] = contact
    return sorted(best.values(), key=lambda contact: contact.start)


def _contact(contact: Contact, facts: MotionFacts) -> str:
    times = "once" if contact.count == 1 else f"{contact.count} times"
    when = f"from {contact.start:.1f} to {contact.end:.1f} s"
    person = person_words(contact.persons[0], facts)
    # A picture has no depth: parts that meet there need not touch.
    flat = "" if facts.views[facts.persons.index(contact.persons[0])] == "space" else " in the picture"
    if contact.kind == "thumb and index":
        return f"The thumb and the index finger{person} meet {times} {when}."
    if contact.kind == "own hands":
        return f"Both hands{person} meet {times}{flat}."
    if contact.kind == "hand and head":
        return f"The {contact.side} hand{person} is at the head {when}{flat}."
    if contact.kind == "hands of both":
        return f"The hands of both persons meet {when}{flat}."
    return f"The {contact.side} hand{person} meets person {contact.persons[1] + 1} {when}{flat}."


def _relation(relation: Relation) -> str:
    """Whether two persons face each other and whether they end closer or apart; empty where neither can be said."""
    # Distances of the two bodies, torso lengths, at the first and the last frame.
    change = relation.end - relation.start
    clauses = ["face each other"] if relation.facing else []
    clauses += ["end apart" if change > 0 else "end closer"] if abs(change) > 0.3 else []
    return f"Both persons {' and '.join(clauses)}." if clauses else ""


def _pair(pair: PairMotion, facts: MotionFacts) -> str:
    both = "Both hands" if pair.limb == "hand" else "Both feet"
    return f"{both}{person_words(pair.person, facts)} {'move alike' if pair.kind == 'alike' else 'take turns'}."


def _longest(pauses: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    # One pause is enough to set a motion apart; a list of them reads like a protocol.
    return sorted(pauses, key=lambda pause: pause[0] - pause[1])[:1]


def _pause(pause: tuple[float, float], facts: MotionFacts) -> str:
    if len(facts.persons) > 1:
        who = "Both persons pause"
    else:
        who = "The hand pauses" if facts.hands else "The body pauses"
    return f"{who} from {pause[0]:.1f} to {pause[1]:.1f} s."
