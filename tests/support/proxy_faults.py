"""What can happen to requests that cross the fault proxy, and what crossed it. See :mod:`tests.support.fault_proxy`."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What can happen to one request."""

    BUSY = "busy"
    """Answered 503 SlowDown, as S3 does; the server never hears of it."""
    CUT_ANSWER = "cut answer"
    """The connection ends in the middle of the answer's body (before the answer, when it has none)."""
    CUT_UPLOAD = "cut upload"
    """The connection ends in the middle of the request's body; the server, which keeps whole objects, keeps nothing."""
    LOST_ANSWER = "lost answer"
    """The server did what was asked, and the connection ends before its answer."""
    DELAY = "delay"
    """All is well, ``delay_s`` later."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Which requests fail, and how; the others pass."""

    script: Mapping[int, Fault] = field(default_factory=dict)
    """Fault of the n-th request concerned, counted from 0 since these faults were set."""
    shares: Mapping[Fault, float] = field(default_factory=dict)
    """Of the requests concerned that the script leaves alone: the share that meets each fault. Sum at most 1."""
    seed: int = 0
    """Of the draw by those shares: the same seed fails the same ordinals."""
    methods: frozenset[str] = frozenset()
    """Methods concerned, such as PUT; empty: all."""
    path: str = ""
    """Regular expression, searched in the path of the requests concerned."""
    delay_s: float = 0.05

    @classmethod
    def storm(cls, **which: Any) -> Faults:
        """Every request concerned is answered 503."""
        return cls(shares={Fault.BUSY: 1.0}, **which)

    def concern(self, method: str, path: str) -> bool:
        """Whether a request counts for these faults."""
        return (not self.methods or method in self.methods) and re.search(self.path, path) is not None

    def of(self, ordinal: int) -> Fault | None:
        """What happens to the request concerned of this ordinal."""
        if ordinal in self.script:
            return self.script[ordinal]
        draw = random.Random(f"{self.seed}:{ordinal}").random()
        for fault, share in self.shares.items():
            draw -= share
            if draw < 0:
                return fault
        return None

    def to_json(self) -> str:
        """For ``PUT /-/faults``."""
        return json.dumps(asdict(self) | {"methods": sorted(self.methods)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Faults:
        """The faults that :meth:`to_json` wrote down."""
        said = json.loads(text)
        said["script"] = {int(ordinal): Fault(fault) for ordinal, fault in said["script"].items()}
        said["shares"] = {Fault(fault): share for fault, share in said["shares"].items()}
        return cls(**said | {"methods": frozenset(said["methods"])})


@dataclass(frozen=True)
class Request:
    """One request that reached the proxy."""

    method: str
    path: str
    """Decoded, without the query."""
    range: str | None
    """The Range header."""
    status: int
    """Of the answer that was sent or begun; 0 when the connection ended before one."""
    bytes_in: int
    """Bytes of the request's body."""
    bytes_out: int
    """Bytes of the answer's body that were sent."""
    fault: Fault | None


@dataclass(frozen=True)
class Traffic:
    """What crossed the proxy."""

    requests: tuple[Request, ...]
    """In the order in which they ended."""

    def of(self, method: str | None = None, path: str = "") -> list[Request]:
        """The requests of one method whose path holds a match of the regular expression ``path``."""
        return [one for one in self.requests if method in (None, one.method) and re.search(path, one.path)]

    def faults(self) -> Counter[Fault]:
        """How often each fault struck."""
        return Counter(one.fault for one in self.requests if one.fault is not None)
