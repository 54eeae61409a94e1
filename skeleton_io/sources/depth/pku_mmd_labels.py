"""Action numbers of PKU-MMD (both parts) -> labels, in order from 1. Liu et al., arXiv 1703.07475, list of actions."""

from __future__ import annotations

_TEXT = """
bow; brushing hair; brushing teeth; check time from watch; cheer up; clapping; cross hands in front; drink water; drop;
eat meal; falling; giving object; hand waving; shaking hands; hopping; hugging; jump up; kicking person;
kicking something; phone call; pat on back; pick up; play with phone or tablet; point at person; point to something;
punch or slap; pushing; put on a hat or cap; put something into pocket; reading; rub two hands; salute; sit down;
stand up; take off a hat or cap; take off glasses; take off jacket; take something out of pocket; taking a selfie;
tear up paper; throw; back pain; chest pain; headache; neck pain; type on a keyboard; fan self; put on jacket;
put on glasses; wipe face; writing
"""
PKU_LABELS = tuple(" ".join(label.split()) for label in _TEXT.split(";"))
