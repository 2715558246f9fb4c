"""A recipe: everything that defines a training, as one value, read from one YAML file and written to one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.detectors.checkpoint import CONFIG
from pipeline.detectors.modules.features import EFFICIENTNET_LITE0
from pipeline.errors import ConfigError, one_sentence
from pipeline.names import listed, shown
from pipeline.training.contradictions import check_tiles, check_together
from pipeline.training.data.augment import AugmentConfig
from pipeline.training.families import FAMILIES, Family, family_in, family_of
from pipeline.training.loop_config import LoopConfig
from pipeline.training.sections import defaults, make, typed, unknown_key

SHIPPED = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with the package; a plan or ``--recipe`` names them without it."""
SECTIONS = ("data", "network", "losses", "schedule")
_CHOSEN = ("family", "init", "pretrained")
"""Of ``network``: what is no field of its configuration."""
_PLACES = (*_CHOSEN, "false_alarms")
"""Settings whose value is a file or a folder, on whatever machine: its name counts, not where it lies."""
_NOT_LEARNT = {
    "data": ("scenes", "hold_out", "choose"),
    "schedule": ("device", "checkpoint_steps", "validate_steps", "validate_scenes", "validate_px"),
}
"""Where scenes lie, and how a run is watched: not what is learnt, nor how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(AugmentConfig):
    """What is learnt from, and how tiles of it are drawn."""

    scenes: tuple[str, ...] = ()
    """Folders of prepared scenes, each with its share of the tiles: ``FOLDER[:SHARE]``."""
    hold_out: tuple[str, ...] = ()
    """Names of scenes of these folders that are not trained on."""
    choose: tuple[str, ...] = ()
    """Folders of prepared scenes that are not trained on; with those held out they choose the best checkpoint."""
    false_alarms: str | None = None
    """File of places that ``mine`` found: tiles are drawn there more often."""
    classes: int | None = None
    """How many, for scenes that do not name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """Which network is trained, and from which weights."""

    family: str = "oriented_rtdetr"
    init: str | None = None
    """Folder of a checkpoint whose weights, and fields not in ``fields``, it starts from."""
    pretrained: str | None = None
    """Folder of ImageNet weights of the backbone, which is EfficientNet-Lite0 then."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the family's network configuration that are other than ``init``'s, or than the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that defines a training."""

    name: str = "unnamed"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkChoice = field(default_factory=NetworkChoice)
    losses: Any = None
    """The losses' settings of the network's family."""
    schedule: LoopConfig = field(default_factory=LoopConfig)
    """With the seed."""

    @property
    def family(self) -> Family:
        return family_of(self.network.family)

    def to_mapping(self) -> dict[str, Any]:
        """What a file says that makes this recipe, every setting written out."""
        schedule = asdict(self.schedule)
        seed = schedule.pop("seed")
        chosen = self.network
        network = {"family": chosen.family, "init": chosen.init, "pretrained": chosen.pretrained, **chosen.fields}
        losses = asdict(self.losses) if self.losses is not None else {}
        whole = {"name": self.name, "seed": seed, "data": asdict(self.data), "network": network}
        return dict(_listed({**whole, "losses": losses, "schedule": schedule}))

    def to_yaml(self) -> str:
        """The file of :meth:`to_mapping`; the same recipe is the same text."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True)

    def sha256(self) -> str:
        """SHA-256 (hex) of the file."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 (hex) over what it says other than the defaults; name, seed, where scenes lie and how a run
        is watched do not count.

        So a setting that later versions add does not make another recipe of it, and one on another machine is the same.
        """
        family = self.family
        plain = {
            "data": defaults(DataConfig),
            "network": {**defaults(family.network), "init": None, "pretrained": None},
            "losses": defaults(family.losses),
            "schedule": defaults(LoopConfig),
        }
        said: dict[str, Any] = self.to_mapping()
        own = {
            section: {
                key: Path(value).name if key in _PLACES and value else value
                for key, value in said[section].items()
                if key not in _NOT_LEARNT.get(section, ())
                and (key not in plain[section] or _listed(plain[section][key]) != value)
            }
            for section in SECTIONS
        }
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def read_recipe(name: str, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of a file, or the shipped one of that name, with ``overrides``. Raises ConfigError: see
    :func:`recipe_of`."""
    path = recipe_file(name)
    try:
        return recipe_of(merged(read_yaml(path), overrides))
    except ConfigError as error:
        raise ConfigError(f"{shown(str(path))}: {error}") from error


def recipe_file(name: str) -> Path:
    """The file of that name, else the shipped recipe. Raises ConfigError when there is neither."""
    path = Path(name)
    shipped = SHIPPED / f"{name}.yaml"
    if path.is_file():
        return path
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    known = sorted(one.stem for one in SHIPPED.glob("*.yaml"))
    raise ConfigError(f"there is no recipe {shown(name)}: neither a file, nor one that is shipped ({', '.join(known)})")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds. Raises ConfigError for anything else."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {shown(str(path))}: {one_sentence(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown(str(path))} is no YAML: {one_sentence(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{shown(str(path))} holds no settings (key: value), but {type(content).__name__}")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with what ``above`` says instead; sections (mappings) are merged key by key."""
    out = dict(below)
    for key, value in above.items():
        own = out.get(key)
        out[key] = merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return out


def recipe_of(content: Mapping[str, Any]) -> Recipe:
    """The recipe that a mapping of ``name``, ``seed`` and SECTIONS describes; what it leaves out is the default.

    Raises ConfigError, naming section and key, for a key that is no setting (with the nearest one), for one that
    belongs to another family, for a value of another kind, and for settings that contradict each other.
    """
    top = ("name", "seed", *SECTIONS)
    for key in content:
        if key not in top:
            raise unknown_key(key, [*top, *(f"{s}.{k}" for s in SECTIONS for k in _keys(s))], "")
    given = {section: _section(content, section) for section in SECTIONS}
    schedule = given["schedule"]
    if "seed" in schedule:
        raise ConfigError("schedule.seed: the seed stands beside the sections, as seed")
    if "seed" in content:
        schedule = {**schedule, "seed": content["seed"]}
    network = dict(given["network"])
    asked = {key: network.pop(key) for key in tuple(network) if key in _CHOSEN}
    choice = typed(NetworkChoice, asked, "network")
    family = family_of(choice.setdefault("family", _family_of_init(choice.get("init"))))
    if family.from_init and choice.get("init") is None:
        raise ConfigError(
            f"network.init: {family.name} starts from a checkpoint: give --init and its folder, or its name on the hub"
        )
    fields = _network_fields(family, network)
    if choice.get("pretrained") is not None and choice.get("init") is None:
        fields = {"backbone": EFFICIENTNET_LITE0, **fields}
    losses = make(family.losses, _of_family(family, "losses", given["losses"]), "losses")
    loop = make(LoopConfig, typed(LoopConfig, schedule, "schedule"), "schedule")
    if choice.get("init") is None:  # else the rest of the network is known only when it is read
        built = make(family.network, fields, "network")
        check_together(built, losses)
        check_tiles(built, loop.sizes_px, loop.tiles)
    return Recipe(
        name=str(content.get("name", Recipe().name)),
        data=make(DataConfig, typed(DataConfig, given["data"], "data"), "data"),
        network=NetworkChoice(**choice, fields=fields),
        losses=losses,
        schedule=loop,
    )


def _family_of_init(init: str | None) -> str:
    """The family that is trained where nothing says another: of the weights it starts from, where they are here."""
    if init is not None and (Path(init) / CONFIG).is_file():
        return family_in(Path(init)).name
    return NetworkChoice().family


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{name} is a section, with settings below it")
    return dict(section)


def _network_fields(family: Family, given: Mapping[str, Any]) -> dict[str, Any]:
    if "classes" in given:
        raise ConfigError("network.classes: how many classes there are the prepared scenes say (or data.classes)")
    if theirs := [key for key in given if key in family.from_init]:
        raise ConfigError(f"network.{theirs[0]}: the checkpoint of network.init says it")
    return _of_family(family, "network", given)


def _of_family(family: Family, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a section that every family has of its own. Raises ConfigError, also naming another family."""
    kind = getattr(family, section)
    own = kind.__dataclass_fields__
    for key in given:
        others = [one.name for one in FAMILIES if key in getattr(one, section).__dataclass_fields__]
        if key not in own and others:
            raise ConfigError(
                f"{section}.{key} is a setting of {listed(others)}, and this recipe trains {family.name}: leave "
                f"it out, or set network.family to {others[0]}"
            )
    return typed(kind, given, section)


def _keys(section: str) -> list[str]:
    kinds: dict[str, list[Any]] = {
        "data": [DataConfig],
        "network": [one.network for one in FAMILIES],
        "losses": [one.losses for one in FAMILIES],
        "schedule": [LoopConfig],
    }
    return [key for kind in kinds[section] for key in kind.__dataclass_fields__]


FLAGS = {
    "scenes": "data.scenes", "hold_out": "data.hold_out", "choose": "data.choose", "family": "network.family",
    "init": "network.init", "pretrained": "network.pretrained",
    "classes": "data.classes", "steps": "schedule.steps", "tiles": "schedule.tiles", "sizes": "schedule.sizes_px",
    "learning_rate": "schedule.learning_rate", "paste": "data.paste",
    "false_alarms": "data.false_alarms", "scale_range": "data.scale_range",
    "quarter_turns": "data.quarter_turns", "light": "data.light", "seed": "seed", "device": "schedule.device",
    "checkpoint_steps": "schedule.checkpoint_steps", "validate_steps": "schedule.validate_steps",
    "validate_scenes": "schedule.validate_scenes",
}  # fmt: skip
"""Flag of ``fit`` → the setting of a recipe that it overrides."""


def overridden(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says that says what ``flags`` (of FLAGS; others are passed over) say."""
    said: dict[str, Any] = {}
    for flag, value in flags.items():
        section, _, key = FLAGS.get(flag, "").rpartition(".")
        if key:
            said = merged(said, {section: {key: value}} if section else {key: value})
    return dict(_listed(said))


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every setting of a recipe: by its flag where there is one, else ``section.key``."""
    said = recipe.to_mapping()
    flags = {setting: flag for flag, setting in FLAGS.items()}
    dotted = {"seed": said["seed"]} | {f"{s}.{key}": value for s in SECTIONS for key, value in said[s].items()}
    return {flags.get(key, key): value for key, value in dotted.items()}


def _listed(value: Any) -> Any:
    """Tuples as lists, all the way down: what YAML and JSON know."""
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value
