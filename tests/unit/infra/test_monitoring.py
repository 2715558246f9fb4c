"""Alerts and dashboard: every expression parses, every metric and label in it is one that we, or Ray, export."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import ray
import yaml
from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.cluster.metrics import RayExporter
from tests.support.infra import INFRA

RULES, RULES_TEST = INFRA / "prometheus" / "rules.yaml", INFRA / "prometheus" / "rules_test.yaml"
DASHBOARD = json.loads((INFRA / "grafana" / "kestrel.json").read_text())
SUFFIXES = {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_count", "_sum")}
RAYS = {"node_gpus_utilization": ()}
"""Metrics of Ray's own that are shown beside ours."""
EVERYWHERE = {"SessionName", "le"}
"""Labels that Ray, or a histogram, puts on by itself."""


def exported() -> dict[str, set[str]]:
    """Name as Prometheus sees it → its labels."""
    found = {f"ray_{name}": set(EVERYWHERE) for name in RAYS}
    for one in vars(RayExporter()).values():
        for metric in one.values() if isinstance(one, dict) else [one]:
            for suffix in SUFFIXES[type(metric)]:
                found[f"ray_{metric.info['name']}{suffix}"] = {*metric.info["tag_keys"], *EVERYWHERE}
    return found


EXPORTED = exported()


def rules() -> list[tuple[str, str]]:
    """(alert, expression)."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def panels() -> list[tuple[str, str]]:
    """(panel, expression)."""
    return [(panel["title"], one["expr"]) for panel in DASHBOARD["panels"] for one in panel.get("targets", ())]


def nodes(expression: str) -> Iterator[Any]:
    """Every node of its tree."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), lambda node: found.append(node) or True)
    return iter(found)


def unknown(expression: str) -> list[str]:
    """Metrics in it that nobody exports, and labels that they do not have."""
    wrong = []
    known = set(EVERYWHERE)
    for node in nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            labels = EXPORTED.get(node.name)
            if labels is None:
                wrong.append(node.name)
                continue
            known |= labels
            wrong += [f"{node.name}{{{one.name}}}" for one in node.matchers.matchers if one.name not in labels]
    for node in nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            wrong += [f"by ({label})" for label in node.modifier.labels if label not in known]
    return wrong


@pytest.mark.parametrize(("where", "expression"), [*rules(), *panels()])
def test_every_expression_speaks_of_what_is_exported(where: str, expression: str) -> None:
    assert not unknown(expression)


def test_a_misspelt_metric_or_label_would_be_found() -> None:
    assert unknown("rate(ray_kestrel_tiles_failed[5m])") == ["ray_kestrel_tiles_failed"]  # a counter ends in _total
    assert unknown('sum by (stage) (ray_kestrel_blocks{state="todo"})') == ["ray_kestrel_blocks{state}", "by (stage)"]
    with pytest.raises(ValueError, match=r"unclosed|unexpected|expected|end of"):
        unknown("sum(ray_kestrel_blocks")


def test_rays_own_metrics_are_still_called_so() -> None:
    agent = (Path(ray.__file__).parent / "dashboard" / "modules" / "reporter" / "reporter_agent.py").read_text()
    for name in RAYS:
        assert f'"{name}"' in agent


def test_every_alert_says_what_and_what_to_do_and_is_tested() -> None:
    tested = {
        check["alertname"]
        for one in yaml.safe_load(RULES_TEST.read_text())["tests"]
        for check in one["alert_rule_test"]
        if check["exp_alerts"]
    }
    groups = yaml.safe_load(RULES.read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["alert"] in tested, "no test lets it ring"


def test_prometheus_itself_takes_the_rules_and_they_ring_when_they_should() -> None:
    """Where promtool is; elsewhere the parser above has read every expression, and nobody has run them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's prometheus) is not here")
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(RULES_TEST)]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, cwd=INFRA)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_lays_out() -> None:
    """Ids apart, nothing over anything else, no wider than the grid's 24 columns, a unit on everything."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
