"""The page says what it should, whatever names it is given, and fetches nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.evaluation.html.charts import MOST_POINTS, precision_recall
from pipeline.evaluation.html.element import VOID, element, joined, name_of
from pipeline.evaluation.judged import Judged
from pipeline.evaluation.report import figures
from pipeline.evaluation.report_folder import PAGE, check_folder, write_report
from tests.support.judging import found, ship, truth

EVIL = ('<script>alert("1")</script>', "\"'><img src=x onerror=alert(2)>", "\u202eسفينة & co", "ship\nof/../lines")


class Read(HTMLParser):
    """Elements, attributes and text of a page; fails where elements are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self.feed(page)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a detector whose classes, scenes and notes are written by somebody who means harm."""
    place = tmp_path_factory.mktemp("report")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 400, 3), np.uint8)).save(place / "scene.png")
    name = '<b onload="x">.tif'
    detections = found([ship(30), ship(100), ship(200), ship(300)], [0.9, 0.8, 0.7, 0.6], [0, 1, 2, 3])
    objects = truth([ship(30), ship(100), ship(200), ship(350)], [0, 0, 2, 1])
    judged = Judged(
        detector=EVIL[0], data=EVIL[1], classes=EVIL, found={name: detections, "plain": detections[:0]},
        truth={name: objects, "plain": truth([])}, score_threshold=0.5, notes=(EVIL[1],),
        images={name: str(place / "scene.png")}, seam_px={name: np.array([3.0, 20.0, 50.0, np.inf])},
    )  # fmt: skip
    report = figures(judged.found, judged.truth, classes=EVIL, score_threshold=0.5, resamples=50)
    write_report(judged, report, place / "report")
    return place / "report"


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / PAGE).read_text(encoding="utf-8")


def test_names_are_text_and_nothing_else(page: str) -> None:
    read = Read(page)
    assert not read.names & {"script", "b", "iframe", "link", "object", "img"}
    assert not [key for _, key, _ in read.attributes if key.startswith("on")]
    assert EVIL[0] in read.words
    assert EVIL[1] in read.words
    assert "\ufffdسفينة & co" in read.words, "the mark that turns all text around does not get through"
    assert "\u202e" not in page
    assert re.search(r"<bdi>[^<]*سفينة", page), "what is written from right to left turns nothing around it"


def test_nothing_is_fetched(page: str) -> None:
    read = Read(page)
    links = [value for _, key, value in read.attributes if key in ("src", "href", "xlink:href", "action")]
    assert links
    assert all(value.startswith("data:image/jpeg;base64,") for value in links)
    assert "url(" not in page
    assert "@import" not in page
    assert "://" not in page
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in read.attributes


def test_the_page_shows_what_went_wrong(page: str) -> None:
    words = Read(page).words
    assert "Repairing “missed” would bring the most" in words or "Repairing “wrong class” would bring the most" in words
    for said in ("Missed – the largest", "Wrong class – the highest scores", "Background – the highest scores"):
        assert said in words
    assert "Poor localisation – the" not in words, "there is none to show"
    assert "no DOTA files were written" in words, "a class name has white space"
    assert len(page) < 400_000


@pytest.mark.parametrize(("ships", "seen"), [(0, 0), (0, 2), (2, 0)])
def test_a_report_of_nothing_says_so(ships: int, seen: int, tmp_path: Path) -> None:
    """Nothing there, nothing found, or neither: figures that do not exist are dashes, and nothing breaks."""
    detections = found([ship(40.0 * one) for one in range(seen)], [0.9] * seen)
    objects = truth([ship(400 + 40.0 * one) for one in range(ships)])
    judged = Judged(detector="d", data="t", classes=("ship",), found={"a": detections}, truth={"a": objects},
                    score_threshold=0.5)  # fmt: skip
    report = figures(judged.found, judged.truth, classes=("ship",), score_threshold=0.5, resamples=50)
    write_report(judged, report, tmp_path / "report")
    words = Read((tmp_path / "report" / PAGE).read_text(encoding="utf-8")).words
    assert "nan" not in words.lower().split()
    assert ("Nothing was to be found" in words) == (ships == 0)
    assert ("There is no error to show" in words) == (ships == seen == 0)


def test_the_folder_is_replaced_as_a_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    check_folder(folder)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex', which no report has written"):
        check_folder(tmp_path)
    assert not [one for one in folder.parent.iterdir() if one.name.startswith(".")], "nothing staged is left"


def test_markup_is_only_what_elements_made() -> None:
    assert joined("<i>", element("b", "<", title='"')) == '&lt;i&gt;<b title="&quot;">&lt;</b>'
    assert element("text", None, 3, stroke_width=2, class_=None) == '<text stroke-width="2">3</text>'
    assert name_of("a\x00b") == "<bdi>a\ufffdb</bdi>"


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    recall = np.arange(1, 100_001) / 100_000
    drawn = precision_recall(recall, np.linspace(1, 0.5, 100_000), "curve")
    assert len(drawn) < 60 * MOST_POINTS
    path = re.search(r'class="curve" d="([^"]+)"', drawn)
    assert path is not None
    assert path[1].startswith("M40 12")
    assert path[1].endswith("L308 106")


def test_false_alarms_after_the_last_object_found_are_no_part_of_the_curve() -> None:
    """Precision falls on at the same recall; the area under the curve ends there."""
    drawn = precision_recall(np.array([0.5, 0.5, 0.5]), np.array([1.0, 0.5, 0.25]), "curve")
    path = re.search(r'class="curve" d="([^"]+)"', drawn)
    assert path is not None
    assert path[1] == "M40 12L174 12"
