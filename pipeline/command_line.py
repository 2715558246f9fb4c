"""Command line and config file ↔ :class:`~pipeline.config.RunConfig`. jsonargparse's only home.

The dataclasses say everything; here are only the few lines around the library that people expect: scenes without a
flag, lists without brackets (``--scene a.tif b.tif``), ``--dry-run``, a first screen of help that fits a screen, and
errors in one sentence that name the nearest key.
"""

from __future__ import annotations

import itertools
import json
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from pipeline import __version__
from pipeline.config import RunConfig
from pipeline.config.checks import RenamedSetting
from pipeline.errors import ConfigError, redacted
from pipeline.names import brief, near_names, quoted, shown
from pipeline.reporting.journal import to_stderr

VERSION = f"kestrel {__version__}"
LISTS = {"scene", "output.meta", "raster.bands", "raster.stretch_range", "raster.mask_values"}
"""Keys that take several values after one flag."""
ALIASES = {"dry-run": "dry_run", "scene-id": "scene_id", "meta": "output.meta", "from": "start_from"}
SWITCHES = ("dry_run", "force", "clean")
"""Keys that may stand alone."""
YES_OR_NO = ("true", "false", "yes", "no", "on", "off")
"""What may follow them."""
COMMON = (
    "scene",
    "out",
    "weights",
    "config",
    "aoi",
    "executor",
    "dry_run",
    "start_from",
    "force",
    "log",
    "raster.bands",
    "tiling.gsd",
    "tiling.global_factor",
    "refine.budget",
    "detector.score_threshold",
    "cluster.workers",
    "output.meta",
)
"""Keys on the first screen of help."""
EXAMPLES = """\
examples:
  {prog} harbour.tif --out results
  {prog} a.tif folder/ 's3://bucket/2026-*/**/*.tif' @list.txt --out s3://bucket/detections
  {prog} B04.jp2,B03.jp2,B02.jp2 --out results --meta sensor=Sentinel-2
  {prog} --scene harbour.tif --out results --dry-run
  ray job submit --address http://HOST:8265 --working-dir . -- python jobs/detect_scene.py --scene URI --out URI

exit codes: 0 all scenes published, 2 configuration, 3 scene, 4 model, 5 storage, 6 cluster,
            7 more failed tiles than output.max_failed_tiles allows"""


def parse_run(argv: Sequence[str], prog: str, warn: Callable[[str], None] | None = None) -> RunConfig | str:
    """The run that ``argv`` asks for, or a text to print (help, ``--print_config``) instead of running.

    Values on the command line win over those of ``--config FILE``. ``warn`` is told of settings that were given as an
    earlier version had them, once each; by default on stderr. Raises ConfigError in one sentence.
    """
    parser = _parser(prog)
    if "--version" in argv:
        return VERSION
    if "--help" in argv or "-h" in argv:
        return _help_text(parser, prog, everything="all" in argv)
    print_config = "--print_config" in argv
    arguments = list(_expanded([argument for argument in argv if argument != "--print_config"]))
    _check_flags(arguments)
    try:
        namespace = parser.parse_args(arguments)
        if print_config:
            return redacted(str(parser.dump(namespace)))  # an address may hold a signature, and this is kept
        with _renamed_told(warn or (lambda sentence: to_stderr(f"warning: {sentence}"))):
            values = vars(parser.instantiate(namespace))
    except (ArgumentError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(_told(error)) from error
    values.pop("config", None)
    return RunConfig(**values)


def run_from(values: Mapping[str, Any], prog: str = "kestrel") -> RunConfig:
    """The run of dotted keys with their values, as of a config file. Raises ConfigError in one sentence."""
    keys, nested = list(known_keys()), dict[str, Any]()
    for key, value in values.items():
        if key not in keys:
            raise ConfigError(_unknown(f"key {quoted(key)}", key, keys))
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    parser = _parser(prog)
    try:
        read = vars(parser.instantiate(parser.parse_object(nested)))
    except (ArgumentError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(_told(error)) from error
    read.pop("config", None)
    return RunConfig(**read)


@contextmanager
def _renamed_told(warn: Callable[[str], None]) -> Iterator[None]:
    """Inside, what a setting says of its name goes to ``warn``, at the end and once; other warnings go their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RenamedSetting)
        yield
    for sentence in dict.fromkeys(str(one.message) for one in caught if one.category is RenamedSetting):
        warn(sentence)
    for one in caught:
        if one.category is not RenamedSetting:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether ``argv`` asks for ``--log json``; known before, and whether or not, the rest of it makes sense."""
    return "--log=json" in argv or ("--log", "json") in itertools.pairwise(argv)


def known_keys(config: type[Any] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Every key of a run, dotted: ``scene``, ``raster.bands``, …"""
    hints = get_type_hints(config)
    for one in fields(config):
        if is_dataclass(hints[one.name]):
            yield from known_keys(hints[one.name], f"{prefix}{one.name}.")
        else:
            yield prefix + one.name


def _parser(prog: str) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=prog, exit_on_error=False, default_env=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these keys; see --print_config.")
    parser.add_class_arguments(RunConfig, None)
    return parser


def _expanded(argv: Sequence[str]) -> Iterator[str]:
    """Aliases spelled out, flags without a value given one, and lists gathered into the JSON that the library reads.

    Scenes may stand without a flag, wherever no value of another one is due.
    """
    rest, scenes, facts = list(argv), list[str](), list[str]()
    while rest:
        token = rest.pop(0)
        name, equals, value = token.removeprefix("--").partition("=")
        key = ALIASES.get(name, name)
        if not token.startswith("-"):
            scenes.append(token)
        elif key in LISTS and token.startswith("--"):
            values = [value] if equals else []
            while rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            if key == "scene" and values:
                scenes += _from_list(values)
            elif key == "output.meta" and values:  # said once for each fact, none may be lost
                facts += _from_list(values)
            else:
                yield f"--{key}={_as_list(key, values)}"
        elif equals or not token.startswith("--"):
            yield token.replace(name, key, 1)
        else:
            yield f"--{key}{_value_of(key, rest)}"
    if facts:
        yield f"--output.meta={json.dumps(facts)}"
    if scenes:
        yield f"--scene={json.dumps(scenes)}"  # last: it wins over that of a config file


def _value_of(key: str, rest: list[str]) -> str:
    """What follows the flag ``key``, taken off ``rest``, after an equals sign: a western longitude is no flag then."""
    if key in SWITCHES and (not rest or rest[0].lower() not in YES_OR_NO):
        return "=true"
    return f"={rest.pop(0)}" if rest and not rest[0].startswith("--") else ""


def _from_list(values: list[str]) -> list[str]:
    """The values; or, where there is but one and it is a list of YAML or JSON, those in it."""
    if len(values) == 1 and values[0].startswith("[") and values[0].endswith("]"):
        try:
            content = yaml.safe_load(values[0])
        except yaml.YAMLError:
            return values
        if isinstance(content, list):
            return [str(one) for one in content]
    return values


def _as_list(key: str, values: list[str]) -> str:
    if len(values) == 1 and values[0].startswith("["):
        return values[0]
    if key in ("scene", "output.meta"):
        return json.dumps(values)
    return "[" + ",".join(values) + "]"


def _check_flags(arguments: Sequence[str]) -> None:
    """Every flag, and every key of a config file, is one we know."""
    keys = [*known_keys(), "config"]
    for position, argument in enumerate(arguments):
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            continue
        if name not in keys:
            raise ConfigError(_unknown(f"--{brief(name)}", name, keys))
        if name == "config":
            _check_file(value if equals else (arguments[position + 1] if position + 1 < len(arguments) else ""), keys)


def _check_file(name: str, keys: list[str]) -> None:
    try:
        content = yaml.safe_load(Path(name).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the config file {shown(name)}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"the config file {shown(name)} is not valid YAML: {shown(' '.join(str(error).split()))}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"the config file {shown(name)} must hold keys and values; --print_config shows one")
    for key in _flat(content):
        if key not in keys:
            raise ConfigError(_unknown(f"key {quoted(key)} in {shown(name)}", key, keys))


def _flat(content: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _unknown(what: str, key: str, keys: list[str]) -> str:
    near = near_names(key, keys)
    hint = f"did you mean {' or '.join(near)}?" if near else "--help all lists every key"
    return f"unknown {what}; {hint}"


def _told(error: Exception) -> str:
    """What the library says of a bad value, on one line."""
    text = " ".join(str(error).split())
    return text[:400]


def _help_text(parser: ArgumentParser, prog: str, *, everything: bool) -> str:
    examples = EXAMPLES.format(prog=prog)
    if everything:
        return f"{parser.format_help()}\n{examples}"
    actions = {action.dest: action for action in parser._actions}
    lines = [f"usage: {prog} SCENE [SCENE ...] --out URI [options]", ""]
    lines += ["Find small oriented objects in large georeferenced scenes.", "", "options:"]
    for key in COMMON:
        text = " ".join(str(actions[key].help).split()).replace("%%", "%").replace("``", "")
        default = actions[key].default
        if default not in (None, "", (), False) and key != "config":
            text += f" (default: {default})"
        shown = f"--{ {v: k for k, v in ALIASES.items()}.get(key, key) }"
        lines += textwrap.wrap(f"{shown:<27}{text}", 100, initial_indent="  ", subsequent_indent=" " * 29)
    lines += ["", "--help all lists every key with its unit; --print_config writes a config file to start from.", ""]
    return "\n".join(lines) + examples
