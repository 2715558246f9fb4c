"""A recipe is read whole or refused in a sentence; flags override; what it is does not depend on where it lies."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from pipeline.errors import ConfigError
from pipeline.training.contradictions import NEEDS
from pipeline.training.families import FAMILIES
from pipeline.training.flags import add_fit
from pipeline.training.loop_config import LoopConfig
from pipeline.training.recipe import (
    FLAGS,
    SHIPPED,
    DataConfig,
    Recipe,
    flat,
    overridden,
    read_recipe,
    recipe_file,
    recipe_of,
)

WRITTEN = """\
name: small
seed: 3
data:
  scenes: [prep/a, prep/b:0.4]
  scale_range: [0.5, 2]
  quarter_turns: true
network:
  family: oriented_rtdetr
  width: 32
  stage_channels: [16, 16, 16, 16]
schedule:
  steps: 7
  learning_rate: 1e-3
"""


def file_of(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return str(path)


def test_every_section_becomes_the_settings_it_names(tmp_path: Path) -> None:
    recipe = read_recipe(file_of(tmp_path, WRITTEN), {})
    assert recipe.name == "small"
    assert recipe.data == DataConfig(scenes=("prep/a", "prep/b:0.4"), scale_range=(0.5, 2.0), quarter_turns=True)
    assert recipe.schedule == LoopConfig(seed=3, steps=7, learning_rate=1e-3)
    assert recipe.network.fields == {"width": 32, "stage_channels": (16, 16, 16, 16)}
    assert recipe.family.name == "oriented_rtdetr"


def test_what_is_written_back_is_the_same_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(file_of(tmp_path, WRITTEN), {})
    again = recipe_of(yaml.safe_load(recipe.to_yaml()))
    assert again == recipe
    assert again.sha256() == recipe.sha256()


def test_flags_override_the_file(tmp_path: Path) -> None:
    flags = overridden({"steps": 9, "hold_out": ("x",), "seed": 5, "paste": 0.0, "out": Path("run"), "threads": 2})
    recipe = read_recipe(file_of(tmp_path, WRITTEN), flags)
    assert (recipe.schedule.steps, recipe.schedule.seed, recipe.data.hold_out, recipe.data.paste) == (9, 5, ("x",), 0.0)
    assert recipe.data.scenes == ("prep/a", "prep/b:0.4")


def test_without_a_file_flags_and_defaults_are_a_recipe() -> None:
    assert recipe_of(overridden({})) == recipe_of({})
    assert recipe_of(overridden({"sizes": (64,)})).schedule == LoopConfig(sizes_px=(64,))


def test_every_flag_of_fit_is_of_the_recipe_or_of_the_run() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_fit(parser)
    flags = {action.dest for action in parser._actions} - {"help", "recipe", "out", "threads", "workers"}
    assert flags == set(FLAGS)
    assert set(FLAGS) <= set(flat(Recipe(losses=FAMILIES[0].losses())))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shedule: {steps: 3}", r"shedule is no setting; did you mean schedule\?"),
        ("steps: 3", r"steps is no setting; did you mean schedule\.steps\?"),
        ("schedule: {stpes: 3}", r"schedule\.stpes is no setting; did you mean steps\?"),
        ("schedule: {seed: 3}", "the seed stands beside the sections"),
        ("schedule: {steps: 0}", "schedule: training needs at least one step"),
        ("schedule: {sizes_px: [100]}", "schedule: tile sides must be multiples of 32"),
        ("schedule: {sizes_px: [64, 32], tiles: 1}", "one tile of 32 px is too little to normalise a step by"),
        ("schedule: {sizes_px: []}", "schedule: sizes_px needs at least one side"),
        ("schedule: {mild_share: 2}", "schedule: mild_share lies in 0 to 1"),
        ("schedule: {backbone_rate: -1}", "schedule: backbone_rate lies in 0 to 1"),
        ("schedule: {learning_rate: 0}", "schedule: learning_rate must be above 0"),
        ("schedule: {checkpoint_steps: 0}", "schedule: checkpoint_steps must be above 0"),
        ("schedule: 3", "schedule is a section"),
        (
            "network: {family: oriented_rtdtr}",
            r"network.family 'oriented_rtdtr' is none; did you mean oriented_rtdetr\?",
        ),
        ("network: {widht: 3}", r"network.widht is no setting; did you mean width\?"),
        ("network: {classes: 3}", "how many classes there are the prepared scenes say"),
        ("network: {width: wide}", "network.width must be a whole number, not 'wide'"),
        ("data: {scale_range: [1]}", "data.scale_range must be a list of 2, not of 1"),
        ("data: {scale_range: [0, 1]}", "data: scale_range runs from a number above 0 to one no less, not from 0"),
        ("data: {scale_range: [2, 1]}", "data: scale_range runs from"),
        ("data: {scale_range: [1, .inf]}", "data: scale_range runs from"),
        ("data: {paste: -1}", "data: paste is a number of at least 0, not -1"),
        ("data: {light: .nan}", "data: light is a number of at least 0"),
        ("data: {object_share: 65}", "data: object_share lies in 0 to 1, not 65"),
        ("data: {false_alarm_share: -0.1}", "data: false_alarm_share lies in 0 to 1"),
        ("schedule: {weight_decay: .nan}", "schedule: warmup_steps, validate_steps and weight_decay are not below 0"),
        ("seed: x", "schedule.seed must be a whole number"),
        ("- a", "holds no settings"),
        ("a: [", "is no YAML"),
        ("", "holds no settings"),
    ],
)
def test_mistakes_are_one_sentence_that_names_file_and_key(text: str, said: str, tmp_path: Path) -> None:
    name = file_of(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_recipe(name, {})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_neither_file_nor_shipped_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no recipe rtdetr-x: neither a file, nor .*rtdetr-baseline"):
        recipe_file("rtdetr-x")
    with pytest.raises(ConfigError, match="there is no recipe"):
        recipe_file("plans/parts")


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_every_shipped_recipe_is_one_and_is_called_like_its_file(name: str) -> None:
    recipe = read_recipe(name, {})
    assert recipe.name == name
    assert recipe.data.scenes == (), "a shipped recipe knows no folder of this machine"


class TestDigest:
    def test_it_is_of_what_is_learnt_and_not_of_place_seed_or_name(self) -> None:
        plain = recipe_of({})
        for same in (
            {"seed": 4},
            {"name": "other"},
            {"data": {"scenes": ["a"], "hold_out": ["b"], "choose": ["c"]}},
            {"schedule": {"steps": LoopConfig().steps}},
            {"network": {"width": 64}},
            {"schedule": {"validate_steps": 5, "validate_scenes": 2, "validate_px": 640, "checkpoint_steps": 7}},
        ):
            assert recipe_of(same).digest() == plain.digest(), same

    @pytest.mark.parametrize(
        "other",
        [{"schedule": {"steps": 3}}, {"data": {"paste": 0}}, {"network": {"width": 32}}, {"network": {"init": "a"}}],
    )
    def test_whatever_else_is_other_makes_another(self, other: dict[str, object]) -> None:
        assert recipe_of(other).digest() != recipe_of({}).digest()


def test_every_setting_of_every_family_has_a_default_and_a_name_of_its_own() -> None:
    """So that a recipe without it is today's network, and no key of a section means two things."""
    for family in FAMILIES:
        for kind in (family.network, family.losses):
            kind()
        assert "family" not in kind.__dataclass_fields__


@pytest.mark.parametrize(
    ("family", "section", "key", "other"),
    [
        ("oriented_rtdetr", "network", "receptive_field", "oriented_fcos"),
        ("oriented_rtdetr", "losses", "aligned_points", "oriented_fcos"),
        ("oriented_fcos", "network", "decoder_layers", "oriented_rtdetr"),
        ("oriented_fcos", "losses", "sample_refinement", "oriented_rtdetr"),
    ],
)
def test_a_setting_of_another_family_names_that_family(family: str, section: str, key: str, other: str) -> None:
    """An adapter without towers, refined samples without a deformable decoder: said, not passed over."""
    said = {"network": {"family": family}, "losses": {}}
    said[section][key] = 1
    with pytest.raises(ConfigError, match=f"{section}.{key} is a setting of {other}, and this recipe trains {family}"):
        recipe_of(said)


def test_all_settings_of_a_section_are_kept_in_the_flat_record() -> None:
    kept = flat(recipe_of({}))
    for field in fields(LoopConfig):
        setting = "seed" if field.name == "seed" else f"schedule.{field.name}"
        assert setting in kept or {v: k for k, v in FLAGS.items()}[setting] in kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"losses": {"eta": [2.0]}}, r"losses\.eta is \[2\.0\], but losses\.sample_refinement is off"),
        ({"losses": {"beta": 0.5}}, r"losses\.beta is 0\.5, but losses\.scale_aligned is off"),
        ({"losses": {"alpha": 0.4}}, r"losses\.alpha is 0\.4, but losses\.better_class_loss is off"),
        ({"losses": {"foreground_weight": 1.0}}, r"foreground_weight is 1\.0, but network\.foreground is off"),
        (
            {"losses": {"reconstruction_weight": 2}},
            r"reconstruction_weight is 2\.0, but network\.reconstruction is off",
        ),
        ({"network": {"reconstruction_threshold": 0.1}}, r"threshold is 0\.1, but network\.reconstruction is off"),
        ({"network": {"reconstruction": "leranable"}}, "network: reconstruction must be none, learnable or official"),
        ({"network": {"backbone": "efficientnet_lite0", "stage_depths": [1]}}, "network: stage_channels and stage_dep"),
        (
            {"network": {"context": True, "stage_channels": [8], "stage_depths": [1]}},
            "network: context needs more than",
        ),
        ({"network": {"stage_depths": [2, 2]}}, "network: stage_channels are of 4 stages, stage_depths of 2"),
        ({"network": {"heads": 3}}, "network: width must be a multiple of heads, not 64 of 3"),
    ],
)
def test_what_would_change_nothing_or_lacks_its_level_is_refused(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        recipe_of(content)


@pytest.mark.parametrize("family", ["oriented_rtdetr", "oriented_fcos"])
def test_tiles_that_the_coarsest_level_does_not_divide_are_refused(family: str) -> None:
    """Five stages have a level of stride 64: 224 px are three cells and a half of it."""
    network = {"family": family, "stage_channels": [8] * 5, "stage_depths": [1] * 5}
    with pytest.raises(ConfigError, match=r"schedule\.sizes_px: 224 is no multiple of 64, the network's"):
        recipe_of({"network": network, "schedule": {"sizes_px": [192, 224]}})
    with pytest.raises(ConfigError, match=r"schedule\.tiles: one tile of 64 px is too little to normalise a step by"):
        recipe_of({"network": network, "schedule": {"sizes_px": [64, 128], "tiles": 1}})
    assert recipe_of({"network": network, "schedule": {"sizes_px": [64, 192]}}).schedule.sizes_px == (64, 192)


def test_a_setting_counts_where_its_part_is_on() -> None:
    losses = {"sample_refinement": True, "eta": [2.0], "foreground_weight": 1, "reconstruction_weight": 2}
    recipe = recipe_of({"losses": losses, "network": {"foreground": True, "reconstruction": "official"}})
    assert recipe.losses.eta == (2.0,)


def test_every_setting_that_needs_a_part_is_one_of_some_family() -> None:
    """So that a field that is renamed does not fall out of the check."""
    known = {
        f"{section}.{key}"
        for family in FAMILIES
        for section in ("network", "losses")
        for key in getattr(family, section).__dataclass_fields__
    }
    assert set(NEEDS) | set(NEEDS.values()) <= known
