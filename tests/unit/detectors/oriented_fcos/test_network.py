"""The oriented FCOS as a network: its points, what it starts from, and what does not change its answers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pipeline.detectors.oriented_fcos.network import OrientedFCOS, written_boxes
from tests.support.fcos import SMALL_FCOS, small_fcos


@pytest.mark.parametrize("size", [(32, 32), (64, 160)])
@pytest.mark.parametrize("receptive_field", ["none", "first", "last"])
def test_every_cell_of_every_level_says_something(size: tuple[int, int], receptive_field: str) -> None:
    network = small_fcos(replace(SMALL_FCOS, receptive_field=receptive_field, classes=3))
    with torch.inference_mode():
        output = network(torch.rand(2, 3, *size))
    count = sum((size[0] // stride) * (size[1] // stride) for stride in (4, 8, 16, 32))
    assert output.logits.shape == (2, count, 3)
    assert output.quality.shape == (2, count)
    assert output.boxes.shape == (2, count, 5)
    assert output.points.shape == (count, 2)
    assert output.strides.tolist() == sorted(output.strides.tolist())
    assert all(one.isfinite().all() for one in (output.logits, output.quality, output.boxes))
    assert (output.boxes[..., 2:4] >= 1 - 1e-5).all()  # put together from distances, which rounds


def test_a_fresh_network_thinks_little_of_every_point_and_starts_from_squares() -> None:
    """1 % everywhere; squares of four strides around the points, to the noise of the last convolution."""
    torch.manual_seed(0)
    with torch.inference_mode():
        output = OrientedFCOS(SMALL_FCOS).train()(torch.rand(2, 3, 64, 64))
    assert float(output.logits.sigmoid().mean()) == pytest.approx(0.01, rel=0.5)
    sides = output.boxes[..., 2:4] / output.strides[:, None]
    assert float(sides.log().mean().exp()) == pytest.approx(4, rel=0.2)
    assert ((output.boxes[..., :2] - output.points) / output.strides[:, None]).abs().mean() < 0.3


def test_what_the_head_writes_is_a_box_of_its_points_stride() -> None:
    """Middle one stride to the right and two down; sides 4 e and 4 strides; direction (0, 1) is 45 degrees."""
    raw = torch.tensor([[[1.0, 2, 1, 0, 0, 50], [0, 0, 99, -99, 50, 0]]])
    (found,) = written_boxes(raw, torch.tensor([[6.0, 10], [12, 4]]), torch.tensor([4.0, 8]))
    assert found[0].tolist() == pytest.approx([10, 18, 16 * math.e, 16, math.pi / 4], rel=1e-4)
    assert found[1].tolist() == pytest.approx([12, 4, 32 * math.exp(4), 1, 0], rel=1e-4)


@pytest.mark.parametrize("receptive_field", ["first", "last"])
def test_with_the_weights_of_a_plain_network_a_fresh_adapter_changes_nothing(receptive_field: str) -> None:
    """All weights of a plain network have their place in one with adapters, and its answers stay the same."""
    plain = small_fcos()
    adapted = OrientedFCOS(replace(SMALL_FCOS, receptive_field=receptive_field)).eval()
    missing, unexpected = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".offsets." in name for name in missing)
    assert len(missing) == 4, "a weight and a bias in either tower"
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected, found = plain(pixels), adapted(pixels)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-2, rtol=1e-3)


def test_what_a_point_says_does_not_depend_on_black_far_away() -> None:
    """A chip that is padded to twice its side, as beside a larger one in a batch: its points far from the seam say the
    same. (Group normalisation would change them all.)"""
    network, pixels = small_fcos(), torch.rand(1, 3, 384, 384)
    padded = torch.zeros(1, 3, 768, 768)
    padded[..., :384, :384] = pixels
    with torch.inference_mode():
        alone, beside = network(pixels), network(padded)
    fine_alone, fine_beside = (
        one.logits[0, one.strides == 4, 0].view(side, side) for one, side in ((alone, 96), (beside, 192))
    )
    torch.testing.assert_close(fine_beside[:8, :8], fine_alone[:8, :8], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"receptive_field": "middle"}, "receptive_field must be none, first or last, not 'middle'"),
        ({"tower_layers": 0}, "tower_layers must be a whole number of at least 1, not 0"),
        ({"bands": 0}, "bands must be a whole number of at least 1"),
    ],
)
def test_a_shape_that_contradicts_itself_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(SMALL_FCOS, **fields)  # type: ignore[arg-type]
