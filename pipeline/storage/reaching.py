"""How an address is reached, for clients that are not GDAL: what GDAL takes from the environment, in their words.

Scenes are read by GDAL, and asked for their versions by fsspec's clients: both must show the same credentials, or a
scene that can be read has no version and nothing done before is used.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.retrying import PATIENCE

YES = ("YES", "TRUE", "ON", "1")


def environment_now() -> dict[str, str | None]:
    """All variables, to tell whether any has changed."""
    return {name: os.environ.get(name) for name in os.environ}  # a thread may take one away meanwhile


def http_headers(uri: str) -> dict[str, str]:
    """Headers that GDAL sends with a request to ``uri``; none of authorization where the address names a user itself.

    From GDAL_HTTP_HEADERS, _HEADER_FILE, _BEARER, _USERPWD (unless _AUTH names another scheme), _COOKIE, _USERAGENT.
    """
    headers = dict(_written_headers())
    bearer, user = os.environ.get("GDAL_HTTP_BEARER"), os.environ.get("GDAL_HTTP_USERPWD")
    if bearer:
        headers.setdefault("Authorization", f"Bearer {bearer}")
    elif user and os.environ.get("GDAL_HTTP_AUTH", "BASIC").upper() in ("BASIC", "ANY", "ANYSAFE"):
        headers.setdefault("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    for name, key in (("GDAL_HTTP_COOKIE", "Cookie"), ("GDAL_HTTP_USERAGENT", "User-Agent")):
        if os.environ.get(name):
            headers.setdefault(key, os.environ[name])
    if "@" in urlsplit(uri).netloc:
        return {key: value for key, value in headers.items() if key != "Authorization"}
    return headers


def _written_headers() -> Iterator[tuple[str, str]]:
    """As GDAL parses them: lines, or else what stands between commas, which double quotes protect."""
    text = os.environ.get("GDAL_HTTP_HEADERS", "")
    lines = text.splitlines() if "\n" in text else re.findall(r'(?:[^,"]|"[^"]*")+', text)
    if os.environ.get("GDAL_HTTP_HEADER_FILE"):
        with contextlib.suppress(OSError):  # GDAL will say so
            lines += Path(os.environ["GDAL_HTTP_HEADER_FILE"]).read_text().splitlines()
    for line in lines:
        name, colon, value = line.replace('"', "").partition(":")
        if colon and name.strip():
            yield name.strip().title(), value.strip()


def client_options(scheme: str, uri: str, *, reading: bool, pays: bool = False) -> dict[str, Any]:
    """Options of fsspec's file system for ``uri``. ``reading``: as GDAL would read a scene there, of one for which
    who asks ``pays``.

    AWS_NO_SIGN_REQUEST and AWS_REQUEST_PAYER are about scenes that others own: results are written with our own keys.
    """
    if scheme == "s3":
        return _s3_options(reading=reading, pays=pays)
    if scheme in ("http", "https"):
        return _http_options(uri)
    return {}


def _http_options(uri: str) -> dict[str, Any]:
    headers = http_headers(uri)
    options: dict[str, Any] = {"headers": headers} if headers else {}
    if "Authorization" not in headers:
        options["client_kwargs"] = {"trust_env": True}  # proxies and .netrc, which GDAL's curl looks at too
    if os.environ.get("GDAL_HTTP_PROXY"):
        proxy = os.environ["GDAL_HTTP_PROXY"]
        options["proxy"] = proxy if "://" in proxy else f"http://{proxy}"
    if os.environ.get("GDAL_HTTP_UNSAFESSL", "").upper() in YES:
        options["ssl"] = False
    return options


def s3_endpoint() -> str | None:
    """Address of the S3-compatible store that the environment names, in the words of botocore or of GDAL."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = named or os.environ.get("AWS_S3_ENDPOINT")
    if not endpoint or "://" in endpoint:
        return endpoint
    plain = os.environ.get("AWS_HTTPS", "YES").upper() not in YES
    return f"{'http' if plain else 'https'}://{endpoint}"


def _s3_options(*, reading: bool, pays: bool) -> dict[str, Any]:
    # botocore's attempts would multiply s3fs's five, and ours: a store that is down for good took minutes to be so.
    config: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": PATIENCE.client_attempts},
        "connect_timeout": 10,
    }
    options: dict[str, Any] = {"config_kwargs": config}
    if s3_endpoint() and not (os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")):
        options["endpoint_url"] = s3_endpoint()
    if os.environ.get("AWS_REGION"):
        options["client_kwargs"] = {"region_name": os.environ["AWS_REGION"]}
    if os.environ.get("AWS_VIRTUAL_HOSTING", "").upper() in YES:
        config["s3"] = {"addressing_style": "virtual"}
    if reading and os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in YES:
        options["anon"] = True
    if reading and (pays or os.environ.get("AWS_REQUEST_PAYER")):
        options["requester_pays"] = True
    return options
