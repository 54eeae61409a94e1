"""Weights trained on one topology draw others: the same limb has the same colour, within the bound stated here."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from models.config import RendererConfig
from models.draction.body import place_body
from models.draction.renderer import ClipInput, DrAction
from models.draction.template import LIMBS, SIDES, VOCABULARY

BOUND = 0.05
"""Largest difference of a limb's mean learned colour in any channel, colours in [0, 1]. What is mixed in by depth is
relative to the body's own depth range, which a topology without feet does not share, and is not learned."""
TRAINED = "ntu25"
Body = SimpleNamespace


def limb_colours(renderer: DrAction, clip: ClipInput) -> dict[tuple[str, str], Tensor]:
    """(side, limb) -> mean colour of the Gaussians that belong to it alone."""
    template = renderer.template(clip.spec, clip.positions.device)
    with torch.no_grad():
        body = place_body([clip], [0], template, renderer.cfg, renderer.turn)
        rgb, _ = renderer.appearance(body)
    sides = template.factors[:, [VOCABULARY.index(f"side:{name}") for name in SIDES]]
    limbs = template.factors[:, [VOCABULARY.index(f"limb:{name}") for name in LIMBS]]
    found = defaultdict(list)
    for kind, colour in zip(body.kind.tolist(), rgb, strict=True):
        side, limb = sides[kind], limbs[kind]
        if side.amax() > 0.99 and limb.amax() > 0.99:
            found[SIDES[int(side.argmax())], LIMBS[int(limb.argmax())]].append(colour)
    return {name: torch.stack(colours).mean(0) for name, colours in found.items()}


@pytest.fixture(scope="module")
def palette() -> dict[tuple[str, str], Tensor]:
    """Colours to learn, unlike those at the start."""
    random = torch.Generator().manual_seed(5)
    return {(side, limb): torch.rand(3, generator=random) for side in SIDES for limb in LIMBS}


@pytest.fixture(scope="module")
def trained(body: Body, palette: dict[tuple[str, str], Tensor]) -> DrAction:
    """Trained until every limb of moving NTU bodies has about its colour in the palette."""
    torch.manual_seed(0)
    cfg = RendererConfig(frames=3, image_size=64, samples_per_bone=5)
    renderer, topology = DrAction(cfg), body.topologies[TRAINED]
    clips = [body.clip(topology, body.standing(topology, 1.0, raised), cfg) for raised in ("", "left", "right")]
    template = renderer.template(clips[0].spec, torch.device("cpu"))
    column = {name: place for place, name in enumerate(VOCABULARY)}
    member = [template.factors[:, column[f"side:{s}"]] * template.factors[:, column[f"limb:{k}"]] for s, k in palette]
    wanted = torch.stack(member, 1) @ torch.stack(list(palette.values()))
    optimiser = torch.optim.Adam(renderer.parameters(), 0.02)
    for step in range(150):
        placed = place_body([clips[step % 3]], [0], template, cfg, renderer.turn)
        rgb, _ = renderer.appearance(placed)
        loss = (rgb - wanted[placed.kind]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return renderer


@pytest.mark.parametrize(
    "name", ["kinect20", "sbu15", "coco17", "jhmdb15", "body25", "openpose18", "h36m17", "deepmimic16"]
)
def test_the_same_limb_has_the_same_colour(body: Body, trained: DrAction, name: str):
    def colours(name: str) -> dict[tuple[str, str], Tensor]:
        topology = body.topologies[name]
        return limb_colours(trained, body.clip(topology, body.standing(topology, 1.0, "left"), trained.cfg))

    known, unseen = colours(TRAINED), colours(name)
    both = known.keys() & unseen.keys()
    assert {("left", "arm"), ("right", "arm"), ("left", "leg"), ("right", "leg")} <= both
    for limb in both:
        assert float((unseen[limb] - known[limb]).abs().amax()) < BOUND, limb
        others = [float((unseen[limb] - known[other]).abs().amax()) for other in both - {limb}]
        assert min(others) > 2 * BOUND, limb
