"""``run.json`` of a training run: what it learns, from which data, with which arguments and code. Kept since step 0."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.names import told
from pipeline.training.data.prepared import scenes_sha256
from pipeline.training.data.scenes import TrainingScene

RECORD = "run.json"
VALIDATIONS = "validations.json"
NETWORK = "network."
"""Of these settings a record holds only what was said. Of others it holds all: what it lacks, its version lacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """One folder of scenes that is trained on."""

    folder: str
    """As it was given."""
    share: float
    """Of the tiles."""
    scenes: tuple[str, ...]
    objects: int
    """Annotated, ignore regions not counted."""
    longest_px: float
    """The longest annotated object; 0 without any."""
    sha256: str
    """Over names and bytes of the scenes."""

    @classmethod
    def of(cls, folder: Path, share: float, scenes: Sequence[TrainingScene]) -> TrainedOn:
        """What ``scenes``, read from ``folder``, are."""
        names = tuple(scene.name for scene in scenes)
        boxes = [scene.truth.boxes[~scene.truth.ignore] for scene in scenes]
        return cls(
            folder=str(folder), share=share, scenes=names, objects=sum(len(one) for one in boxes),
            longest_px=round(max((float(one[:, 2].max()) for one in boxes if len(one)), default=0.0), 2),
            sha256=scenes_sha256(folder, names),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a training run is. The last ``fit`` speaks; what it changed of earlier ones stands in ``earlier``."""

    classes: tuple[str, ...] | None
    """In the network's order; None when scenes of an older version do not name them."""
    class_count: int
    gsd_m: float | None
    """Metres per pixel of the scenes; None for their own."""
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    """Of pixels / 255, one value a band, as the network saw them."""
    std: tuple[float, ...]
    arguments: dict[str, Any]
    data: tuple[TrainedOn, ...]
    init: dict[str, Any] | None = None
    """Name and SHA-256 of the weights it started from; None for nothing."""
    recipe: dict[str, Any] | None = None
    """Name and SHA-256 of the recipe, as its copy beside this record says it."""
    versions: dict[str, Any] = field(default_factory=dict)
    from_step: int = 0
    """Where the last ``fit`` went on."""
    earlier: tuple[dict[str, Any], ...] = ()
    """``from_step``, ``arguments``, ``data`` (folder → SHA-256), ``scenes`` (folder → names; older versions wrote none)
    and ``versions`` of the goes before this one."""

    @property
    def named(self) -> tuple[str, ...]:
        """The classes, by number where nothing names them."""
        return self.classes or tuple(str(number) for number in range(self.class_count))

    @property
    def learnt_from(self) -> frozenset[str] | None:
        """Names of the scenes that this go or any before it was trained on; None where an older version did not write
        down which those were."""
        now = {one.folder: one for one in self.data}
        names = {name for one in self.data for name in one.scenes}
        for go in self.earlier:
            for folder, sha256 in go["data"].items():
                if "scenes" in go:
                    names |= set(go["scenes"][folder])
                elif folder not in now or now[folder].sha256 != sha256:
                    return None
        return frozenset(names)

    def went_on(self, record: RunRecord, step: int) -> RunRecord:
        """The record of ``self`` going on from ``record`` at ``step``; equal goes are one."""
        if not self.changes(record) and self.versions == record.versions:
            return record
        go = {
            "from_step": record.from_step,
            "arguments": record.arguments,
            "data": {one.folder: one.sha256 for one in record.data},
            "scenes": {one.folder: list(one.scenes) for one in record.data},
            "versions": record.versions,
        }
        return RunRecord(**{**_shallow(self), "init": record.init, "from_step": step, "earlier": (*record.earlier, go)})

    def changes(self, record: RunRecord) -> list[str]:
        """What differs from ``record``, one phrase each: arguments, then data."""
        keys = dict.fromkeys([*record.arguments, *self.arguments])
        changed = [
            f"{_flag(key)} {_shown(record.arguments.get(key))} → {_shown(self.arguments.get(key))}"
            for key in keys
            if _plain(record.arguments.get(key)) != _plain(self.arguments.get(key))
            and (key in record.arguments or "." not in key or key.startswith(NETWORK))
        ]
        before = {one.folder: one for one in record.data}
        for one in self.data:
            other = before.get(one.folder)
            if other is not None and other.sha256 != one.sha256:
                changed.append(f"the scenes of {one.folder} ({len(other.scenes)} → {len(one.scenes)}, other bytes)")
        return changed


def read_record(run: Path) -> RunRecord | None:
    """The record in the folder ``run``; None where there is none (an older version's run). Raises ConfigError."""
    path = run / RECORD
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        data = tuple(TrainedOn(**{**one, "scenes": tuple(one["scenes"])}) for one in content.pop("data"))
        tuples = {
            key: tuple(content[key]) if content.get(key) is not None else None
            for key in ("classes", "bands", "mean", "std")
        }
        return RunRecord(**{**content, **tuples, "data": data, "earlier": tuple(content["earlier"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({told(error)}): take it away, or train into another --out"
        ) from error


def write_record(run: Path, record: RunRecord) -> None:
    """Write it by rename."""
    _write(run / RECORD, asdict(record))


def state_sha256(state: Path) -> str:
    """SHA-256 (hex) of a checkpoint's state: which weights a validation is of."""
    with state.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def add_validation(run: Path, validation: Mapping[str, Any]) -> None:
    """Keep the figures of a ``validate`` beside the run; the same scenes of the same weights only once."""
    same = ("state_sha256", "data_sha256", "tile_px", "halo_px")
    others = [one for one in read_validations(run) if any(one.get(key) != validation.get(key) for key in same)]
    _write(run / VALIDATIONS, [*others, plain_numbers(validation)])


def read_validations(run: Path) -> list[dict[str, Any]]:
    """What ``validate`` found of this run, of whatever step. Raises ConfigError for a file that is none."""
    path = run / VALIDATIONS
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        return [dict(one) for one in content]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({told(error)}): take it away and validate again") from error


def plain_numbers(value: Any) -> Any:
    """Figures for JSON: four decimals, and None for what does not exist (JSON has no NaN)."""
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    if isinstance(value, Mapping):
        return {key: plain_numbers(one) for key, one in value.items()}
    return [plain_numbers(one) for one in value] if isinstance(value, list | tuple) else value


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    partial.replace(path)


def _shallow(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in RunRecord.__dataclass_fields__}


def _flag(key: str) -> str:
    return key if "." in key else f"--{key.replace('_', '-')}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "nothing"
    return "nothing" if value is None else str(value)
