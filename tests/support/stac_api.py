"""A STAC API on the loopback interface, with what real ones do: pages that shift and repeat, busy answers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CONFORMS = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "https://api.stacspec.org/v1.0.0/item-search#query",
)


@dataclass
class Api:
    """Its items, which a test may change while it is read, and what it was asked."""

    items: list[dict[str, Any]]
    url: str = ""
    conforms: tuple[str, ...] = CONFORMS
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of searches in order of arrival."""
    busy: int = 0
    """So many of the next answers are 429, with Retry-After."""
    refuses: int | None = None
    """Status of every search."""
    before_page: Callable[[int], None] = lambda _: None
    """Called before the page of that number (from 0, over all searches) is made."""

    odd: Callable[[int, Any], Any] = lambda number, page: page
    """What becomes of the page of a number, from 0, over all searches."""

    def page(self, question: dict[str, Any]) -> dict[str, Any]:
        """By offset, as APIs do whose pages shift."""
        self.before_page(len(self.asked))
        self.asked.append(question)
        found = [one for one in self.items if self._wanted(one, question)]
        if question.get("sortby"):
            found.sort(key=lambda one: str(one.get("properties", {}).get("updated", "")))
        start, count = int(question.get("token", 0)), int(question.get("limit", 10))
        links = []
        if start + count < len(found):
            body = {**question, "token": start + count}
            links = [{"rel": "next", "href": f"{self.url}/search", "method": "POST", "body": body}]
        return {"type": "FeatureCollection", "features": found[start : start + count], "links": links}

    def _wanted(self, one: dict[str, Any], question: dict[str, Any]) -> bool:
        properties = one.get("properties") or {}
        changed = question.get("query", {}).get("updated", {}).get("gte", "")
        west, south, east, north = question.get("bbox", (-180, -90, 180, 90))
        box = one.get("bbox") or (west, south, east, north)
        return (
            one.get("collection") in question.get("collections", [one.get("collection")])
            and str(properties.get("updated", "9")) >= changed
            and (box[0] <= east and box[2] >= west and box[1] <= north and box[3] >= south)
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.rstrip("/") == "":
            links = [{"rel": rel, "href": f"{self.api.url}{path}"} for rel, path in (("self", "/"), ("root", "/"))]
            links.append({"rel": "search", "href": f"{self.api.url}/search", "type": "application/geo+json"})
            self._answer(200, {"type": "Catalog", "id": "api", "description": "a", "stac_version": "1.0.0",
                               "conformsTo": list(self.api.conforms), "links": links})  # fmt: skip
        else:
            self._search(dict(parse_qsl(parts.query)))

    def do_POST(self) -> None:
        self._search(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _search(self, question: dict[str, Any]) -> None:
        if self.api.busy:
            self.api.busy -= 1
            self._answer(429, {"description": "slow down"}, {"Retry-After": "0"})
        elif self.api.refuses is not None:
            self._answer(self.api.refuses, {"description": "no such collection"})
        else:
            page = self.api.page(question)
            self._answer(200, self.api.odd(len(self.api.asked) - 1, page))

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)),
                            **(headers or {})}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests read what was asked, not a log."""


@contextlib.contextmanager
def stac_api(items: list[dict[str, Any]], **how: Any) -> Iterator[Api]:
    """Serve the items."""
    api = Api(items=items, **how)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
