"""From a run to a folder that ``load_detector`` takes: averaged weights and a card that fits them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import weights_sha256
from pipeline.detectors.oriented_rtdetr.folder import read_config, save_network
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr
from pipeline.errors import ModelError
from pipeline.training.loop import CHECKPOINT, STATE_FILE
from pipeline.training.normalisation import pixel_statistics
from pipeline.training.oriented_rtdetr import OrientedLearner
from pipeline.training.run_record import RunRecord
from pipeline.types import ModelCard


def state_file(run: Path) -> Path:
    """Where a run keeps its last step."""
    return run / CHECKPOINT / STATE_FILE


def checkpoint_step(run: Path) -> int:
    """The step of the run's last checkpoint, which must be there."""
    with safe_open(state_file(run), framework="pt") as stored:
        return int(stored.metadata()["step"])


def averaged_network(run: Path) -> OrientedRTDetr:
    """The moving average of the run's last checkpoint. Raises ModelError when there is none."""
    path = state_file(run)
    if not path.exists():
        raise ModelError(f"{run} holds no checkpoint yet; train first, or wait for its first one")
    network = OrientedRTDetr(read_config(run / CHECKPOINT))
    tensors = load_file(path)
    prefix = "average."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return network.eval()


def averaged_learner(run: Path, record: RunRecord) -> OrientedLearner:
    """The learner of :func:`averaged_network`, with the normalisation that the run was trained with."""
    return OrientedLearner(averaged_network(run), record.mean, record.std)


def training_card(
    name: str, classes: tuple[str, ...], gsd_m: float | None, input_px: int, config: NetworkConfig
) -> ModelCard:
    """The card of a network that is still being trained."""
    mean, std = pixel_statistics(config.backbone, config.bands)
    return ModelCard(
        name=name, classes=classes, gsd_m=gsd_m, bands=("red", "green", "blue"), input_px=input_px, sha256="",
        oriented=True, mean=mean, std=std,
    )  # fmt: skip


def export(run: Path, folder: Path, card: ModelCard) -> ModelCard:
    """Write weights, configuration and ``card`` (its hash set to the weights') to ``folder``; returns that card."""
    save_network(folder, averaged_network(run))
    card = replace(card, sha256=weights_sha256(folder))
    write_card(folder, card)
    return card
