"""The analysis `umap` as a step: rows, colours, predictions, the page and its audio."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.analysis.projection import UmapPanels
from ser_probe.config import AnalyzeConfig, UmapConfig, check_options
from ser_probe.errors import AnalysisError
from ser_probe.report.umap.figures import draw_umap
from ser_probe.runtime import SILENT
from ser_probe.steps.analyses import umap as analyze_umap
from ser_probe.steps.analyses.umap_page import find_audio, link_to, write_page
from ser_probe.steps.analyses.umap_predictions import join_predictions
from ser_probe.steps.tables import KEY_COLUMNS, read_table

from ...voices import RATE_HZ, voice
from ..conftest import analyse, tuned

Write = Callable[..., Path]


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    """Step 50 and step 0, in the wrong order; clips have a number too."""
    clips = clips.assign(arousal=np.where(np.arange(72) == 5, np.nan, np.arange(72) / 10))
    return [write_cache("late", clips, tuned(50)), write_cache("first", clips, tuned(0))]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Maps without umap, which needs long to compile: two features, turned by the seed. Lists the seeds asked for."""
    seeds: list[int] = []

    def panels(
        reference: np.ndarray, later: Sequence[np.ndarray], *, seed: int, fit: str, **options: Any
    ) -> UmapPanels:
        seeds.append(seed)
        noise = np.random.default_rng(seed).standard_normal((len(reference), 2))
        every = [reference, *later]
        return UmapPanels([each[:, :2] + noise for each in every], [0.9] * len(every), fit)  # type: ignore[arg-type]

    monkeypatch.setattr(analyze_umap, "umap_panels", panels)
    return seeds


def options(**umap: Any) -> AnalyzeConfig:
    return check_options(AnalyzeConfig, {"splits": "all", **{f"umap.{key}": value for key, value in umap.items()}})


def page_data(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


@pytest.mark.slow
def test_rows_of_real_maps(caches: list[Path], tmp_path: Path) -> None:
    config = options(layers=["final"], neighbours=3, fit="reference", page=False)
    outcome = analyse("umap", caches, tmp_path, analyze=config, context={"corpus": "emovo", "run_seed": 7})
    assert [path.name for path in outcome.files] == ["umap.parquet", "umap.csv"]
    table = read_table(tmp_path, "umap")
    assert {"clip_id", "x", "y", "label", "speaker", "gender", "split"} <= set(table.columns)
    assert {*KEY_COLUMNS} - {"feature", "measure", "value", "ci_low", "ci_high", "n"} <= set(table.columns)
    assert table.groupby("checkpoint").size().to_dict() == {"step-0": 72, "step-50": 72}
    assert np.isfinite(table[["x", "y"]]).all(axis=None)
    assert table["trustworthiness"].between(0, 1).all()
    assert table["seed_stability"].between(0.02, 0.999).all(), "two seeds agree in part"
    assert table.groupby("checkpoint")["seed_stability"].nunique().to_dict() == {"step-0": 1, "step-50": 1}


def test_faults_come_before_the_work(caches: list[Path], tmp_path: Path, quick: list[int], write_cache: Write,
                                     clips: pd.DataFrame) -> None:  # fmt: skip
    with pytest.raises(AnalysisError, match="There is no layer '9'"):
        analyse("umap", caches, tmp_path, analyze=options(layers=[9]))
    with pytest.raises(AnalysisError, match="The clips have no column 'lable'"):
        analyse("umap", caches, tmp_path, analyze=options(color=["lable"]))
    other = write_cache("other", clips, {**tuned(0), "model": "other"})
    with pytest.raises(AnalysisError, match="different models cannot share") as raised:
        analyse("umap", [*caches, other], tmp_path, analyze=options())
    assert raised.value.found == "other, tiny"
    assert quick == []


def test_seeds_whose_maps_are_compared(caches: list[Path], tmp_path: Path, quick: list[int]) -> None:
    analyse("umap", caches, tmp_path, analyze=options(layers=[0, 1], stability_seeds=3), seed=4)
    assert len(quick) == 6
    assert quick[:3] == quick[3:]
    assert quick[0] == 4
    assert len(set(quick)) == 3
    shown = read_table(tmp_path, "umap")
    analyse("umap", caches, tmp_path, analyze=options(layers=[0, 1], stability_seeds=1), seed=4)
    alone = read_table(tmp_path, "umap")
    pd.testing.assert_frame_equal(shown.drop(columns="seed_stability"), alone.drop(columns="seed_stability"))
    assert alone["seed_stability"].isna().all()
    assert shown["seed_stability"].notna().all()


def test_a_column_of_numbers_is_coloured_along_a_scale(caches: list[Path], tmp_path: Path, quick: list[int]) -> None:
    analyse("umap", caches, tmp_path, analyze=options(layers=[1], color=["label", "arousal"]))
    table = read_table(tmp_path, "umap")
    assert table["arousal"].isna().sum() == 2, "a number may be missing"
    figure = draw_umap(table)
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == ["by label", "by arousal"]
    assert figure.axes[0].get_title().endswith(f"stability {table['seed_stability'].iloc[0]:.2f}")
    label, arousal = page_data(tmp_path / "umap.html")["colours"]
    assert label["names"] == ["anger", "joy", "sadness"]
    assert (arousal["low"], arousal["high"], arousal["values"][5]) == (0, 7.1, None)


def test_right_and_wrong(caches: list[Path], clips: pd.DataFrame, tmp_path: Path, quick: list[int]) -> None:
    said = clips[["clip_id", "label"]].assign(predicted=clips["label"].where(np.arange(72) % 3 > 0, "joy"))
    said[:60].to_csv(tmp_path / "predictions.csv", index=False)
    analyse("umap", caches, tmp_path, analyze=options(layers=[1]), predictions=tmp_path / "predictions.csv")
    table = read_table(tmp_path, "umap")
    expected = np.where(said["predicted"] == said["label"], "right", "wrong").astype(object)
    expected[60:] = None
    for step in (0, 50):
        own = table.loc[table["step"] == step, "correct"]
        assert [None if pd.isna(each) else each for each in own] == expected.tolist()
    data = page_data(tmp_path / "umap.html")
    assert [each["name"] for each in data["colours"]] == ["label", "speaker", "gender", "correct"]
    assert data["clips"][0][data["fields"].index("predicted")] == said["predicted"][0]
    assert "by correct" in [ax.get_ylabel() for ax in draw_umap(table).axes]


def test_predictions_of_several_runs(tmp_path: Path) -> None:
    rows = [("a", "joy", "joy"), ("a", "joy", "joy"), ("b", "joy", "fear"), ("b", "joy", "joy"), ("b", "joy", "fear"),
            ("c", "joy", "fear")]  # fmt: skip
    path = tmp_path / "predictions.parquet"
    pd.DataFrame(rows, columns=["clip_id", "label", "predicted"]).to_parquet(path)
    found = join_predictions(path, np.array(["c", "b", "a", "d"]))
    assert found["correct"].tolist() == ["wrong", "right in some runs", "right", None]
    assert found["predicted"].tolist() == ["fear", "fear", "joy", None]


def test_predictions_that_cannot_be_joined(tmp_path: Path) -> None:
    ids = np.array(["a"])
    with pytest.raises(AnalysisError, match="predictions do not exist"):
        join_predictions(tmp_path / "none.csv", ids)
    path = tmp_path / "predictions.csv"
    path.write_text("clip_id,label,predicted(arousal)\na,x,1\n")
    with pytest.raises(AnalysisError, match="do not say which clips are right") as raised:
        join_predictions(path, ids)
    assert raised.value.found == "without predicted"
    path.write_text("clip_id,label,predicted\nb,x,y\n")
    with pytest.raises(AnalysisError, match="predictions are of other clips"):
        join_predictions(path, ids)
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(AnalysisError, match="cannot be read as a table"):
        join_predictions(tmp_path / "broken.parquet", ids)


@pytest.fixture
def audio(clips: pd.DataFrame, tmp_path: Path) -> Path:
    """A folder with the audio of the first three clips, one of them damaged, and a file outside it."""
    root = tmp_path / "audio & more"
    root.mkdir()
    for name in ("0.wav", "1.wav"):
        soundfile.write(root / name, voice(1, 120, 0.5), RATE_HZ, subtype="PCM_16")
    (root / "2.wav").write_text("no audio")
    soundfile.write(tmp_path / "secret.wav", voice(1, 120, 0.5), RATE_HZ)
    return root


def test_audio_is_linked_relative_to_the_page(
    caches: list[Path], audio: Path, tmp_path: Path, quick: list[int]
) -> None:
    outcome = analyse("umap", caches, tmp_path / "out", analyze=options(layers=[1]), audio_root=audio)
    assert outcome.files[-1] == tmp_path / "out" / "umap.html"
    data = page_data(outcome.files[-1])
    assert data["audio"][0] == "../audio%20%26%20more/0.wav"
    assert (outcome.files[-1].parent / unquote(data["audio"][0])).resolve() == (audio / "0.wav").resolve()
    assert data["audio"][3:] == [None] * 69
    assert "69 of 72 files were not found" in data["audioNote"]
    silent = analyse("umap", caches, tmp_path / "silent", analyze=options(layers=[1]))
    assert page_data(silent.files[-1])["audio"] == [None] * 72
    assert "No audio was found" in str(silent.summary["audio in the page"])


def test_audio_is_embedded_up_to_a_limit(
    caches: list[Path], audio: Path, tmp_path: Path, quick: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = options(layers=[1], embed_audio=True)
    data = page_data(analyse("umap", caches, tmp_path / "out", analyze=config, audio_root=audio).files[-1])
    assert [each.split(",")[0] for each in data["audio"][:2]] == ["data:audio/flac;base64"] * 2
    assert data["audio"][2] == "../audio%20%26%20more/2.wav", "what cannot be decoded stays a link"
    assert "2 of 72" in data["audioNote"]
    monkeypatch.setattr("ser_probe.steps.analyses.umap_page._BYTES_PER_MB", len(data["audio"][0]) / 25)
    some = page_data(analyse("umap", caches, tmp_path / "out", analyze=config, audio_root=audio).files[-1])
    assert sum(each is not None and each.startswith("data:") for each in some["audio"]) == 1


def test_nothing_outside_the_audio_root_is_touched(tmp_path: Path, audio: Path) -> None:
    written = ["../secret.wav", "x/../../secret.wav", "0.wav", "none.wav", "a\0b", str(tmp_path / "secret.wav")]
    found = find_audio(pd.DataFrame({"path": written}), audio)
    assert found == [None, None, audio / "0.wav", None, None, tmp_path / "secret.wav"]
    assert find_audio(pd.DataFrame({"path": written}), None) == [None] * 6


def test_a_name_is_never_an_address(tmp_path: Path) -> None:
    page = tmp_path / "umap.html"
    for name in ("javascript:alert(1)", "data:text,x", "http:x", '"><script>', "a b#c?d%e"):
        address = link_to(tmp_path / name, page)
        assert address.startswith("./")
        assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", address)
        assert unquote(address) == f"./{name}"


def test_the_page_can_be_left_out_and_does_not_need_what_clips_lack(
    caches: list[Path], tmp_path: Path, quick: list[int]
) -> None:
    outcome = analyse("umap", caches, tmp_path, analyze=options(layers=[1], page=False))
    assert not (tmp_path / "umap.html").exists()
    assert "audio in the page" not in outcome.summary
    table = read_table(tmp_path, "umap")
    bare = pd.DataFrame({"clip_id": table["clip_id"][:72]})
    path, said = write_page(
        tmp_path / "u.html", table, bare, ["label"], UmapConfig(), audio_root=tmp_path, progress=SILENT
    )
    assert page_data(path)["fields"] == []
    assert "No audio" in said
