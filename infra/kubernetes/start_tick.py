"""Start a tick of ingestion, unless the last one is still at work: ``start_tick.py RAYJOB.yaml``, run by a CronJob.

The RayJob has a fixed name, and an API server makes no second object of one name: so there is never more than one tick
of a feed, whoever starts it, and after an outage there is one and not as many as were missed. (Two ticks at once would
be harmless to the results; they would cost a second cluster.) What ended is taken away first: its record lies in the
store, in ``_runs/`` and ``_ledger/``.

Standard library and PyYAML, which the image has; a pod with kubectl would be another image to keep.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ENDED = ("Complete", "Failed", "ValidationFailed")
"""``status.jobDeploymentStatus`` of a RayJob that will not go on."""
GONE_S = 120.0
"""How long the last tick may take to go away, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API server, and who we are to it."""

    address: str
    token: str
    namespace: str
    trust: ssl.SSLContext | None = None

    def ask(self, method: str, name: str = "", body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """What it answers of RayJobs, or of the one of that name; None when there is none (404)."""
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs" + (f"/{name}" if name else "")
        request = Request(  # noqa: S310 - the address is the cluster's own
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=30, context=self.trust) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except HTTPError as error:
            if error.code == 404 and method != "POST":
                return None
            raise


def start(api: Api, job: dict[str, Any], pause_s: float = 2.0) -> str:
    """Make the RayJob, unless one of its name is at work; what was done, in a sentence."""
    name = job["metadata"]["name"]
    last = api.ask("GET", name)
    if last is not None:
        status = last.get("status", {}).get("jobDeploymentStatus", "New")
        if status not in ENDED:
            return f"{name} is still at work ({status}): nothing started"
        api.ask("DELETE", name, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"})
        until = time.monotonic() + GONE_S
        while api.ask("GET", name) is not None:
            if time.monotonic() > until:
                raise TimeoutError(f"{name} has ended and does not go away; look at its finalizers")
            time.sleep(pause_s)
    try:
        api.ask("POST", body=job)
    except HTTPError as error:
        if error.code != 409:
            raise
        return f"{name} was started by somebody else a moment ago: nothing started"
    return f"{name} started"


def main(argv: list[str]) -> int:
    """Start what the file describes, in the pod's own cluster and namespace; 1 with a sentence when it cannot be."""
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        api = Api(
            address=f"https://{host}:{port}",
            token=(ACCOUNT / "token").read_text().strip(),
            namespace=(ACCOUNT / "namespace").read_text().strip(),
            trust=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")),
        )
        print(start(api, yaml.safe_load(Path(argv[0]).read_text())))
    except HTTPError as error:
        print(f"error: the API server refused: {error.code} {error.read().decode(errors='replace')}", file=sys.stderr)
        return 1
    except (KeyError, OSError, URLError, TimeoutError) as error:
        print(f"error: no tick was started: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
