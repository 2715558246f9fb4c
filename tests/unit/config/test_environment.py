"""Which variables are another installation's, and that hiding them leaves the environment as it was."""

from __future__ import annotations

import os

import pytest

from pipeline.config.environment import foreign, hidden, ignored_sentence

FOREIGN = ("PROJ_DATA", "PROJ_LIB", "PROJ_AUX_DB", "PROJ_NETWORK", "PROJ_IGNORE_CELESTIAL_BODY", "GDAL_DATA",
           "GDAL_DRIVER_PATH", "GDAL_SKIP", "GTIFF_IGNORE_READ_ERRORS", "GTIFF_POINT_GEO_IGNORE",
           "OSR_USE_APPROX_TMERC",
           "OGR_CT_OP_SELECTION", "GDAL_PAM_ENABLED", "GDAL_GEOREF_SOURCES")  # fmt: skip
OURS = ("AWS_ACCESS_KEY_ID", "GDAL_HTTP_PROXY", "GDAL_HTTP_HEADERS", "CPL_VSIL_CURL_CACHE_SIZE", "PROJ_CURL_CA_BUNDLE",
        "GDAL_CACHEMAX", "GDAL_NUM_THREADS", "CPL_DEBUG", "GDAL_VERSION", "PROJ_DEBUG", "HOME")  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_data_plug_ins_and_habits_of_other_installations_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "elsewhere")
    assert name in foreign()
    with hidden() as names:
        assert name in names
        assert name not in os.environ
        with hidden() as inner:
            assert name not in inner
    assert os.environ[name] == "elsewhere"
    assert name in ignored_sentence(names)


@pytest.mark.parametrize("name", OURS)
def test_credentials_proxies_caches_and_logs_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "mine")
    assert name not in foreign()


def test_what_is_set_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJ_DATA", "before")
    with pytest.raises(ZeroDivisionError), hidden():  # noqa: PT012
        os.environ["PROJ_DATA"] = "meanwhile"
        _ = 1 / 0
    assert os.environ["PROJ_DATA"] == "meanwhile"
