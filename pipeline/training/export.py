"""From a run to a folder that ``load_detector`` takes: averaged weights and a card that fits them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.detectors.card import write_card
from pipeline.detectors.checkpoint import model_type, weights_sha256
from pipeline.detectors.modules.features import FeaturesConfig
from pipeline.detectors.onnx_file import onnx_file, write_onnx
from pipeline.detectors.transformers_detr.folder import LibraryConfig
from pipeline.errors import ConfigError, ModelError
from pipeline.training.curves import read_metrics
from pipeline.training.families import family_in
from pipeline.training.learner import Learner
from pipeline.training.loop import BEST, CHECKPOINT, METRICS_FILE
from pipeline.training.normalisation import statistics_of
from pipeline.training.run_record import RunRecord, plain_numbers
from pipeline.training.states import STATE_FILE
from pipeline.types import ModelCard
from pipeline.types.cards import RGB


def state_file(run: Path, kept: str = CHECKPOINT) -> Path:
    """Where a run keeps its last step, or (``kept`` is BEST) the weights that did best on held-out scenes."""
    return run / kept / STATE_FILE


def checkpoint_step(run: Path, kept: str = CHECKPOINT) -> int:
    """The step of the run's last checkpoint, or of its best, which must be there."""
    with safe_open(state_file(run, kept), framework="pt") as stored:
        return int(stored.metadata()["step"])


def averaged_network(run: Path, kept: str = CHECKPOINT) -> Any:
    """The moving average of the run's last checkpoint, or of its best. Raises ModelError when there is none."""
    path = state_file(run, kept)
    if not path.exists() and kept == BEST:
        raise ModelError(
            f"{run} holds no best weights: they are kept by 'fit --validate-steps N' with scenes held out, or --choose"
        )
    if not path.exists():
        raise ModelError(f"{run} holds no checkpoint yet; train first, or wait for its first one")
    family = family_in(run / kept)
    network = family.build(family.folder.read_config(run / kept))
    tensors = load_file(path)
    prefix = "average."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return network.eval()


def learner_of(run: Path, network: Any, record: RunRecord | None, kept: str = CHECKPOINT) -> Learner:
    """The learner of the run's :func:`averaged_network`, with the normalisation that the run was trained with."""
    family = family_in(run / kept)
    mean, std = (None, None) if record is None else (record.mean, record.std)
    return family.learner(network, mean, std, family.losses())


def training_card(
    name: str,
    classes: tuple[str, ...],
    gsd_m: float | None,
    input_px: int,
    config: FeaturesConfig | LibraryConfig,
    bands: tuple[str, ...] = RGB,
) -> ModelCard:
    """The card of a network that is still being trained."""
    mean, std = statistics_of(config)
    return ModelCard(
        name=name, classes=classes, gsd_m=gsd_m, bands=bands, input_px=input_px, sha256="",
        oriented=config.oriented, mean=mean, std=std,
    )  # fmt: skip


def own_input_px(config: FeaturesConfig | LibraryConfig) -> int | None:
    """Side of the tiles that a network looks at because it learnt from such; None for one that looks at any."""
    return config.input_px if isinstance(config, LibraryConfig) else None


def figures_on_the_way(run: Path, kept: str) -> dict[str, Any]:
    """Step, and AP on held-out scenes and on those trained on, that ``fit`` found of exactly these averaged weights;
    empty where it did not judge them."""
    step = checkpoint_step(run, kept)
    rows = [row for row in read_metrics(run / METRICS_FILE) if row["step"] == step and "train_ap" in row]
    return plain_numbers(rows[-1]) if rows else {}


def export(run: Path, folder: Path, card: ModelCard, kept: str = CHECKPOINT) -> ModelCard:
    """Write weights, configuration and ``card`` (its hash set to the weights') to ``folder``; returns that card."""
    network = averaged_network(run, kept)
    family_in(run / kept).folder.export(folder, network, card)
    card = replace(card, sha256=weights_sha256(folder), network=network.config.parts)
    write_card(folder, card)
    return card


def export_onnx(folder: Path, card: ModelCard) -> Path:
    """Write the detector that was exported to ``folder`` as one ONNX file beside its weights; returns that file's path.

    Of the weights as they are stored there, 16-bit, so both say the same. Raises ConfigError without the package
    ``onnx``, ModelError where torch cannot write the network.
    """
    family = family_in(folder)
    if family.runnable is None:
        raise ConfigError("export --onnx writes networks of our own families, not those of the transformers library")
    network = family.runnable(family.folder.load(folder))
    return write_onnx(folder, onnx_file(network, card, model_type(folder)))
