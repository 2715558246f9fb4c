"""The criterion with the parts of Better Sampling, each by itself: values by hand, and every number of objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.detectors.oriented_rtdetr.decoder_record import LayerRecord, record_decoder
from pipeline.detectors.oriented_rtdetr.network import LayerOutput, OrientedRTDetr
from pipeline.training.data.batches import Batch, Target
from pipeline.training.losses.better_sampling import LayerSampling, WeightGenerator, sample_weights
from pipeline.training.losses.boxes import rotated_overlap
from pipeline.training.losses.criterion import WEIGHTS, criterion, denoising_losses, match_all, set_losses
from pipeline.training.losses.denoising import make_denoising
from pipeline.training.losses.settings import RTDETRLosses
from pipeline.training.oriented_rtdetr import OrientedLearner
from tests.support.oriented import SMALL

ALL = RTDETRLosses(sample_refinement=True, scale_aligned=True, sample_weights=True, better_class_loss=True)
SWITCHES = {
    "plain": RTDETRLosses(),
    "SPR": RTDETRLosses(sample_refinement=True),
    "ST": RTDETRLosses(scale_aligned=True),
    "SR": RTDETRLosses(sample_weights=True),
    "class": RTDETRLosses(better_class_loss=True),
    "all": ALL,
}


def answers() -> tuple[LayerOutput, list[Target], LayerSampling]:
    """Six queries on two chips, three objects on the first; boxes of other sizes than the objects'."""
    random = np.random.default_rng(3)
    objects = torch.tensor([[20.0, 20, 20, 8, 0.3], [60, 30, 24, 9, 1.2], [40, 70, 30, 12, -0.6]])
    found = torch.cat([objects * torch.tensor([1, 1, 1.3, 1.1, 1]) + 1.0, objects + torch.tensor([300.0, 0, 0, 0, 0])])
    boxes = torch.stack([found, found + 3])
    logits = torch.tensor(random.normal(-1, 1, (2, 6, 2))).float()
    none = Target(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5))
    targets = [Target(objects, torch.tensor([0, 1, 0]), torch.zeros(0, 5)), none]
    torch.manual_seed(0)
    weights = torch.rand(2, 6, 2, 4, 4)
    record = LayerRecord(
        4 * torch.rand(2, 6, 2, 4, 4, 2) - 2, weights / weights.sum((3, 4), keepdim=True),
        torch.randn(2, 6, 8), torch.randn(2, 6, 8),
    )  # fmt: skip
    return LayerOutput(logits, boxes, boxes.clone()), targets, LayerSampling(record=record, eta=1.15)


def bce(chance: float, wanted: float) -> float:
    return -wanted * math.log(chance) - (1 - wanted) * math.log(1 - chance)


@pytest.mark.parametrize("name", SWITCHES)
def test_the_class_loss_is_equation_3_and_with_its_switches_equation_20(name: str) -> None:
    """Loops over queries and classes: targets by IoU or scale, positives by their target or r, negatives by α and γ."""
    settings = SWITCHES[name]
    layer, targets, sampling = answers()
    generator = WeightGenerator(8) if settings.sample_weights else None
    sampling = LayerSampling(record=sampling.record, eta=1.15, generator=generator)
    loss = set_losses(layer, targets, 3, settings, sampling if settings.look_inside else None)["class"]

    matches = match_all(layer, targets)
    assert matches.rows.tolist() == [0, 0, 0]
    assert sorted(matches.queries.tolist()) == [0, 1, 2]
    wanted = {}
    for query, box, kind in zip(matches.queries.tolist(), matches.boxes, matches.class_ids.tolist(), strict=True):
        found = layer.boxes[0, query]
        target = float(rotated_overlap(found[None], box[None]))
        if settings.scale_aligned:
            ratio = float(found[2] * found[3] / (box[2] * box[3]))
            target = target**0.73 * math.exp(-6 * (math.sqrt(ratio) - 1) ** 2) ** 0.27
        wanted[0, query, kind] = target
    emphasis = dict(wanted)
    if generator is not None:
        at = (matches.rows, matches.queries)
        features = sampling.record.class_features[at], sampling.record.box_features[at]
        score = torch.tensor([float(layer.logits[key].sigmoid()) for key in wanted])
        made = sample_weights(generator, features, score, torch.tensor(list(wanted.values())))
        emphasis = dict(zip(wanted, made.of_class.tolist(), strict=True))
        assert sum(emphasis.values()) == pytest.approx(3)
    alpha, gamma = (0.5, 1.5) if settings.better_class_loss else (0.75, 2.0)
    expected = 0.0
    for key in np.ndindex(2, 6, 2):
        chance = float(layer.logits[key].sigmoid())
        expected += (
            emphasis[key] * bce(chance, wanted[key]) if key in wanted else alpha * chance**gamma * bce(chance, 0)
        )
    assert float(loss) == pytest.approx(WEIGHTS["class"] * expected / 3, rel=1e-4)


def test_boxes_weigh_by_their_difficulty_equation_21() -> None:
    layer, targets, sampling = answers()
    matches = match_all(layer, targets)
    at = (matches.rows, matches.queries)
    generator = WeightGenerator(8)
    plain = [set_losses(layer, [_only(targets[0], n), targets[1]], 3)["kld"] for n in range(3)]
    weighed = set_losses(
        layer, targets, 3, SWITCHES["SR"], LayerSampling(record=sampling.record, eta=1.0, generator=generator)
    )
    score = layer.logits[(*at, matches.class_ids)].sigmoid()
    overlap = rotated_overlap(layer.boxes[at], matches.boxes)
    features = sampling.record.class_features[at], sampling.record.box_features[at]
    made = sample_weights(generator, features, score, overlap)
    order = [targets[0].boxes.tolist().index(box.tolist()) for box in matches.boxes]
    expected = sum(float(plain[n] * weight) for n, weight in zip(order, made.of_box, strict=True))
    assert float(weighed["kld"].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(made.of_box.std()) > 0.01


def _only(target: Target, number: int) -> Target:
    return Target(target.boxes[number : number + 1], target.class_ids[number : number + 1], target.ignored)


def test_refinement_asks_matched_queries_only() -> None:
    """Points of every query are far outside: those of the three matched ones feel it, and no others."""
    layer, targets, sampling = answers()
    far = torch.full((2, 6, 2, 4, 4, 2), 3.0, requires_grad=True)
    record = LayerRecord(far, sampling.record.weights, sampling.record.class_features, sampling.record.box_features)
    losses = set_losses(layer, targets, 3, SWITCHES["SPR"], LayerSampling(record=record, eta=1.5))
    assert float(losses["offset"].detach()) == pytest.approx(9)  # (1.5 + 1.5)² for each of three
    losses["offset"].backward()
    assert far.grad is not None
    felt = far.grad.abs().amax((2, 3, 4, 5)) > 0
    assert felt.nonzero().tolist() == [[0, 0], [0, 1], [0, 2]]
    half = RTDETRLosses(sample_refinement=True, offset_weight=0.5, attention_weight=0.0)
    halved = set_losses(layer, targets, 3, half, LayerSampling(record=record, eta=1.5))
    assert float(halved["offset"].detach()) == pytest.approx(4.5)
    assert float(halved["attention"]) == 0


@pytest.mark.parametrize(("noisy_at", "own_at", "paid"), [(9.0, 0.0, False), (0.0, 9.0, True)])
def test_denoising_queries_are_not_refined(noisy_at: float, own_at: float, paid: bool) -> None:
    """Only where the decoder's own queries sample counts; the denoising ones stand before them."""
    torch.manual_seed(0)
    network, tiles = OrientedRTDetr(SMALL), batch(2)
    noisy = make_denoising(tiles.targets, network.label_embedding, SMALL.queries, torch.Generator().manual_seed(0))
    assert noisy is not None
    count = noisy.target.shape[1]
    with record_decoder(network) as record:
        output = network(torch.rand(1, 3, 64, 64), noisy.queries, noisy.mask)
    sampling = []
    for layer in record.layers:
        offsets = torch.full_like(layer.offsets, own_at)
        offsets[:, :count] = noisy_at
        moved = LayerRecord(offsets, layer.weights, layer.class_features, layer.box_features)
        sampling.append(LayerSampling(record=moved, eta=1.0))
    losses = criterion(output, tiles.targets, noisy, SWITCHES["SPR"], sampling)
    assert (float(losses["offset_0"]) > 0) == (float(losses["offset_1"]) > 0) == paid


def test_denoising_queries_are_asked_for_the_same_scores_as_matched_ones() -> None:
    """A good query of twice the area, scored as ST would have it: 0.5 ** 0.73 * 0.357 ** 0.27. It is nearer to that
    target than to the IoU of 0.5, and its class loss is the cross-entropy at that target, weighed by it."""
    _, targets, _ = answers()
    box = targets[0].boxes[:1]
    wide = (box * torch.tensor([1, 1, 2, 1, 1]))[None]
    target = float(rotated_overlap(wide[0], box)) ** 0.73 * math.exp(-6 * (math.sqrt(2) - 1) ** 2 * 0.27)
    logits = torch.full((1, 1, 2), math.log(target / (1 - target)))
    of = [Target(box, torch.tensor([0]), torch.zeros(0, 5))]
    index = torch.zeros(1, 1, dtype=torch.int64)
    for name, wanted in (("plain", float(rotated_overlap(wide[0], box))), ("ST", target)):
        loss = denoising_losses(LayerOutput(logits, wide, wide), of, index, SWITCHES[name])["class"]
        other = 0.75 * target**2 * bce(target, 0)
        assert float(loss) == pytest.approx(WEIGHTS["class"] * (wanted * bce(target, wanted) + other), rel=1e-4)


def batch(*counts: int, height: int = 64, width: int = 64) -> Batch:
    random = np.random.default_rng(sum(counts))
    targets = []
    for count in counts:
        boxes = np.column_stack([
            random.uniform(0, (width, height), (count, 2)), np.sort(random.uniform(2, 20, (count, 2)))[:, ::-1],
            random.uniform(-1.5, 1.5, count),
        ])  # fmt: skip
        none = torch.zeros(0, 5)
        targets.append(Target(torch.tensor(boxes).float(), torch.zeros(count, dtype=torch.int64), none))
    pixels = random.integers(0, 256, (len(counts), height, width, 3), dtype=np.uint8)
    return Batch(torch.from_numpy(pixels), tuple(targets))


@pytest.mark.parametrize("name", ["SPR", "ST", "SR", "class", "all"])
@pytest.mark.parametrize(
    "of",
    [batch(0), batch(1), batch(0, 1), batch(500), batch(500, 0), batch(2, 3, height=96, width=160)],
    ids=["empty", "one", "empty and one", "500", "500 and empty", "odd chip"],
)
def test_losses_and_gradients_are_finite_for_any_number_of_objects(of: Batch, name: str) -> None:
    """500 objects for 20 queries, too: each query gets one. Every part that was asked for is there, where it can be."""
    torch.manual_seed(0)
    learner = OrientedLearner(OrientedRTDetr(SMALL), losses=SWITCHES[name])
    for attention in learner.network.decoder:
        torch.nn.init.normal_(attention.encoder_attn.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(attention.encoder_attn.attention_weights.weight, std=0.3)
    losses = learner.losses(of, torch.Generator().manual_seed(0))
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    modules = [learner.network, *([learner.auxiliary] if learner.auxiliary else [])]
    gradients = [
        parameter.grad for module in modules for parameter in module.parameters() if parameter.grad is not None
    ]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    objects = sum(len(target.boxes) for target in of.targets)
    parts = {"SPR": {"offset_1", "attention_1"}, "SR": {"difficulty_0"}}
    expected = parts.get(name, parts["SPR"] | parts["SR"] if name == "all" else set())
    every = {f"{part}_{layer}" for part in ("offset", "attention", "difficulty") for layer in (0, 1)}
    assert (losses.keys() & every >= expected) if objects else not losses.keys() & every
    if learner.auxiliary is not None and objects:
        assert all(parameter.grad is not None for parameter in learner.auxiliary.parameters())


def test_every_switch_changes_the_losses_and_none_of_them_the_network() -> None:
    """The same seeds, the same tiles: plain and switched losses differ, and the first network's weights do not."""
    sums, weights = {}, {}
    for name, settings in SWITCHES.items():
        torch.manual_seed(0)
        network = OrientedRTDetr(SMALL)
        for attention in network.decoder:
            torch.nn.init.normal_(attention.encoder_attn.sampling_offsets.bias, std=9)
        weights[name] = sum(float(value.double().sum()) for value in network.state_dict().values())
        losses = OrientedLearner(network, losses=settings).losses(batch(3, 2), torch.Generator().manual_seed(0))
        sums[name] = round(float(torch.stack(list(losses.values())).sum().detach()), 5)
    assert len(set(weights.values())) == 1
    assert len(set(sums.values())) == len(SWITCHES)
