"""How many workers a training asks for, and whether a cluster has room for them."""

from __future__ import annotations

import pytest

from pipeline.cluster.training import Group, lacking_resources


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"CPU": 8.0, "GPU": 4.0}, None),
        ({"CPU": 2.0, "GPU": 4.0}, "the cluster has 2 of 8 CPUs that 4 workers take"),
        ({"CPU": 2.0}, "the cluster has 2 of 8 CPUs and 0 of 4 GPUs that 4 workers take"),
    ],
)
def test_what_is_lacking_is_counted_for_the_smallest_group(there: dict[str, float], said: str | None) -> None:
    group = Group(least=4, most=100, threads=2, gpu=True)
    assert lacking_resources(group, there) == said


def test_a_group_on_cpus_takes_no_gpu() -> None:
    assert lacking_resources(Group(least=1, most=1, threads=2, gpu=False), {"CPU": 2.0}) is None
