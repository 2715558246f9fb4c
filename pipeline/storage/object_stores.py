"""Object stores as obstore reaches them: where fsspec does, with the same credentials. Part of obstore's home."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from pipeline.errors import ConfigError, redacted
from pipeline.storage.reaching import YES, environment_now, s3_endpoint

_CLIENT = {"connect_timeout": "10s", "timeout": "60s", "allow_http": True}
"""A plain http:// endpoint is taken where the environment names one."""
_STORES: dict[str, tuple[dict[str, str | None], Any]] = {}
"""Scheme, bucket and rights → the environment its store was made in, and the store."""
_STORES_LOCK = threading.Lock()


def object_store(uri: str, *, reading: bool = False, pays: bool = False) -> tuple[Any, str]:
    """The store behind an address, and the key in it; ``reading``: with the rights that scenes are read with, where who
    asks ``pays`` or not. Raises ConfigError for one that knows no conditions."""
    parts = urlsplit(uri)
    bucket, key = parts.netloc.rpartition("@")[2], parts.path.strip("/")
    s3 = partial(_s3, reading=reading, pays=pays)
    makers: dict[str, Callable[..., Any]] = {"s3": s3, "gs": GCSStore, "az": AzureStore}
    make = makers.get(parts.scheme)
    if make is None:
        raise ConfigError(
            f"{redacted(uri)}: only local folders, s3://, gs:// and az:// can tell who of two wrote first; choose one"
        )
    root = f"{parts.scheme}://{bucket}"
    with _STORES_LOCK:
        environment = environment_now()  # it alone names endpoints and keys, and what changes there must count
        name = f"{root} {reading} {pays}"
        if _STORES.get(name, ({}, None))[0] != environment:
            # Retried by us, with our pauses.
            options = {"retry_config": {"max_retries": 0}, "client_options": _CLIENT}
            _STORES[name] = environment, make(bucket, **options)
        return _STORES[name][1], key


def _s3(bucket: str, *, reading: bool, pays: bool, **options: Any) -> Any:
    """As fsspec reaches it: the same endpoint, region and credentials, those of profiles too."""
    anonymous = reading and os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in YES
    payer = reading and (pays or bool(os.environ.get("AWS_REQUEST_PAYER")))
    config: Any = {"request_payer": payer, "skip_signature": anonymous}
    if s3_endpoint():
        config["endpoint"] = s3_endpoint()
    try:
        from botocore.session import Session  # type: ignore[import-untyped]
    except ImportError:  # then what the environment and the machine say has to do
        return S3Store(bucket, config=config, **options)
    session = Session()
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if region:
        config["region"] = region

    def credentials() -> Any:
        found = session.get_credentials()
        if found is None:
            raise PermissionError("there are no credentials for S3: set AWS_ACCESS_KEY_ID, or AWS_PROFILE")
        keys = found.get_frozen_credentials()
        expires = getattr(found, "_expiry_time", None)
        return {"access_key_id": keys.access_key, "secret_access_key": keys.secret_key, "token": keys.token,
                "expires_at": expires}  # fmt: skip

    if anonymous:
        return S3Store(bucket, config=config, **options)
    return S3Store(bucket, config=config, credential_provider=credentials, **options)
