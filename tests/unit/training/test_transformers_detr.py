"""Checkpoints of the transformers library are trained on, and what comes out is one of its checkpoints again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from jobs.train_detector import main
from pipeline.annotations.annotations import Annotations
from pipeline.detectors import load_detector
from pipeline.detectors.transformers_detr.folder import FOLDER, LibraryNetwork
from pipeline.errors import ConfigError, ModelError
from pipeline.geometry.obb import obb_to_corners
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.data.batches import Batch, Target, TileSampler
from pipeline.training.data.hulls import horizontal
from pipeline.training.data.prepared import Prepared, start_folder
from pipeline.training.data.scenes import TrainingScene, save_scene
from pipeline.training.export import training_card
from pipeline.training.families import family_of
from pipeline.training.library_recipe import with_one_size
from pipeline.training.loop import Trainer
from pipeline.training.loop_config import LoopConfig
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.recipe import NetworkChoice, recipe_of
from pipeline.training.start import first_network
from pipeline.training.transformers_detr import LibraryLearner, labels_of
from pipeline.types import Chip, Window
from tests.support.checkpoints import FAMILIES, save_checkpoint
from tests.support.prepared import scene_with

SQUARES = np.array([[40.0, 50, 14, 14, 0.0], [100, 60, 14, 14, 0.0], [70, 110, 14, 14, 0.0]])
LIBRARY = family_of("transformers")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("rt_detr", tmp_path_factory.mktemp("checkpoint"), num_denoising=12)


def learner_from(folder: Path, classes: int = 1) -> LibraryLearner:
    torch.manual_seed(5)  # of what starts fresh
    return LibraryLearner(first_network(LIBRARY, NetworkChoice(family="transformers", init=str(folder)), classes))


def trainer(folder: Path, out: Path, steps: int, **settings: Any) -> Trainer:
    sampler = TileSampler([([scene_with(SQUARES, 160)], 1.0)], AugmentConfig(paste=0, light=0, quarter_turns=True))
    config = LoopConfig(steps=steps, tiles=2, sizes_px=(64,), warmup_steps=2, learning_rate=2e-3, **settings)
    return Trainer(learner_from(folder), sampler, config, out)


def test_bright_squares_are_learnt(checkpoint: Path, tmp_path: Path) -> None:
    """The loss of tiles that no step saw falls, denoising and all."""
    run = trainer(checkpoint, tmp_path, 12)
    unseen = [run.batch(step) for step in (1000, 1001)]

    def loss() -> float:
        learner = LibraryLearner(run.network)
        with torch.no_grad():
            return sum(float(learner.losses(one, torch.Generator().manual_seed(0))["library"]) for one in unseen)

    before = loss()
    run.run(lambda _: None)
    run.network.train()
    assert loss() < 0.8 * before


def test_a_resumed_run_has_the_bits_of_the_uninterrupted_one(checkpoint: Path, tmp_path: Path) -> None:
    """Weights, their average and what the optimiser remembers; the library's chance (denoising) is repeated too."""
    whole = trainer(checkpoint, tmp_path / "whole", 4)
    whole.run(lambda _: None)
    trainer(checkpoint, tmp_path / "parts", 4).run(lambda _: None)  # to be cut below
    first = trainer(checkpoint, tmp_path / "parts", 4)
    first.network.train()
    for _ in range(2):
        first.learn(first.batch(first.step))
    first.save()
    torch.manual_seed(77)
    second = trainer(checkpoint, tmp_path / "parts", 4)
    assert second.resume()
    assert second.step == 2
    second.run(lambda _: None)
    for ours, expected in ((second.network, whole.network), (second.average, whole.average)):
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, expected.state_dict()[name]), name


def test_weights_that_two_names_share_are_averaged_and_stored(tmp_path: Path) -> None:
    """Averaged once a step, as all others; a checkpoint holds them, and they are one again after it was read."""
    folder = save_checkpoint("rt_detr_v2", tmp_path / "checkpoint")
    run = trainer(folder, tmp_path / "run", 4)
    state = run.network.state_dict()
    name, other = "inner.class_embed.0.weight", "inner.model.decoder.class_embed.0.weight"
    assert state[name].data_ptr() == state[other].data_ptr(), "the library shares these no longer: take another pair"
    before = run.average.state_dict()[name].clone()
    run.network.train()
    run.learn(run.batch(0))
    expected = before.lerp(run.network.state_dict()[name], 1 - 2 / 11)
    assert torch.equal(run.average.state_dict()[name], expected)
    run.save()
    again = trainer(folder, tmp_path / "run", 4)
    assert again.resume()
    for network in (again.network, again.average):
        assert network.state_dict()[name].data_ptr() == network.state_dict()[other].data_ptr()
    assert torch.equal(again.average.state_dict()[name], expected)


QUICK = ("rt_detr", "deimv2", "rf_detr", "yolos")


@pytest.mark.parametrize(
    "family", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in FAMILIES]
)
def test_the_loss_of_every_family_has_a_gradient_and_chance_of_its_own(family: str, tmp_path: Path) -> None:
    """One tile with objects and one without; the same generator gives the same loss, and torch's stays as it was."""
    learner = learner_from(save_checkpoint(family, tmp_path), classes=2)
    learner.network.train()
    side = 96
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))
    none = torch.zeros((0, 5))
    boxes = torch.tensor([[30.0, 40, 20, 12, 0.0], [90, 20, 30, 10, -np.pi / 2]])
    targets = (Target(boxes, torch.tensor([0, 1]), none), Target(none, torch.zeros(0, dtype=torch.int64), none))
    before = torch.get_rng_state()
    losses = [learner.losses(Batch(pixels, targets), torch.Generator().manual_seed(seed)) for seed in (3, 3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert losses[0].keys() == {"library"}
    assert torch.equal(losses[0]["library"], losses[1]["library"])
    losses[0]["library"].backward()  # type: ignore[no-untyped-call]
    norms = [float(one.grad.norm()) for one in learner.network.parameters() if one.grad is not None]
    assert np.isfinite(norms).all()
    assert max(norms) > 0


def test_what_a_tile_holds_is_told_as_the_library_wants_it() -> None:
    """Hulls, cut at the tile's edges, in units of the tile; a box that stands upright has its sides exchanged."""
    boxes = torch.tensor([[50.0, 40, 20, 10, 0.0], [50, 40, 20, 10, -np.pi / 2], [50, 40, 20, 10, np.pi / 4]])
    beyond = torch.tensor([[95.0, 40, 20, 10, 0.0]])
    target = Target(torch.cat([boxes, beyond]), torch.tensor([0, 1, 2, 0]), torch.zeros((0, 5)))
    said = labels_of(target, (80, 100))
    side = 30 / np.sqrt(2)
    expected = [
        [0.5, 0.5, 0.2, 0.125],
        [0.5, 0.5, 0.1, 0.25],
        [0.5, 0.5, side / 100, side / 80],
        [0.925, 0.5, 0.15, 0.125],
    ]
    np.testing.assert_allclose(said["boxes"].numpy(), expected, rtol=1e-6)
    assert said["class_labels"].tolist() == [0, 1, 2, 0]


def test_turned_boxes_become_their_hulls() -> None:
    boxes = np.array([[50.0, 40, 20, 10, 0.0], [50, 40, 20, 10, -np.pi / 2], [50, 40, 20, 10, 0.3]])
    truth = Annotations(boxes, np.zeros(3, np.int64), np.zeros(3, np.bool_))
    [scene], turned = horizontal([TrainingScene("made", np.zeros((80, 100, 3), np.uint8), truth)])
    assert turned == 1
    corners, before = obb_to_corners(scene.truth.boxes), obb_to_corners(boxes)
    np.testing.assert_allclose(corners.min(1), before.min(1), atol=1e-9)
    np.testing.assert_allclose(corners.max(1), before.max(1), atol=1e-9)


def test_other_classes_start_fresh_and_all_else_is_the_checkpoints(checkpoint: Path) -> None:
    learnt = FOLDER.load(checkpoint).state_dict()
    start = learner_from(checkpoint, classes=5).network
    assert start.config.classes == start.inner.config.num_labels == 5
    other = {name for name, tensor in start.state_dict().items() if not torch.equal(tensor, learnt[name])}
    assert other
    assert all("class_embed" in name or "score_head" in name for name in other), other
    same = learner_from(checkpoint, classes=3).network.state_dict()
    assert all(torch.equal(tensor, learnt[name]) for name, tensor in same.items())


def test_a_backbone_of_the_library_may_learn_at_its_own_rate(checkpoint: Path) -> None:
    network = learner_from(checkpoint).network
    apart = [one for group in parameter_groups(network, 0.02, 0.1) if group["share"] == 0.1 for one in group["params"]]
    backbone = [one for name, one in network.inner.model.backbone.named_parameters() if one.requires_grad]
    assert {id(one) for one in apart} == {id(one) for one in backbone}


def test_a_detector_is_made_of_its_own_networks(checkpoint: Path) -> None:
    learner = learner_from(checkpoint)
    with pytest.raises(TypeError, match="not of a Linear"):
        learner.detector(torch.nn.Linear(1, 1), training_card("made", ("a",), None, 64, learner.network.config))


def test_windows_and_queries_want_tiles_of_their_size(tmp_path: Path) -> None:
    learner = learner_from(save_checkpoint("rf_detr", tmp_path))
    assert learner.network.config.strides == (24,)
    card = training_card("made", ("a",), None, 64, learner.network.config)
    with pytest.raises(ModelError, match="multiple of 24 px, not at 64 px"):
        learner.detector(learner.network, card)
    learner.detector(learner.network, replace(card, input_px=96))
    nothing = Target(torch.zeros((0, 5)), torch.zeros(0, dtype=torch.int64), torch.zeros((0, 5)))
    tile = Batch(torch.zeros((1, 24, 24, 3), dtype=torch.uint8), (nothing,))
    with pytest.raises(ConfigError, match="a tile of 24 px has fewer places than this rf_detr has queries"):
        learner.losses(tile, torch.Generator())


def test_a_recipe_of_the_library_needs_a_checkpoint(checkpoint: Path) -> None:
    assert recipe_of({"network": {"init": str(checkpoint)}}).network.family == "transformers"
    with pytest.raises(ConfigError, match=r"transformers starts from a checkpoint: give --init"):
        recipe_of({"network": {"family": "transformers"}})
    with pytest.raises(ConfigError, match=r"network\.settings: the checkpoint of network\.init says it"):
        recipe_of({"network": {"init": str(checkpoint), "settings": {}}})


def test_boxes_are_shares_of_the_tile_so_there_is_one_size(checkpoint: Path) -> None:
    said: list[str] = []

    def sized(**schedule: Any) -> tuple[tuple[int, ...], int]:
        recipe = recipe_of({"network": {"init": str(checkpoint)}, "schedule": schedule})
        found = with_one_size(recipe, said.append).schedule
        return found.sizes_px, found.validate_px

    assert sized() == ((128,), 128)
    assert len(said) == 1
    assert "tiles have 128 px" in said[0]
    assert sized(sizes_px=[64]) == sized(sizes_px=[64], validate_px=64) == ((64,), 64)
    with pytest.raises(ConfigError, match=r"sizes_px: .* of one size: give one side"):
        sized(sizes_px=[64, 96])
    with pytest.raises(ConfigError, match="validate_px is 640, but what learns from tiles of 64 px looks at such"):
        sized(sizes_px=[64], validate_px=640)


def test_from_a_checkpoint_to_a_checkpoint(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands, on oriented boxes: what is exported answers alike in the library, here, and before the export."""
    prepared, run, out = tmp_path / "prepared", tmp_path / "run", tmp_path / "out"
    start_folder(prepared, Prepared(classes=("square",), gsd_m=None))
    turned = SQUARES.copy()
    turned[0, 4] = 0.4
    save_scene(prepared / "made.npz", scene_with(turned, 160))
    fit = ["--init", str(checkpoint), "--scenes", str(prepared), "--steps", "2", "--tiles", "2", "--sizes", "64"]
    assert main(["fit", *fit, "--paste", "0", "--threads", "1", "--validate-steps", "2", "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert "1 boxes are turned: transformers learns their horizontal hulls" in said
    assert "know 3 class(es), 1 are learnt: what scores them starts fresh" in said
    assert "turned by quarters only" in said
    assert main(["validate", "--run", str(run), "--scenes", str(prepared), "--halo", "16"]) == 0
    assert main(["export", "--run", str(run), "--out", str(out)]) == 0

    detector = load_detector(out)
    card = detector.card
    assert (card.classes, card.oriented, card.input_px, card.mean, card.std) == (
        ("square",), False, 64, (0.0,) * 3, (1.0,) * 3
    )  # fmt: skip
    pixels = np.random.default_rng(2).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    found = detector.detect([Chip(pixels=pixels, window=Window(x=0, y=0, width=80, height=100))], score_threshold=0.0)
    processor = RTDetrImageProcessorPil.from_pretrained(out)
    library = transformers.AutoModelForObjectDetection.from_pretrained(out).eval()
    assert library.config.id2label == {0: "square"}
    with torch.inference_mode():
        answer = library(**processor([pixels], return_tensors="pt"))
    [theirs] = processor.post_process_object_detection(answer, threshold=0.0, target_sizes=[(100, 80)])
    ours = obb_to_corners(found[0].detections.boxes)
    rows = np.column_stack([ours.min(1), ours.max(1), found[0].detections.scores])
    expected = torch.column_stack([theirs["boxes"], theirs["scores"]]).numpy()
    apart = np.abs(rows[:, None] - expected[None]).max(-1)  # both sort by scores, of which some are nearly equal
    assert len(set(apart.argmin(1).tolist())) == len(expected) == len(rows)
    assert apart.min(1).max() < 1e-3
    assert isinstance(FOLDER.load(out), LibraryNetwork), "and it may be trained on"
