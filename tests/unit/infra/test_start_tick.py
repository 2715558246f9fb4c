"""The starter of ticks against a server that answers as an API server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.support.infra import INFRA, documents, script

start_tick = script(INFRA / "kubernetes" / "start_tick.py")
[JOB] = [one for one in documents(INFRA / "kubernetes" / "cronjob.yaml") if one["kind"] == "RayJob"]
ROOM = "/apis/ray.io/v1/namespaces/aerial/rayjobs"


class Cluster(ThreadingHTTPServer):
    """Keeps RayJobs by name: no two of one name, none of a stranger; a deleted one is seen once more."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.going: set[str] = set()
        self.asked: list[str] = []
        self.rival = False
        """Somebody else makes the RayJob between our look and our own."""


class Answers(BaseHTTPRequestHandler):
    server: Cluster

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def answer(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        cluster, name = self.server, self.path.removeprefix(ROOM).lstrip("/")
        cluster.asked.append(self.command)
        if self.headers["Authorization"] != "Bearer secret" or not self.path.startswith(ROOM):
            self.answer(403, {"message": "forbidden"})
        elif self.command == "POST":
            name = body["metadata"]["name"]
            if cluster.rival or name in cluster.jobs:
                self.answer(409, {"reason": "AlreadyExists"})
            else:
                cluster.jobs[name] = body
                self.answer(201, body)
        elif name not in cluster.jobs:
            self.answer(404, {"reason": "NotFound"})
        elif self.command == "DELETE":
            cluster.going.add(name)
            self.answer(200, cluster.jobs[name])
        else:
            self.answer(200, cluster.jobs[name])
            if name in cluster.going:
                cluster.going.remove(name)
                del cluster.jobs[name]

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def started(cluster: Cluster, token: str = "secret") -> str:
    address = f"http://127.0.0.1:{cluster.server_port}"
    said: str = start_tick.start(start_tick.Api(address=address, token=token, namespace="aerial"), JOB, pause_s=0.0)
    return said


def test_the_first_tick_is_started_as_it_stands_in_the_manifest(cluster: Cluster) -> None:
    assert started(cluster) == "kestrel-ingest started"
    assert cluster.jobs == {"kestrel-ingest": JOB}


@pytest.mark.parametrize("status", [{}, {"status": {"jobDeploymentStatus": "Running"}}])
def test_a_tick_at_work_is_left_alone(cluster: Cluster, status: dict[str, Any]) -> None:
    cluster.jobs["kestrel-ingest"] = {**JOB, **status}
    assert "still at work" in started(cluster)
    assert cluster.asked == ["GET"]


@pytest.mark.parametrize("status", ["Complete", "Failed"])
def test_a_tick_that_ended_makes_room_for_the_next(cluster: Cluster, status: str) -> None:
    cluster.jobs["kestrel-ingest"] = {**JOB, "status": {"jobDeploymentStatus": status}}
    assert started(cluster) == "kestrel-ingest started"
    assert cluster.jobs == {"kestrel-ingest": JOB}
    assert cluster.asked == ["GET", "DELETE", "GET", "GET", "POST"]


def test_of_two_starters_one_starts(cluster: Cluster) -> None:
    cluster.rival = True
    assert "somebody else" in started(cluster)


def test_an_account_without_the_role_is_refused(cluster: Cluster) -> None:
    with pytest.raises(HTTPError, match="403"):
        started(cluster, token="stranger")


def test_outside_a_cluster_it_says_so_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert start_tick.main(["tick.yaml"]) == 1
    assert capsys.readouterr().err == "error: no tick was started: KeyError('KUBERNETES_SERVICE_HOST')\n"
