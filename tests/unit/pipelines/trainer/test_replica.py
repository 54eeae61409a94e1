"""AdamW over whole weights: the same as torch alone, with clipping by a norm of more, and state that can be carried."""

from __future__ import annotations

import copy

import torch
from torch import nn

from pipelines.trainer.replica import Replica, ReplicaEngine, parameter_names


def make_engine(clip: float = 0.0, micro_batches: int = 1) -> tuple[nn.Linear, ReplicaEngine]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    groups = [{"params": list(model.parameters()), "lr": 0.1, "weight_decay": 0.05}]
    return model, ReplicaEngine(model, groups, clip, micro_batches=micro_batches)


def test_steps_are_those_of_torch() -> None:
    model, engine = make_engine(clip=0.5, micro_batches=2)
    plain = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.05)
    for number, factor in enumerate((0.5, 1.0, 0.2)):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        for part in x.chunk(2):
            engine.backward(model(part).square().mean())
        norm = engine.step(factor)
        plain(x).square().mean().backward()
        assert abs(norm - float(nn.utils.clip_grad_norm_(plain.parameters(), 0.5))) < 1e-5
        optimiser.param_groups[0]["lr"] = 0.1 * factor
        optimiser.step()
        optimiser.zero_grad()
        for own, other in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(own, other)


def test_pieces_carry_the_whole_state() -> None:
    x = torch.randn(4, 3)
    model, engine = make_engine()
    for _ in range(2):
        engine.backward(model(x).square().mean())
        engine.step(1.0)
    other, second = make_engine()
    assert [piece.name for piece in second.pieces()] == ["weight", "bias"]
    for piece, source in zip(second.pieces(), engine.pieces(), strict=True):
        for kind in ("weight", "mean", "square"):
            getattr(piece, kind).copy_(getattr(source, kind))
    second.resume_at(2)
    for pair in ((model, engine), (other, second)):
        pair[1].backward(pair[0](x).square().mean())
        pair[1].step(1.0)
    assert torch.equal(model.weight, other.weight)


def test_the_norm_may_be_of_more_than_these_gradients() -> None:
    model, _ = make_engine()
    replica = Replica([{"params": list(model.parameters()), "lr": 0.0}], parameter_names(model), 1.0, 1)
    model(torch.ones(1, 3)).sum().backward()
    gradients = [parameter.grad.clone() for parameter in replica.parameters if parameter.grad is not None]
    scaled: list[torch.Tensor] = []
    assert replica.adamw is not None
    replica.adamw.register_step_pre_hook(lambda *_: scaled.extend(p.grad.clone() for p in replica.parameters))
    replica.step(1.0, 10.0)
    for before, after in zip(gradients, scaled, strict=True):
        torch.testing.assert_close(after, before / 10, rtol=1e-5, atol=0)


def test_nothing_that_learns_does_nothing() -> None:
    replica = Replica([], {}, 1.0, 1)
    assert float(replica.average_gradients()) == 0
    replica.step(1.0, 0.0)
    assert replica.pieces() == []
