"""Clusters without Kubernetes: by the schema, the defaults and the parser of commands in Ray's own wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.scripts.scripts import start as ray_start

from tests.support.infra import RAY_UP, nodes_for

AUTOSCALER = Path(ray.__file__).parent / "autoscaler"
SCHEMA = json.loads((AUTOSCALER / "ray-schema.json").read_text())


@pytest.fixture(params=RAY_UP, ids=lambda path: path.stem)
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return found


def test_rays_schema_takes_it_and_no_misspelling(cluster: dict[str, Any]) -> None:
    jsonschema.validate(cluster, SCHEMA)
    for spoilt in ({**cluster, "max_worker": 1}, {**cluster, "head_node_type": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, SCHEMA)


def test_nodes_are_described_in_the_words_of_their_provider(cluster: dict[str, Any]) -> None:
    """``node_config`` goes to the provider unread: its keys are those of Ray's defaults, and these few of the API's."""
    provider = cluster["provider"]["type"]
    defaults = yaml.safe_load((AUTOSCALER / provider / "defaults.yaml").read_text())
    known = {key for one in defaults["available_node_types"].values() for key in one["node_config"]}
    known |= {"aws": {"ImageId", "IamInstanceProfile"}, "gcp": {"serviceAccounts"}}[provider]
    for name, one in cluster["available_node_types"].items():
        assert one["node_config"].keys() <= known, name


def test_spot_comes_first_and_the_head_is_never_spot(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    head = types[cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert not is_spot(head)
    spot, fallback = types["gpu-spot"], types["gpu-on-demand"]
    assert is_spot(spot)
    assert not is_spot(fallback)
    assert spot["priority"] > fallback["priority"]
    assert spot["resources"] == fallback["resources"]
    assert all(one.get("min_workers", 0) == 0 for one in types.values())
    workers = sum(one.get("max_workers", 0) for one in types.values())
    assert cluster["max_workers"] == workers, "of a limit that is lower, some nodes of a kind would never come"


def test_rays_own_autoscaler_starts_spot_nodes_and_falls_back(cluster: dict[str, Any]) -> None:
    needs = {"CPU": 1.0, "GPU": 1.0}
    assert nodes_for(cluster, needs, 8) == {"gpu-spot": 8}
    assert nodes_for(cluster, needs, 8, unavailable="gpu-spot") == {"gpu-on-demand": 8}


def is_spot(node: dict[str, Any]) -> bool:
    """By what the provider is asked for, which must be what the label says."""
    config = node["node_config"]
    market = config.get("InstanceMarketOptions", {}).get("MarketType")
    spot = market == "spot" or any(one.get("preemptible") for one in config.get("scheduling", ()))
    assert node["labels"] == {"ray.io/market-type": "spot" if spot else "on-demand"}
    return spot


def test_ray_start_knows_every_flag(cluster: dict[str, Any]) -> None:
    known = {name for option in ray_start.params for name in option.opts}
    lines = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    flags = [flag for line in lines for flag in re.findall(r"(--[\w-]+)", line)]
    assert "--num-cpus" in flags
    assert set(flags) <= known
