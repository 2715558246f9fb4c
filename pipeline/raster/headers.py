"""What headers say, asked until they say it: over a network a part of one may not come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.config import RasterConfig
from pipeline.errors import SceneError, StorageError
from pipeline.names import public_uri
from pipeline.raster.addresses import is_remote
from pipeline.raster.gdal import EAR, MOST_NOTES, gdal_environment, remark
from pipeline.raster.remote import steadily
from pipeline.retrying import Patience

_T = TypeVar("_T")


def from_headers(
    uris: Sequence[str], config: RasterConfig, action: Callable[[], _T], patience: Patience,
    notes: set[str] | None = None,
) -> _T:  # fmt: skip
    """What ``action`` opens and learns of the files at ``uris``; remote ones as often as :func:`steadily` says.

    What GDAL remarks of local ones goes to ``notes``.

    A tag or an overview that did not come over the network is only a warning of GDAL's, and a scene without it another
    scene. So a remote header is believed when GDAL says nothing, or the same twice running: then it is the file.
    """
    remote, earlier, left = any(map(is_remote, uris)), [""], patience.attempts

    def attempt() -> _T:
        nonlocal earlier, left
        verdict: _T | SceneError
        told = None if remote else notes
        listening = EAR.listening(warnings=True)
        with gdal_environment(config, uris, patience), listening as said, EAR.listening(notes=told) as errors:
            try:
                verdict = action()
            except SceneError as error:
                verdict = error
        if told is not None:
            told.update(map(remark, errors[:MOST_NOTES]))
        left -= 1
        if remote and said and said != earlier and left:
            earlier = list(said)
            raise StorageError(f"{public_uri(uris[0])}: its header does not arrive as a whole; try again later")
        if isinstance(verdict, SceneError):
            raise verdict
        return verdict

    return steadily(uris, attempt, patience)
