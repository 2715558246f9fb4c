"""Object stores as obstore reaches them: where fsspec does, with the same credentials. Part of obstore's home."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from pipeline.errors import ConfigError, redacted
from pipeline.storage.reaching import s3_endpoint

_CLIENT = {"connect_timeout": "10s", "timeout": "60s", "allow_http": True}
"""A plain http:// endpoint is taken where the environment names one."""
_STORES: dict[str, tuple[dict[str, str], Any]] = {}
"""Scheme and bucket → the environment its store was made in, and the store."""
_STORES_LOCK = threading.Lock()


def object_store(uri: str) -> tuple[Any, str]:
    """The store behind an address, and the key in it. Raises ConfigError for one that knows no conditions."""
    parts = urlsplit(uri)
    bucket, key = parts.netloc.rpartition("@")[2], parts.path.strip("/")
    makers: dict[str, Callable[..., Any]] = {"s3": _s3, "gs": GCSStore, "az": AzureStore}
    make = makers.get(parts.scheme)
    if make is None:
        raise ConfigError(
            f"{redacted(uri)}: only local folders, s3://, gs:// and az:// can tell who of two wrote first; choose one"
        )
    root = f"{parts.scheme}://{bucket}"
    with _STORES_LOCK:
        environment = dict(os.environ)  # it alone names endpoints and keys, and what changes there must count
        if _STORES.get(root, ({}, None))[0] != environment:
            # Retried by us, with our pauses.
            options = {"retry_config": {"max_retries": 0}, "client_options": _CLIENT}
            _STORES[root] = environment, make(bucket, **options)
        return _STORES[root][1], key


def _s3(bucket: str, **options: Any) -> Any:
    """As fsspec reaches it: the same endpoint, region and credentials, those of profiles too."""
    config: Any = {"request_payer": False, "skip_signature": False}
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

    return S3Store(bucket, config=config, credential_provider=credentials, **options)
