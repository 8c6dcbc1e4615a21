"""The page holds everything, asks nothing of a network, and shows what comes from files as text."""

from __future__ import annotations

import base64
import html.parser
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.drift.figures import DRIFT_FIGURES
from ser_probe.report.figures import FigureEntry, write_figures
from ser_probe.report.headlines import headlines
from ser_probe.report.html import arrange_audit, count_shared_speakers, flat_record, view_table, write_report
from ser_probe.report.training.figures import TRAINING_FIGURES
from ser_probe.steps.analyses.figures import report_headlines
from tests.report.conftest import audit_table, drift_table

from .drawn import Tables

FIGURES = {**TRAINING_FIGURES, **DRIFT_FIGURES}

HOSTILE = "<script>alert(1)</script>"
RECORD = {"time_utc": "2024-06-01T12:00:00+00:00", "command": ["ser-probe", "run"], "packages": {"torch": "2.11.0"}}


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two figures, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    tables = {"audit": audit_table(), "drift": drift_table(["0", "final"], [0, 50])}
    write_figures(tables, folder, specs=FIGURES, names=["splits", "drift_steps"])
    return folder


@pytest.fixture
def arguments(tables: Tables, drawn: Path, tmp_path: Path) -> dict[str, Any]:
    folder = shutil.copytree(drawn, tmp_path / "figures")
    figures = [
        FigureEntry(name, FIGURES[name].title, folder / f"{name}.png", folder / f"{name}.svg", "how to read it")
        for name in ("splits", "drift_steps")
    ]
    shown = {name: tables[name] for name in ("probe", "similarity", "drift")}
    return dict(
        title="emovo tiny", config_yaml="seed: 0\nbackbone: tiny-wavlm-base\n", record=RECORD, audit=tables["audit"],
        tables=shown, figures=figures, headlines=headlines(shown, report_headlines()),
        rejects=pd.DataFrame({"path": ["a.wav"], "reason": ["empty"]}), notes=["one clip was left out"],
        facts={"clips": 588},
    )  # fmt: skip


def test_the_page_is_whole(arguments: dict[str, Any], tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", **arguments)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    for text in (
        "emovo tiny", "588", "backbone: tiny-wavlm-base", "packages.torch", "2.11.0", "ser-probe run", "a.wav", "empty",
        "one clip was left out", "No speaker is in more than one split.", "layer chosen on validation",
        "12 of 1680 rows; the whole table: tables/probe.csv", "figures/drift_steps.svg",
    ):  # fmt: skip
        assert text in page.text


def test_links_within_the_page_have_a_target(arguments: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "r.html", **arguments).read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert len(ids) == len(set(ids))
    assert links
    assert {link.removeprefix("#") for link in links if link} <= set(ids)


def test_pictures_are_in_the_page_and_nothing_is_fetched(arguments: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "r.html", **arguments).read_text(encoding="utf-8"))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "svg", "base", "form"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 2
    for picture, figure in zip(pictures, arguments["figures"], strict=True):
        kind, content = str(picture["src"]).split(";base64,")
        assert kind == "data:image/svg+xml"
        assert base64.b64decode(content) == figure.svg.read_bytes()
        assert picture["alt"] == figure.title


def test_the_page_forbids_scripts_and_requests(arguments: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "r.html", **arguments).read_text(encoding="utf-8"))
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    style = write_report(tmp_path / "s.html", **arguments).read_text(encoding="utf-8").split("<style>")[1]
    assert "url(" not in style.split("</style>")[0]
    assert "@import" not in style.split("</style>")[0]


def test_whatever_comes_from_files_is_text(arguments: dict[str, Any], tables: Tables, tmp_path: Path) -> None:
    entry = arguments["figures"][0]
    hostile = dict(
        title=HOSTILE,
        config_yaml=f"root: '{HOSTILE}' # </pre>",
        record={HOSTILE: HOSTILE, "nested": {"x": [HOSTILE]}},
        audit=tables["audit"].assign(level=HOSTILE + tables["audit"]["level"]),
        tables={HOSTILE: pd.DataFrame({HOSTILE: [HOSTILE]}), "drift": tables["drift"].assign(model=HOSTILE)},
        figures=[FigureEntry(HOSTILE, '"><img src=x onerror=alert(1)>', entry.png, entry.svg, HOSTILE)],
        rejects=pd.DataFrame({"path": [f"{HOSTILE}/../a.wav"], "reason": [HOSTILE]}),
        notes=[HOSTILE],
        facts={HOSTILE: HOSTILE},
    )
    source = write_report(tmp_path / "r.html", **hostile).read_text(encoding="utf-8")  # type: ignore[arg-type]
    page = Page(source)
    assert "<script" not in source
    assert source.count("&lt;script&gt;") >= 12
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in Page(_plain(arguments, tmp_path)).elements}
    assert len([1 for tag, _ in page.elements if tag == "img"]) == 1
    assert HOSTILE in page.text


def _plain(arguments: dict[str, Any], tmp_path: Path) -> str:
    return write_report(tmp_path / "plain.html", **arguments).read_text(encoding="utf-8")


def test_an_empty_study_has_a_page_too(tmp_path: Path) -> None:
    audit = pd.DataFrame(columns=["split", "measure", "level", "value"])
    path = write_report(
        tmp_path / "r.html", title="x", config_yaml="", record={}, audit=audit, tables={}, figures=[],
        rejects=pd.DataFrame(columns=["path", "reason"]),
    )  # fmt: skip
    text = Page(path.read_text(encoding="utf-8")).text
    for line in (
        "There are no results yet.",
        "There are no figures yet.",
        "was not counted",
        "every clip of the manifest",
    ):
        assert line in text


def test_shared_speakers_are_said_loudly(arguments: dict[str, Any], tmp_path: Path) -> None:
    audit = arguments["audit"].copy()
    audit.loc[(audit["measure"] == "shared_speakers") & (audit["split"] != "train"), "value"] = 2
    source = write_report(tmp_path / "r.html", **{**arguments, "audit": audit}).read_text(encoding="utf-8")
    assert "2 speakers are in more than one split" in source
    assert "No speaker is in more than one split." not in source


def test_a_missing_figure_is_named_and_no_report_is_left(arguments: dict[str, Any], tmp_path: Path) -> None:
    arguments["figures"][0].png.unlink()
    with pytest.raises(AnalysisError, match=r"figure of the report is missing[\s\S]*splits\.png"):
        write_report(tmp_path / "r.html", **arguments)
    assert list(tmp_path.glob("*.html")) == []


def test_a_heavy_vector_picture_is_shown_as_raster(arguments: dict[str, Any], tmp_path: Path) -> None:
    entry = arguments["figures"][0]
    with entry.svg.open("a", encoding="utf-8") as stream:
        stream.write("<!--" + " " * 1_600_000 + "-->")
    source = write_report(tmp_path / "r.html", **{**arguments, "figures": [entry]}).read_text(encoding="utf-8")
    assert "data:image/png;base64," in source
    assert "data:image/svg" not in source


def test_the_audit_has_a_column_per_split_in_their_order(tables: Tables) -> None:
    wide = arrange_audit(tables["audit"])
    assert list(wide.columns) == ["count", "of", "train", "validation", "test"]
    assert list(wide["count"].drop_duplicates())[:3] == ["clips", "hours of audio", "speakers"]
    speakers = wide[wide["count"] == "shared speakers"]
    assert speakers[["train", "validation", "test"]].to_numpy().tolist() == [[0, 0, 0]]
    assert len(wide) == len(tables["audit"]) / 3


def test_unknown_is_not_zero(tables: Tables) -> None:
    audit = tables["audit"]
    assert count_shared_speakers(audit) == 0
    assert count_shared_speakers(audit[audit["measure"] != "shared_speakers"]) is None


def test_numbers_are_short_and_what_is_missing_is_a_dash() -> None:
    table = pd.DataFrame({"step": [50.0, None], "value": [0.123456, 1e-5], "layer": ["final", None]})
    view = view_table(table, most=5)
    assert view.rows == [["50", "0.1235", "final"], ["–", "1e-05", "–"]]
    assert view.numeric == [True, True, False]
    assert view_table(table, most=1).total == 2
    assert view_table(table, decimals=2).rows[0] == ["50.00", "0.12", "final"]


def test_a_nested_record_becomes_pairs() -> None:
    assert flat_record({"a": {"b": {"c": None}}, "d": [1, 2]}) == [("a.b.c", "–"), ("d", "1 2")]
