"""All results of an output folder as one STAC collection: ``OUT/_catalogue/``.

Items and models come first, then the table of all detections, then ``items.parquet``, which holds all items and says
which results they are of, then ``collection.json``, which is worked out from it: whoever reads one of the last two
finds whatever it names. Both are exchanged only as they were read, so of two who collect at once one begins again; and
one that is killed leaves files that the next writes once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from pipeline.catalogue.detections import SAME_PASS_S, update
from pipeline.catalogue.mirror import (
    COLLECTION,
    collection_id,
    read_mirror,
    to_json,
    write_collection,
    write_mirror,
)
from pipeline.catalogue.places import placement
from pipeline.catalogue.results import THREADS, Published, manifest_version, manifests, no_results, published_results
from pipeline.catalogue.snapshot import read_snapshot
from pipeline.catalogue.turns import CATALOGUE, turns
from pipeline.catalogue.withdrawn import Withdrawal, withdrawn
from pipeline.names import quoted
from pipeline.outputs.stac import deprecated, result_item
from pipeline.outputs.stac_geoparquet import exchanged, items_table, placeless, versions_of
from pipeline.outputs.stac_models import model_file, model_item
from pipeline.outputs.tables import Table
from pipeline.outputs.times import span
from pipeline.reporting.journal import Journal
from pipeline.storage.files import file_names, read_file, remove_file, write_file
from pipeline.storage.paths import join

ITEMS, MODELS = "items", "models"
"""Folders of the catalogue."""
ITEM_FORMAT = 1
"""Goes up when another item is made of the same result: then all are made anew."""
AT_ONCE = 500
"""Items that are made, and told of, together: memory is that of these, and of all as a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collecting came to."""

    address: str
    """Of ``collection.json``."""
    scenes: int
    """In the collection now."""
    placeless: int
    """Scenes of these without a place on Earth."""
    added: int
    replaced: int
    removed: int
    rows: int
    """Detections of scenes that were added or replaced."""


def collect(
    out_uri: str, journal: Journal, scene_ids: Collection[str] | None = None, *, same_pass_s: float | None = None
) -> Collected:
    """Bring the collection of ``out_uri`` to what lies there now; what is in it already costs one comparison.

    ``scene_ids``: look at these scenes alone. ``same_pass_s``: views of one object are no further apart in time; None:
    as before. Raises ConfigError when there never was a result, or with another ``same_pass_s`` than before,
    StorageError when the store fails, or others collect without end.
    """
    rows = 0
    added: set[str] = set()
    replaced: set[str] = set()
    removed: set[str] = set()
    ours: set[str] = set()
    for _ in turns(join(out_uri, CATALOGUE)):
        before = read_mirror(out_uri, journal)
        called = collection_id(out_uri)
        known = versions_of(before.items, called)
        # Looked at after the mirror was read: what others have put into it since lets its exchange fail.
        found = dict(manifests(out_uri, scene_ids))
        asked = known.keys() if scene_ids is None else known.keys() & set(scene_ids)
        told = _told(out_uri, (known.keys() - asked) | found.keys(), journal)
        there = {name: _version(manifest, told.get(name)) for name, manifest in found.items()}
        if before.file is None and not there and scene_ids is None:
            raise no_results(out_uri)
        fresh = {name for name, version in there.items() if known.get(name) != version or name in ours}
        tables = list(_made(out_uri, fresh, called, told, journal))
        made = {name for table in tables for name in versions_of(table, called)}
        gone = (asked - there.keys()) | (known.keys() & (fresh - made))
        rows += _update_detections(out_uri, made, gone, journal, same_pass_s)
        ours |= made  # written once more where the turn is lost: somebody may have written another state since
        added, replaced, removed = added | (made - known.keys()), replaced | (made & known.keys()), removed | gone
        nothing = not made and not gone and before.file is not None
        if nothing or write_mirror(out_uri, exchanged(before.items, tables, gone), before):
            break
    items = write_collection(out_uri, journal)
    _tidy(out_uri, removed - added, set(items["id"].to_pylist()), journal, everything=scene_ids is None)
    return Collected(
        address=join(out_uri, CATALOGUE, COLLECTION), scenes=len(items), placeless=placeless(items), added=len(added),
        replaced=len(replaced - added), removed=len(removed), rows=rows,
    )  # fmt: skip


def _update_detections(
    out_uri: str, made: Collection[str], gone: Collection[str], journal: Journal, same_pass_s: float | None
) -> int:
    """Bring the table of all detections to what these scenes are now; the rows that came."""
    before = read_snapshot(out_uri)
    if same_pass_s is None:
        same_pass_s = SAME_PASS_S if before is None else before[0].same_pass_s
    # Where there is no table, it is younger than the items, or somebody took it away. Another same_pass_s is refused.
    if before is None or same_pass_s != before[0].same_pass_s:
        results = published_results(out_uri)
    elif made or gone:
        results = published_results(out_uri, made)
    else:
        return 0
    done = update(out_uri, results, gone, same_pass_s=same_pass_s)
    for scene_id, reason in done.left_out:
        journal.emit("left_out", f"{scene_id}: its detections are not in the table of all: {reason}", scene_id=scene_id)
    return done.rows


def _told(out_uri: str, present: Collection[str], journal: Journal) -> dict[str, Withdrawal]:
    """Which results count no more, and what each item says of it: a successor only where it is ``present``."""
    told = withdrawn(out_uri, journal.say)
    return {name: one if one.successor in present else replace(one, successor=None) for name, one in told.items()}


def _made(
    out_uri: str, scene_ids: Collection[str], called: str, told: Mapping[str, Withdrawal], journal: Journal
) -> Iterator[Table]:
    """Write the items of these scenes, and their models; yields the items as tables, those of whole results alone."""
    done = 0
    results = published_results(out_uri, scene_ids)
    models: dict[str, dict[str, Any]] = {}
    write = partial(_write_item, out_uri)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(islice(results, AT_ONCE)):
            items = [item for result in batch if (item := _item(result, called, told, models, journal)) is not None]
            list(pool.map(write, items))
            done += len(batch)
            journal.emit("collecting", f"{done} of {len(scene_ids)} items", done=done, total=len(scene_ids))
            if items:
                yield items_table(items)
        for model in models.values():
            _write_model(out_uri, model)


def _item(
    result: Published, called: str, told: Mapping[str, Withdrawal], models: dict[str, dict[str, Any]], journal: Journal
) -> dict[str, Any] | None:  # fmt: skip
    """The item of a result, its model added to ``models``; None, and a sentence, where its record is another's."""
    why = told.get(result.scene_id)
    try:
        item = result_item(
            result.record, result.manifest, placement(result.record), collection_id=called,
            version=_version(result.manifest, why),
        )  # fmt: skip
        if why is not None:
            item = deprecated(item, why.sentence, since=why.since, successor=why.successor)
        model = model_item(result.record)
        to_json(item), to_json(model)  # NaN is none
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        journal.emit(
            "left_out",
            f"{result.scene_id}: its run.json is none that a run writes ({type(error).__name__}: {error}); left out",
            scene_id=result.scene_id,
        )
        return None
    if item["id"] != result.scene_id:
        journal.emit(
            "left_out",
            f"{result.scene_id}: its folder holds the result of {item['id']}; left out: give it that name again",
            scene_id=result.scene_id,
        )
        return None
    acquired = str(result.record["scene"].get("acquired") or "")
    if acquired and span(acquired) is None:
        journal.emit(
            "unknown_time",
            f"{result.scene_id}: {quoted(acquired)} is no time that it can have been taken at, so to filters it is of "
            "unknown time: write 2023-07-14 or 2023-07-14T10:20:30Z",
            scene_id=result.scene_id,
        )
    if _says_more(model, models.get(model["id"])):
        models[model["id"]] = model
    return item


def _version(manifest: Mapping[str, Any], why: Withdrawal | None) -> str:
    """Changes when the item of a result would."""
    said = "" if why is None else f" {why.sentence} {why.since} {why.successor}"
    return hashlib.sha256(f"{ITEM_FORMAT} {manifest_version(manifest)}{said}".encode()).hexdigest()


def _says_more(model: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
    """Whether the item of a model was made of a record that knows more of it: older ones do not know its bands."""
    return other is None or bool(
        model["properties"]["mlm:input"][0]["bands"] and not other["properties"]["mlm:input"][0]["bands"]
    )


def _write_item(out_uri: str, item: Mapping[str, Any]) -> None:
    write_file(join(out_uri, CATALOGUE, ITEMS, f"{item['id']}.json"), to_json(item))


def _write_model(out_uri: str, model: dict[str, Any]) -> None:
    """Unless the one that is there says more."""
    address = join(out_uri, CATALOGUE, MODELS, model_file(model["id"]))
    before, content = read_file(address), to_json(model)
    try:
        poorer = before is not None and _says_more(json.loads(before), model)
    except (ValueError, KeyError, TypeError, IndexError):
        poorer = False
    if before != content and not poorer:
        write_file(address, content)


def _tidy(
    out_uri: str, gone: Collection[str], known: Collection[str], journal: Journal, *, everything: bool
) -> None:  # fmt: skip
    """Remove the items of results that are gone, and with ``everything`` all that no mirror names (``known``).

    Whatever has come back meanwhile gets its item again: another one who collects may just have written it.
    """
    folder = join(out_uri, CATALOGUE, ITEMS)
    out = set(gone)
    if everything:
        out |= {name.removesuffix(".json") for name in file_names(folder) if name.endswith(".json")} - set(known)
    for name in sorted(out):
        remove_file(join(folder, f"{name}.json"))
    back = [name for name, _ in manifests(out_uri, out)] if out else []
    if back:
        told = _told(out_uri, {*known, *back}, journal)
        list(_made(out_uri, back, collection_id(out_uri), told, journal))
