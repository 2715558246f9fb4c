"""What stands in ``infra/``: manifests, the pods and commands in them, other people's schemas."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
MANIFESTS = sorted((INFRA / "kubernetes").glob("*.yaml"))
RAY_UP = sorted((INFRA / "ray-up").glob("*.yaml"))
DOCKERFILE = INFRA / "Dockerfile"
SERVICE = INFRA / "systemd" / "kestrel-ingest.service"


def script(path: Path) -> Any:
    """A file of ``infra/`` that is no part of a package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def documents(path: Path) -> list[dict[str, Any]]:
    """Every object of a file, those within its ConfigMaps too."""
    found = list(yaml.safe_load_all(path.read_text()))
    for one in list(found):
        if one["kind"] == "ConfigMap":
            found += [yaml.safe_load(text) for name, text in one["data"].items() if name.endswith(".yaml")]
    return found


def objects() -> list[tuple[str, dict[str, Any]]]:
    """(file and kind, object) of all manifests."""
    return [(f"{path.name}:{one['kind']}", one) for path in MANIFESTS for one in documents(path)]


def job_of(thing: dict[str, Any]) -> dict[str, Any]:
    """The RayJobSpec of a RayJob or a RayCronJob."""
    spec: dict[str, Any] = thing["spec"]
    return spec["jobTemplate"] if thing["kind"] == "RayCronJob" else spec


def ray_jobs() -> list[tuple[str, dict[str, Any]]]:
    """(file and kind, RayJobSpec)."""
    return [(name, job_of(one)) for name, one in objects() if one["apiVersion"] == "ray.io/v1"]


def templates(thing: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(whose, pod template) of an object."""
    if thing["apiVersion"] == "ray.io/v1":
        cluster = job_of(thing)["rayClusterSpec"]
        yield "head", cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield group["groupName"], group["template"]
    elif thing["kind"] == "CronJob":
        yield "starter", thing["spec"]["jobTemplate"]["spec"]["template"]


def pods() -> list[tuple[str, dict[str, Any]]]:
    """(file, kind and whose, pod spec) of all manifests."""
    return [(f"{name}:{whose}", one["spec"]) for name, thing in objects() for whose, one in templates(thing)]


def commands() -> list[tuple[str, list[str]]]:
    """(where, words) of every command of ours that infra starts."""
    found = [(name, job["entrypoint"]) for name, job in ray_jobs()]
    service = SERVICE.read_text().replace("\\\n", " ")
    found += [(SERVICE.name, line) for line in re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)]
    return [(where, shlex.split(line)) for where, line in found]


def nodes_for(
    config: dict[str, Any], needs: dict[str, float], count: int, unavailable: str | None = None
) -> dict[str, int]:
    """Kind → how many nodes Ray's own autoscaler (version 2) starts in an empty cluster for ``count`` times ``needs``.

    ``unavailable``: of this kind none came up a moment ago.
    """
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    autoscaling = AutoscalingConfig(configs=config, skip_content_hash=True)
    request = SchedulingRequest(
        node_type_configs=autoscaling.get_node_type_configs(),
        max_num_nodes=autoscaling.get_max_num_nodes(),
        disable_launch_config_check=True,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(needs)] * count),
        recoverable_resource_availabilities={} if unavailable is None else {unavailable: 0.0},
    )
    answer = ResourceDemandScheduler(None).schedule(request)
    return {one.instance_type: one.count for one in answer.to_launch}


def constrained(package: str) -> str:
    """The version of ``package`` in ``infra/constraints.txt``."""
    lines = (INFRA / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    [version] = [line.partition("==")[2] for line in lines if line.startswith(f"{package.lower()}==")]
    return version


def image_environment() -> dict[str, str]:
    """What the stage of the image that runs has in its environment."""
    running = DOCKERFILE.read_text().partition(" AS base\n")[2].replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", running, re.MULTILINE)
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))
