"""The page of maps: what it holds is the table, and nothing that comes from a file is anything but text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.umap.page import PageAudio, embed_json, page_data, write_umap_page

N, STEPS = 12, (0, 50)
HOSTILE = [
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", '"><img src=x onerror="alert(3)">', "<!--",
    "\u2028\u2029'\\", "${alert(4)}{{ 7 * 7 }}", "javascript:alert(5)", "]]>", "&lt;b&gt;",
]  # fmt: skip
SILENT = PageAudio([None] * N, "No audio was found.")


@pytest.fixture
def table(rng: np.random.Generator) -> pd.DataFrame:
    """Two layers at two checkpoints."""
    parts = [
        pd.DataFrame({
            "clip_id": [f"{k:032x}" for k in range(N)], "x": 3 * rng.standard_normal(N), "y": rng.standard_normal(N),
            "label": np.array(["anger", "joy", "fear"])[np.arange(N) % 3], "arousal": np.linspace(-1, 1, N),
            "model": "tiny", "checkpoint": f"step-{step}", "step": step, "layer": layer, "trustworthiness": 0.9,
            "seed_stability": 0.5 if step else np.nan,
        })
        for layer in ("final", "0") for step in STEPS
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def clips(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"path": [f"{k}.wav" for k in range(N)], "label": table["label"][:N], "duration_s": 1.5})


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.texts:
            self.texts[self.inside][-1] += data


def read(path: Path) -> Elements:
    page = Elements()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def written(path: Path, table: pd.DataFrame, clips: pd.DataFrame, audio: PageAudio = SILENT, **more: Any) -> Elements:
    return read(write_umap_page(path / "umap.html", table, clips, colours=["label", "arousal"], audio=audio, **more))


def test_the_page_holds_the_table(table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path) -> None:
    data = json.loads(written(tmp_path, table, clips).texts["script"][0])
    assert data == page_data(table, clips, ["label", "arousal"], SILENT)
    assert [each["layer"] for each in data["maps"]] == ["0", "final"], "in the order of the network"
    assert [state["name"] for state in data["maps"][0]["states"]] == ["step-0", "step-50"]
    assert [state["stability"] for state in data["maps"][0]["states"]] == [None, 0.5]
    assert data["clips"][4] == ["4.wav", "joy", "1.5"]
    label, arousal = data["colours"]
    assert [label["names"][code] for code in label["codes"]] == list(clips["label"])
    assert (arousal["low"], arousal["high"], arousal["values"][-1]) == (-1, 1, 1)
    # Places are the table's, shifted and scaled alike in x and y and at both checkpoints.
    own = table[table["layer"] == "0"]
    drawn = np.concatenate([np.reshape(state["xy"], (N, 2)) for state in data["maps"][0]["states"]])
    for column, each in zip(("x", "y"), drawn.T, strict=True):
        slope, _ = np.polyfit(own[column], each, 1)
        assert np.corrcoef(own[column], each)[0, 1] > 0.999999
        assert slope == pytest.approx(10_000 / (own["x"].max() - own["x"].min()), rel=1e-3)


def test_values_that_are_missing(table: pd.DataFrame, clips: pd.DataFrame) -> None:
    table = table.assign(label=table["label"].where(table["clip_id"] != f"{1:032x}"))
    table.loc[table["clip_id"] == f"{2:032x}", "arousal"] = np.nan
    data = page_data(table, clips.assign(label=[None, *clips["label"][1:]]), ["label", "arousal"], SILENT)
    assert data["colours"][0]["codes"][1] == -1
    assert data["colours"][1]["values"][2] is None
    assert data["clips"][0][1] == "–"


def test_the_policy_allows_the_pages_own_script_and_nothing_else(
    table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path
) -> None:
    page = written(tmp_path, table, clips)
    (policy,) = [attrs["content"] for tag, attrs in page.found if tag == "meta" and "http-equiv" in attrs]
    assert policy is not None
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind][-1].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = [attrs for tag, attrs in page.found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not any(name in attrs for _, attrs in page.found for name in ("src", "href", "style", "srcset"))
    assert not any(name.startswith("on") for _, attrs in page.found for name in attrs)


def test_the_script_writes_text_never_markup() -> None:
    folder = Path(__file__).parents[3] / "ser_probe" / "report" / "templates"
    script = (folder / "umap.js").read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch(",
                 "XMLHttpRequest", "import(", "</", "<!--"):  # fmt: skip
        assert word not in script
    assert "http" not in script + (folder / "umap.css").read_text(encoding="utf-8")


def test_hostile_names_stay_names(table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path) -> None:
    plain = written(tmp_path / "plain", table, clips)
    names = [HOSTILE[k % len(HOSTILE)] for k in range(N)]
    hostile = table.assign(label=names * 4, checkpoint=HOSTILE[1])
    page = written(
        tmp_path, hostile, clips.assign(label=names, path=names).rename(columns={"duration_s": HOSTILE[0]}),
        PageAudio(names, HOSTILE[0]), title=HOSTILE[1], note=HOSTILE[2],
    )  # fmt: skip
    tags = [tag for tag, _ in page.found]
    assert tags == [tag for tag, _ in plain.found] or tags.count("p") == [t for t, _ in plain.found].count("p") + 1
    assert tags.count("script") == 2
    assert "img" not in tags
    data = json.loads(page.texts["script"][0])
    assert [clip[0] for clip in data["clips"]] == names
    assert set(data["colours"][0]["names"]) == set(HOSTILE)
    assert data["fields"][-1] == HOSTILE[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_json_in_a_page_begins_no_tag_and_reads_back(text: str) -> None:
    embedded = embed_json({text: [text]})
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded) == {text: [text]}


def test_the_same_maps_give_the_same_bytes(table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.html", "b.html")]
    for path in paths:
        write_umap_page(path, table, clips, colours=["label"], audio=SILENT)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_column_that_is_not_there(table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="umap table lacks columns"):
        write_umap_page(tmp_path / "umap.html", table, clips, colours=["valence"], audio=SILENT)
    assert not (tmp_path / "umap.html").exists()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_runs_the_page_and_obeys_no_name(table: pd.DataFrame, clips: pd.DataFrame, tmp_path: Path) -> None:
    """The security policy lets the page's script run, and hostile names come out as the text that they are."""
    names = [HOSTILE[k % len(HOSTILE)] for k in range(N)]
    path = write_umap_page(
        tmp_path / "umap.html", table.assign(label=names * 4), clips.assign(label=names), colours=["label", "arousal"],
        audio=PageAudio(names, "linked"), title="maps",
    )  # fmt: skip
    made = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    page = Elements()
    page.feed(made.stdout)
    tags = [tag for tag, _ in page.found]
    assert tags.count("option") == 2 + 2, "the script has filled the selections"
    assert sum(attrs.get("class") == "swatch" for _, attrs in page.found) == len(HOSTILE)
    assert "img" not in tags
    assert tags.count("script") == 2
    assert "step-0" in made.stdout
