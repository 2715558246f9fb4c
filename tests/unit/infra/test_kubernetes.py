"""Manifests as their readers see them: Kubernetes' own schema, KubeRay's fields, Ray's autoscaler, our parsers."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager import config as autoscaler_config

from tests.support.infra import commands, constrained, job_of, nodes_for, objects, pods, ray_jobs, templates

KUBERNETES = "1.37"
RAY_SCHEMA = json.loads((Path(__file__).parent / "kuberay-1.7.0.schema.json").read_text())
OBJECTS, PODS, RAY_JOBS = objects(), pods(), ray_jobs()
IDS: dict[str, Any] = {"ids": lambda value: value if isinstance(value, str) else ""}
UNITS = {"": 1.0, "m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def check(thing: dict[str, Any]) -> None:
    """Raises a ValidationError (of either library) when an object or a pod in it has a field or value of no meaning."""
    if thing["apiVersion"] == "ray.io/v1":
        jsonschema.Draft202012Validator(RAY_SCHEMA).validate(thing)
    else:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    for whose, template in templates(thing):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": whose}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def amount(text: str) -> float:
    """Of a Kubernetes quantity: ``250m``, ``8Gi``."""
    found = re.fullmatch(r"([\d.]+)(\w*)", str(text))
    assert found, f"{text} is no quantity"
    return float(found[1]) * UNITS[found[2]]


@pytest.mark.parametrize(("name", "thing"), OBJECTS, **IDS)
def test_every_object_is_what_its_reader_expects(name: str, thing: dict[str, Any]) -> None:
    check(thing)


def spoilt(thing: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One misspelt or contradictory field at each level of a RayJob."""
    found = {key: copy.deepcopy(thing) for key in ("job", "both ends", "cluster", "group", "head", "pod", "container")}
    job_of(found["job"])["activeDeadlineSecond"] = 1
    job_of(found["both ends"])["deletionStrategy"] = {
        "deletionRules": [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED"}}]
    }
    job_of(found["cluster"])["rayClusterSpec"]["autoscaling"] = True
    job_of(found["group"])["rayClusterSpec"]["workerGroupSpecs"][0]["label"] = {}
    job_of(found["head"])["rayClusterSpec"]["headGroupSpec"]["resources"]["CPU"] = 0  # a text, says the operator
    pod = job_of(found["pod"])["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    pod["nodeSelectors"] = {}
    job_of(found["container"])["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["envfrom"] = []
    return found


@pytest.mark.parametrize("level", ["job", "both ends", "cluster", "group", "head", "pod", "container"])
def test_a_mistake_at_any_level_is_found(level: str) -> None:
    [rayjob] = [thing for name, thing in OBJECTS if name == "rayjob.yaml:RayJob"]
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(spoilt(rayjob)[level])


@pytest.mark.parametrize(("name", "pod"), PODS, **IDS)
def test_every_container_asks_for_no_more_than_it_may_have(name: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= asked.keys() == most.keys()
        for what in asked:
            assert amount(asked[what]) <= amount(most[what]), f"{container['name']}: {what}"
        if gpus := most.get("nvidia.com/gpu"):
            assert gpus == asked["nvidia.com/gpu"]  # what Kubernetes wants of what cannot be shared


@pytest.mark.parametrize(("name", "pod"), PODS, **IDS)
def test_nobody_is_root_and_secrets_are_named_and_not_written(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "env" not in container  # what a pod has beyond the image comes from a Secret, by its name
        assert all(source.keys() == {"secretRef"} for source in container.get("envFrom", ()))
        assert not container["image"].endswith(":latest")
        assert ":" in container["image"]


@pytest.mark.parametrize(("name", "pod"), PODS, **IDS)
def test_shared_memory_is_large_enough_for_ray_and_counts_within_the_limit(name: str, pod: dict[str, Any]) -> None:
    """Ray's object store takes 30 % of the memory unless told otherwise, and a small /dev/shm sends it to the disk."""
    for volume in pod["volumes"]:
        if volume.get("emptyDir", {}).get("medium") == "Memory":
            [limit] = [amount(one["resources"]["limits"]["memory"]) for one in pod["containers"]]
            told = 1e9 if name.endswith(":head") else 0.3 * limit
            assert told <= amount(volume["emptyDir"]["sizeLimit"]) < limit / 2


def derived(job: dict[str, Any]) -> dict[str, Any]:
    """What Ray's autoscaler may start, as it works it out from the RayCluster in the head pod."""
    resource = {"metadata": {"name": "kestrel", "namespace": "default"}, "spec": job["rayClusterSpec"]}
    config: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(resource)
    return config


@pytest.mark.parametrize(("name", "job"), RAY_JOBS, **IDS)
def test_the_head_does_no_work_and_a_cluster_without_scenes_is_the_head_alone(name: str, job: dict[str, Any]) -> None:
    types = derived(job)["available_node_types"]
    head = types.pop("headgroup")
    assert head["resources"]["CPU"] == 0
    assert head["labels"] == {"ray.io/market-type": "on-demand"}
    assert all(one["min_workers"] == 0 for one in types.values())
    for kind, one in types.items():
        assert one["labels"] == {"ray.io/market-type": kind.partition("-")[2]}
        assert bool(one["resources"].get("GPU")) == kind.startswith("gpu-")


@pytest.mark.parametrize(("name", "job"), RAY_JOBS, **IDS)
def test_rays_own_autoscaler_starts_spot_nodes_and_falls_back(name: str, job: dict[str, Any]) -> None:
    config, detector, read = derived(job), {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}
    assert nodes_for(config, detector, 8) == {"gpu-spot": 8}
    assert nodes_for(config, detector, 8, unavailable="gpu-spot") == {"gpu-on-demand": 8}
    assert nodes_for(config, detector, 12) == {"gpu-spot": 8, "gpu-on-demand": 4}
    kinds = derived(job)["available_node_types"]
    if "cpu-spot" in kinds:  # else the GPUs' own cores read
        assert nodes_for(config, read, 8) == {"cpu-spot": 2}
        assert nodes_for(config, read, 8, unavailable="cpu-spot") == {"cpu-on-demand": 2}
    [limit] = job["rayClusterSpec"]["autoscalerOptions"]["env"]
    assert f'"{limit["name"]}"' in inspect.getsource(autoscaler_config), "Ray knows no such variable"
    assert 60 <= int(limit["value"]) < job["preRunningDeadlineSeconds"]


@pytest.mark.parametrize(("name", "job"), RAY_JOBS, **IDS)
def test_every_node_has_the_ray_of_the_constraints_and_every_run_an_end(name: str, job: dict[str, Any]) -> None:
    cluster = job["rayClusterSpec"]
    assert cluster["rayVersion"] == constrained("ray")
    assert job["activeDeadlineSeconds"] > job["preRunningDeadlineSeconds"] > 0
    assert ("deletionStrategy" in job) != job.get("shutdownAfterJobFinishes", False)
    images = {
        container["image"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
        for container in group["template"]["spec"]["containers"]
    }
    assert len(images) == 1, "one image, or nodes may differ in Python or Ray"


def test_both_ways_of_ticking_do_the_same() -> None:
    """They may differ in how the end is tidied up, and in nothing else."""
    jobs = {name: job for name, job in RAY_JOBS if "ingest" in job["entrypoint"]}
    assert len(jobs) == 2
    tidying = ("deletionStrategy", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished")
    one, other = ({key: value for key, value in job.items() if key not in tidying} for job in jobs.values())
    assert one == other


def test_a_tick_ends_by_itself_before_it_is_ended() -> None:
    for where, words in commands():
        if "ingest" in words:
            minutes = float(words[words.index("--max-minutes") + 1])
            limits = [job["activeDeadlineSeconds"] for name, job in RAY_JOBS if name == where] or [90 * 60]
            assert minutes * 60 < limits[0]


def test_ticks_never_run_beside_each_other() -> None:
    things = dict(OBJECTS)
    cron = things["cronjob.yaml:CronJob"]["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert cron["startingDeadlineSeconds"] > 0
    assert "name" in things["cronjob.yaml:RayJob"]["metadata"], "the fixed name is what keeps ticks apart"
    role = things["cronjob.yaml:Role"]["rules"]
    assert role == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "create", "delete"]}]
    account = things["cronjob.yaml:ServiceAccount"]["metadata"]["name"]
    binding = things["cronjob.yaml:RoleBinding"]
    assert binding["roleRef"]["name"] == things["cronjob.yaml:Role"]["metadata"]["name"]
    assert [one["name"] for one in binding["subjects"]] == [account]
    assert cron["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] == account
