"""The reconstruction loss: a hand-made case, padding, gradients."""

from __future__ import annotations

import pytest
import torch

from pipeline.detectors.modules.features import Features
from pipeline.detectors.modules.reconstruction import Original
from pipeline.training.losses.reconstruction import reconstruction_loss, reconstruction_losses


def test_a_hand_made_case() -> None:
    """Errors of 0.5, 0.1 and 0 in one pixel, 0 in the other: 0.26 over six numbers."""
    drawn = torch.tensor([[0.5, 1.0], [0.3, 0.2], [0.7, 0.7]]).view(1, 3, 1, 2)
    real = torch.tensor([[0.0, 1.0], [0.4, 0.2], [0.7, 0.7]]).view(1, 3, 1, 2)
    original = Original(real, torch.ones(1, 1, 1, 2, dtype=torch.bool))
    assert float(reconstruction_loss(drawn, original)) == pytest.approx(0.26 / 6)


def test_padding_counts_nowhere_and_gets_no_gradient() -> None:
    drawn = torch.full((1, 3, 4, 8), 0.5, requires_grad=True)
    loss = reconstruction_loss(drawn, Original.of(torch.zeros(1, 3, 4, 8), (0, 0, 0), (1, 1, 1), [(4, 4)]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.25)
    assert drawn.grad is not None
    assert (drawn.grad[..., 4:] == 0).all()
    torch.testing.assert_close(drawn.grad[..., :4], torch.full((1, 3, 4, 4), 2 * 0.5 / 48))


def test_nothing_shown_is_nothing_lost() -> None:
    drawn = torch.rand(1, 3, 4, 4, requires_grad=True)
    loss = reconstruction_loss(drawn, Original.of(torch.zeros(1, 3, 4, 4), (0, 0, 0), (1, 1, 1), [(0, 0)]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert drawn.grad is not None
    assert (drawn.grad == 0).all()


def test_a_learner_adds_it_by_name_and_weight_where_there_is_a_reconstruction() -> None:
    original = Original(torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool))
    drawn = Features([], reconstruction=torch.full((1, 3, 4, 4), 0.5))
    assert {name: float(loss) for name, loss in reconstruction_losses(drawn, original, 3.0).items()} == {
        "reconstruction": pytest.approx(0.75)
    }
    assert reconstruction_losses(Features([]), None, 3.0) == {}
