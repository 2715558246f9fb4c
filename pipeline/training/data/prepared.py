"""What a folder of prepared scenes says of itself: the names of its classes, and how its pixels were made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.names import listed, told
from pipeline.types.cards import RGB

PREPARED = "prepared.json"
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the scenes of one folder have in common."""

    classes: tuple[str, ...]
    """``class_ids`` of the truth are indices into it."""
    gsd_m: float | None = None
    """Metres per pixel that was asked for; None for the scenes' own."""
    shrink: float = 1.0
    """How many times larger pixels were made."""
    bands: tuple[str, ...] = RGB
    """Names of the pixels' bands, in their order."""

    @property
    def pixel_m(self) -> float | None:
        """Metres per pixel of georeferenced scenes; None where every scene has its own."""
        return None if self.gsd_m is None else self.gsd_m * self.shrink


def start_folder(folder: Path, prepared: Prepared) -> None:
    """Write what the scenes of ``folder`` have in common, before the first of them.

    Raises ConfigError when the folder holds scenes that were prepared otherwise: class numbers would mean two things.
    """
    known = read_prepared(folder)
    if known is not None and known != prepared:
        raise ConfigError(
            f"{folder} holds scenes that were prepared otherwise ({_told(known)}) than these ({_told(prepared)}): "
            "give another --out"
        )
    if known is None and any(folder.glob("*.npz")):
        raise ConfigError(f"{folder} holds scenes of an older version, without names of classes: give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{PREPARED}.{os.getpid()}"
    partial.write_text(json.dumps(asdict(prepared), indent=2, ensure_ascii=False) + "\n")
    partial.replace(folder / PREPARED)


def read_prepared(folder: Path) -> Prepared | None:
    """What ``folder`` says of its scenes; None for one that an older version prepared. Raises ConfigError."""
    path = folder / PREPARED
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        classes = tuple(str(name) for name in content["classes"])
        gsd_m = None if content.get("gsd_m") is None else float(content["gsd_m"])
        bands = tuple(str(name) for name in content.get("bands", RGB))
        return Prepared(classes=classes, gsd_m=gsd_m, shrink=float(content.get("shrink", 1.0)), bands=bands)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read ({told(error)}): prepare the scenes again") from error


def agreed(folders: Sequence[Path]) -> Prepared | None:
    """What all ``folders`` say of their scenes (their pixels in ``gsd_m``, None where they are not of one size); None
    when an older version prepared any. Raises ConfigError for two that differ in their classes or bands, or were
    brought to different pixels: they cannot be trained on together."""
    said = [read_prepared(folder) for folder in folders]
    known = [(folder, one) for folder, one in zip(folders, said, strict=True) if one is not None]
    for folder, one in known[1:]:
        first, other = known[0]
        unlike = None not in (one.pixel_m, other.pixel_m) and one.pixel_m != other.pixel_m
        if unlike or one.classes != other.classes or one.bands != other.bands:
            raise ConfigError(
                f"{first} and {folder} cannot be trained on together: the one is of {_told(other)}, the other of "
                f"{_told(one)}; prepare both with the same --classes, --bands and --gsd"
            )
    if not known or len(known) < len(folders):
        return None
    pixels = {one.pixel_m for _, one in known}
    alike = known[0][1]
    return Prepared(classes=alike.classes, gsd_m=pixels.pop() if len(pixels) == 1 else None, bands=alike.bands)


def scenes_sha256(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 (hex) over the names and the bytes of these scenes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + b"\0")
        with (folder / f"{name}.npz").open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _told(one: Prepared) -> str:
    pixels = "the scenes' own pixels" if one.pixel_m is None else f"pixels of {one.pixel_m:g} m"
    shrunk = f", shrunk {one.shrink:g} times" if one.shrink != 1 else ""
    bands = f", bands {listed(one.bands)}" if one.bands != RGB else ""
    return f"classes {listed(one.classes)}, {pixels}{shrunk}{bands}"
