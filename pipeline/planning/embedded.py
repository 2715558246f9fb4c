"""Which of the embedded detectors suit a scene's bands, and which one to choose where several do. Cards only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.detectors.loading import read_model_card
from pipeline.detectors.weights import BUILTIN, builtin_folder, builtin_names
from pipeline.names import listed
from pipeline.types import ModelCard, Scene
from pipeline.types.cards import RGB


def embedded_cards() -> dict[str, ModelCard]:
    """What ``--weights`` calls an embedded detector → its card."""
    return {f"{BUILTIN}{name}": read_model_card(builtin_folder(name)) for name in builtin_names()}


def suits(card: ModelCard, band_names: Sequence[str]) -> bool:
    """Whether a scene holds the bands of ``card``, by what it calls them (nothing where it does not say).

    Where the file says nothing of any, as many bands as the model's will do, and for colours any three or more.
    """
    if set(card.bands) <= set(band_names):
        return True
    silent = not any(band_names)
    return silent and (len(band_names) >= 3 if card.bands == RGB else len(band_names) == len(card.bands))


def choices(band_names: Sequence[str], cards: Mapping[str, ModelCard]) -> Iterator[str]:
    """One sentence for each embedded detector: whether it suits a scene of these bands; then which to choose."""
    held = listed(f"{number} {name or '(unnamed)'}" for number, name in enumerate(band_names, 1))
    fitting = {name: card for name, card in cards.items() if suits(card, band_names)}
    for name, card in cards.items():
        verdict = "suits this scene" if name in fitting else f"does not suit: the scene's bands are {held}"
        yield f"{name} looks at {listed(card.bands)} and {verdict}"
    found = {name: figure for name, card in fitting.items() if (figure := validation_ap50(card)) is not None}
    if len(found) > 1:
        best = max(found, key=lambda name: found[name])
        others = listed(f"{name} {figure:.2f}" for name, figure in found.items() if name != best)
        yield f"choose --weights {best}: it found most on validation scenes (AP50 {found[best]:.2f}; {others})"


def validation_ap50(card: ModelCard) -> float | None:
    """AP50 on the scenes that no training and no choice has seen, where the card says it."""
    part = card.metrics.get("val")
    figure = part.get("ap50") if isinstance(part, dict) else None
    return float(figure) if isinstance(figure, int | float) else None


def advice(band_names: Sequence[str], cards: Mapping[str, ModelCard]) -> str:
    """What to choose for a scene that the detector at hand does not suit."""
    fitting = [f"--weights {name} ({listed(card.bands)})" for name, card in cards.items() if suits(card, band_names)]
    if fitting:
        return f"of the embedded detectors, these suit the scene: {listed(fitting)}"
    return f"of the embedded detectors ({listed(cards)}) none suits the scene"


def band_warnings(scene: Scene, card: ModelCard) -> Iterator[str]:
    """What is to be said of the bands that the model is shown, and what to choose instead."""
    if len(scene.bands) < len(card.bands):
        yield (
            f"{len(scene.bands)} band(s) are read but the model knows {len(card.bands)} ({listed(card.bands)}): "
            "bands are repeated, and scores will suffer; choose others with raster.bands"
        )
    elif len(set(scene.bands)) < len(scene.bands) and len(scene.uris) == 1 and not scene.palette:
        said = f"bands {scene.bands} repeat one another: a grey scene is shown to a model trained on colour"
        cards = {name: one for name, one in embedded_cards().items() if suits(one, scene.band_names)}
        yield f"{said}; {advice(scene.band_names, cards)}" if cards else said
