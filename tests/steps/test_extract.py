"""extract: one file a checkpoint, named by its key; the verb with its rejects."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from ser_probe.config import AudioConfig, SplitConfig, StudyConfig, check_options
from ser_probe.data.manifest import Manifest, write_manifest
from ser_probe.embeddings import memory
from ser_probe.embeddings.passes import Extraction
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, AudioError, ConfigError
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.steps import extract as module
from ser_probe.steps.extract import ModelSource, extract_features, extract_manifest, extract_sources
from ser_probe.steps.extraction_settings import audio_spec
from ser_probe.steps.prepare import prepare_clips, read_clips

from ..embeddings.contents import datasets
from ..voices import voice
from .conftest import HAS_EGEMAPS, OPTIONS, Said, small_study


def study(*overrides: str) -> StudyConfig:
    return check_options(StudyConfig, {**OPTIONS, "split.scheme": "manifest"}, ["analyze.umap=null", *overrides])


def only(results: list[list[Extraction]]) -> list[Extraction]:
    """Return the results of sources that were extracted in one pooling."""
    assert all(len(row) == 1 for row in results)
    return [row[0] for row in results]


def few_clips(n_clips: int = 3, must: str | None = None, longest_s: float = 9.0) -> Manifest:
    """Return some clips of the corpus, checked; one of them may be named."""
    clips = prepare_clips(
        read_clips(small_study().data), AudioConfig(max_duration_s=longest_s), None, decode=False
    ).manifest
    table = clips.table.sort_values("path", key=lambda paths: paths != must, kind="stable")[:n_clips]
    return Manifest(table.reset_index(drop=True), clips.audio_root, clips.source)


def test_several_sources_in_one_folder(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    names = ("tiny-wavlm-base", "tiny-wavlm-large")
    model = "tiny-wavlm-base"
    sources = [ModelSource(name, f"step-{step}", step, model=model) for step, name in enumerate(names)]
    results = only(extract_sources(sources, clips, small_study(), Path("cache")))
    for result, source in zip(results, sources, strict=True):
        assert result.path == Path(f"cache/tiny-wavlm-base-{result.key.short}.h5")
        assert (result.n_clips, result.n_computed) == (72, 72)
        with EmbeddingCache.open(result.path, expect_key=result.key) as cache:
            assert cache.attributes["checkpoint"] == source.checkpoint
            assert cache.attributes["model"] == "tiny-wavlm-base", "checkpoints of a study share its model's name"
    # Where memory holds one model at a time, the files are the same ones and nothing is computed again.
    monkeypatch.setattr(module, "memory_bytes", lambda: 0)
    again = only(extract_sources(sources, clips, small_study(), Path("cache")))
    assert [result.path for result in again] == [result.path for result in results]
    assert [result.n_computed for result in again] == [0, 0]
    # Another preparation of the audio is another file.
    louder = only(extract_sources(sources[:1], clips, small_study("audio.loudness_lufs=-20.0"), Path("cache")))
    assert louder[0].path not in {result.path for result in results}


def test_sources_of_equal_weights_share_a_file(corpus: Path) -> None:
    """The first step of a warm-up has a learning rate of 0: its checkpoint is step 0 again."""
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    names = ("tiny-wavlm-base", "tiny-wavlm-base", "tiny-wavlm-large", "tiny-wavlm-base")
    sources = [ModelSource(name, f"step-{step}", step) for step, name in enumerate(names)]
    results = only(extract_sources(sources, clips, small_study(), Path("cache")))
    assert [results.index(result) for result in results] == [0, 0, 2, 0]
    assert [result.n_computed for result in results] == [72] * 4
    with EmbeddingCache.open(results[0].path) as cache:
        assert cache.attributes["checkpoint"] == "step-0"


def test_the_audio_settings_arrive() -> None:
    config = check_options(AudioConfig, {"loudness_lufs": -20.0, "peak_dbfs": -1.0, "max_duration_s": 12.0})
    spec = audio_spec(config)
    found = (spec.sample_rate_hz, spec.loudness_lufs, spec.peak_dbfs, spec.max_duration_s)
    assert found == (16_000, -20.0, -1.0, 12.0)


def test_the_whole_verb(corpus: Path) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", [0.0] * 9000, 16_000)
    said = Said()
    outcome = extract_manifest(study(), Path("out/x.h5"), progress=said)
    assert outcome.n_rejected == 1
    assert outcome.rejects == Path("out/x.rejects.csv")
    assert pd.read_csv("out/x.rejects.csv")["path"].to_list() == ["s0-joy-0.wav"]
    assert outcome.summary["clips"] == "72, 71 computed now"
    assert any("72 clips" in line for line in said.lines)
    with EmbeddingCache.open(Path("out/x.h5")) as cache:
        assert cache.attributes["step"] == 0
        assert set(cache.clips["label"]) == {"anger", "joy", "sadness"}
    assert extract_manifest(study(), Path("out/x.h5")).summary["clips"] == "72, 0 computed now"
    samples, rate_hz = soundfile.read(corpus / "s0-joy-1.wav")
    soundfile.write(corpus / "s0-joy-0.wav", samples / 2, rate_hz)
    mended = extract_manifest(study(), Path("out/x.h5"))
    assert (mended.n_rejected, mended.rejects) == (0, None)
    assert not Path("out/x.rejects.csv").exists(), "a list of rejects that are none any more misleads"


@pytest.mark.parametrize("model", ["tiny-wavlm-base", *(["eGeMAPSv02"] if HAS_EGEMAPS else [])])
def test_clips_that_are_not_in_the_manifest_any_more_are_told_and_can_be_removed(corpus: Path, model: str) -> None:
    """A file keeps what it holds, as studies share it; whoever analyses it alone must know."""
    table = pd.read_csv(corpus / "manifest.csv")
    # The default, because acoustic features refuse another.
    config = study(f"backbone.name={model}", "extract.verify=4")
    table[:6].to_csv(corpus / "manifest.csv", index=False)
    assert "other clips in the file" not in extract_manifest(config, Path("x.h5")).summary
    table[:2].to_csv(corpus / "manifest.csv", index=False)
    outcome = extract_manifest(config, Path("x.h5"))
    assert outcome.summary["clips"] == "2, 0 computed now"
    assert str(outcome.summary["other clips in the file"]).startswith("4, which are not in this manifest")
    assert "other clips in the file" not in extract_manifest(config, Path("x.h5"), prune=True).summary
    with EmbeddingCache.open(Path("x.h5")) as cache:
        assert cache.clips["path"].tolist() == table["path"].tolist()[:2]
    table[:6].to_csv(corpus / "manifest.csv", index=False)
    assert extract_manifest(config, Path("x.h5"), prune=True).summary["clips"] == "6, 4 computed now"


def test_a_part_of_the_clips(corpus: Path) -> None:
    part = study("extract.splits=[test]", "analyze.splits=[test]", "analyze.probe=null")
    with pytest.raises(AnalysisError, match="The manifest has no column 'split'"):
        extract_manifest(part, Path("x.h5"))
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    write_manifest(clips, corpus / "manifest.csv")
    extract_manifest(part, Path("x.h5"))
    with EmbeddingCache.open(Path("x.h5")) as cache:
        assert set(cache.clips["split"]) == {"test"}


@pytest.mark.skipif(not HAS_EGEMAPS, reason="opensmile is not installed")
def test_a_feature_set_by_its_name_in_any_case(corpus: Path) -> None:
    part = (
        "backbone.name=gemapsV01B",
        "extract.verify=4",
        "extract.splits=[test]",
        "analyze.splits=[test]",
        "analyze.probe=null",
    )
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    write_manifest(clips, corpus / "manifest.csv")
    extract_manifest(study(*part), Path("x.h5"))
    with EmbeddingCache.open(Path("x.h5")) as cache:
        assert (cache.attributes["model"], cache.layer_names, cache.width) == ("GeMAPSv01b", ("functionals",), 62)
    extract_manifest(study(*part, "extract.pooling=frames"), Path("frames.h5"))
    with EmbeddingCache.open(Path("frames.h5")) as cache:
        assert (cache.ragged, cache.layer_names, cache.width) == (True, ("descriptors",), 18)
    with pytest.raises(ConfigError, match="Acoustic features know no such pooling"):
        extract_manifest(study(*part, "extract.pooling=max"), Path("max.h5"))


@pytest.mark.skipif(not HAS_EGEMAPS, reason="opensmile is not installed")
def test_files_of_features_are_named_by_set_level_and_key(corpus: Path) -> None:
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    two = Manifest(clips.table[:2], clips.audio_root, clips.source)
    first = extract_features(two, small_study(), Path("cache"))
    assert first.path == Path(f"cache/eGeMAPSv02-{first.key.short}.h5")
    second = extract_features(two, small_study(), Path("cache"), level="lld")
    assert second.path == Path(f"cache/eGeMAPSv02-lld-{second.key.short}.h5")


def test_revision_and_seed_reach_the_backbone(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, int | None]] = []

    def load(name: str, *, revision: str | None, random_weights: int | None, device: object) -> None:
        asked.append((revision, random_weights))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "load_backbone", load)
    config = study("backbone.name=owner/model", "backbone.revision=abc", "backbone.random_weights=3")
    with pytest.raises(KeyboardInterrupt):
        extract_manifest(config, Path("x.h5"))
    assert asked == [("abc", 3)]


def test_tables_say_that_weights_are_random(corpus: Path) -> None:
    clips = few_clips()
    (result,) = only(
        extract_sources([ModelSource("tiny-wavlm-base", "step-0", 0, None, 3)], clips, small_study(), Path("a"))
    )
    (plain,) = only(extract_sources([ModelSource("tiny-wavlm-base", "step-0", 0)], clips, small_study(), Path("a")))
    assert result.path == Path(f"a/tiny-wavlm-base-random-weights-seed-3-{result.key.short}.h5")
    names = []
    for path in (result.path, plain.path):
        with EmbeddingCache.open(path) as cache:
            names.append(cache.attributes["model"])
    assert names == ["tiny-wavlm-base (random weights, seed 3)", "tiny-wavlm-base"]


@pytest.fixture
def fine_tuned(corpus: Path) -> Path:
    """A fine-tuning run's folder of three checkpoints, the last two of which are not in the order of their names."""
    for step, seed in ((0, 0), (50, 1), (100, 2)):
        backbone = load_backbone("tiny-wavlm-base", random_weights=seed)
        save_backbone(backbone, Path(f"runs/x/checkpoints/checkpoint-{step}"))
    write_manifest(few_clips(), corpus / "manifest.csv")
    return Path("runs/x")


@pytest.mark.parametrize("named", ["run", "checkpoints", "each", "twice"])
def test_checkpoints_of_a_run_are_of_one_model(fine_tuned: Path, named: str) -> None:
    checkpoints = fine_tuned / "checkpoints"
    each = [str(checkpoints / f"checkpoint-{step}") for step in (0, 50, 100)]
    models = {"run": [str(fine_tuned)], "checkpoints": [str(checkpoints)], "each": each, "twice": [*each, each[1]]}
    outcome = extract_manifest(study(f"backbone.name={models[named][0]}"), Path("cache"), models=models[named])
    assert len(outcome.files) == 3
    found = []
    for path in outcome.files:
        with EmbeddingCache.open(path) as cache:
            found.append(tuple(cache.attributes[name] for name in ("model", "checkpoint", "step")))
    assert found == [("x", f"step-{step}", step) for step in (0, 50, 100)]


def test_a_checkpoint_that_hears_clips_otherwise_than_in_training_is_warned_of(fine_tuned: Path) -> None:
    for step in (0, 50):
        note = {"audio": {"loudness_lufs": -23.0, "max_duration_s": 30.0}}
        (fine_tuned / f"checkpoints/checkpoint-{step}/audio.json").write_text(json.dumps(note))
    said, silent = Said(), Said()
    extract_manifest(study(f"backbone.name={fine_tuned}"), Path("cache"), progress=said)
    warnings = [line for line in said.lines if "prepared otherwise" in line]
    assert len(warnings) == 1, "once for a run"
    assert "runs/x was trained on" in warnings[0]
    assert "--loudness-lufs -23.0 (in a study: audio.loudness_lufs)" in warnings[0]
    same = study(f"backbone.name={fine_tuned / 'checkpoints/checkpoint-50'}", "audio.loudness_lufs=-23.0")
    extract_manifest(same, Path("cache"), progress=silent)
    assert not [line for line in silent.lines if "prepared otherwise" in line]


def test_several_models_share_a_folder_and_no_file(fine_tuned: Path) -> None:
    models = ["tiny-wavlm-base", "tiny-hubert-large"]
    with pytest.raises(ConfigError, match=r"2 models do not go into one file(.|\n)*x\.h5(.|\n)*-o cache/"):
        extract_manifest(study(), Path("x.h5"), models=models)
    with pytest.raises(ConfigError, match="3 models do not go into one file"):
        extract_manifest(study(), Path("x.h5"), models=[str(fine_tuned)])
    written = extract_manifest(study(), Path("cache"), models=models).files
    assert sorted(path.name.rsplit("-", 1)[0] for path in written) == sorted(models)
    names = []
    for path in written:
        with EmbeddingCache.open(path) as cache:
            names.append(cache.attributes["model"])
    assert names == models


@pytest.mark.parametrize("models", [["eGeMAPSv02", "tiny-wavlm-base"], ["tiny-wavlm-base", "egemaps"]])
def test_acoustic_features_among_models(corpus: Path, models: list[str]) -> None:
    with pytest.raises(ConfigError, match="Acoustic features are extracted by themselves"):
        extract_manifest(study(), Path("cache"), models=models)


def test_several_poolings_are_a_file_each(corpus: Path) -> None:
    config = study("extract.pooling=[mean, mean+std, 'segments:2', frames]")
    write_manifest(few_clips(), corpus / "manifest.csv")
    named = extract_manifest(config, Path("out/x.h5"))
    assert [path.name for path in named.files] == [
        "x-mean.h5", "x-mean-and-std.h5", "x-segments-2.h5", "x-frames.h5",
    ]  # fmt: skip
    assert set(named.summary) >= {path.name for path in named.files}
    keyed = extract_manifest(config, Path("cache")).files
    assert [path.name.rsplit("-", 1)[0] for path in keyed] == [
        *("tiny-wavlm-base", "tiny-wavlm-base-mean-and-std", "tiny-wavlm-base-segments-2", "tiny-wavlm-base-frames"),
    ]
    for one, other in zip(named.files, keyed, strict=True):
        assert datasets(one) == datasets(other)
    with EmbeddingCache.open(named.files[3]) as cache:
        assert cache.ragged


def test_a_long_clip_that_does_not_fit_the_memory_is_left_out_before_it_takes_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", voice(5, 150, 40.0), 16_000)
    clips = few_clips(must="s0-joy-0.wav", longest_s=60.0)
    write_manifest(clips, corpus / "manifest.csv")
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 150 << 20)
    whole = study("extract.long_clips=whole", "extract.verify=0")
    outcome = extract_manifest(whole, Path("x.h5"))
    assert (outcome.n_rejected, outcome.summary["clips"]) == (1, "3, 2 computed now")
    assert "The clip of 40 s takes about 0.3 GiB of memory if it goes through the model whole" in caplog.text
    assert "--long-clips chunk" in caplog.text
    assert pd.read_csv("x.rejects.csv")["path"].tolist() == ["s0-joy-0.wav"]
    cut = study("extract.long_clips=chunk", "audio.max_duration_s=10.0", "extract.verify=0")
    assert extract_manifest(cut, Path("cut.h5")).n_rejected == 0
    write_manifest(Manifest(clips.table[:1], clips.audio_root, clips.source), corpus / "manifest.csv")
    with pytest.raises(AudioError, match=r"None of the 1 clips could be used(.|\n)*takes about 0\.3 GiB"):
        extract_manifest(whole, Path("y.h5"))
    # No fault of the clip: with more memory it is taken.
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 4 << 30)
    assert extract_manifest(whole, Path("x.h5")).summary["clips"] == "1, 1 computed now"


def test_long_clips_are_left_out_or_taken_whole_or_cut(corpus: Path) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", voice(5, 150, 2.2), 16_000)
    write_manifest(few_clips(must="s0-joy-0.wav"), corpus / "manifest.csv")
    limit = "audio.max_duration_s=1.0"
    rejected = extract_manifest(study(limit), Path("a.h5"))
    assert rejected.n_rejected == 1
    n_frames, keys = {}, {}
    for choice, more in (("whole", ()), ("chunk", ("extract.chunk_overlap_s=0.2",))):
        outcome = extract_manifest(study(limit, f"extract.long_clips={choice}", *more), Path(f"{choice}.h5"))
        assert outcome.n_rejected == 0
        with EmbeddingCache.open(Path(f"{choice}.h5")) as cache:
            n_frames[choice], keys[choice] = cache.clips["n_frames"].tolist(), cache.key.extra
    assert n_frames["whole"] == n_frames["chunk"]
    assert keys == {"whole": {}, "chunk": {"long_clips": {"chunk_s": 1.0, "overlap_s": 0.2}}}


@pytest.mark.parametrize(
    "override",
    ["backbone.random_weights=3", "backbone.revision=main", "extract.precision=bf16", "extract.verify=0",
     "extract.device=cuda", "extract.long_clips=chunk"],
)  # fmt: skip
def test_acoustic_features_refuse_what_is_for_models(corpus: Path, override: str) -> None:
    features = study("backbone.name=eGeMAPSv02", "extract.verify=4", override)
    expected = rf"eGeMAPSv02 cannot be extracted so: 1 fault\n  - {override.partition('=')[0]}: would be ignored"
    with pytest.raises(ConfigError, match=expected):
        extract_manifest(features, Path("e.h5"))


def test_shares_of_a_verb_name_their_rejects(corpus: Path) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", [0.0] * 9000, 16_000)
    write_manifest(few_clips(must="s0-joy-0.wav"), corpus / "manifest.csv")
    small = study("extract.max_clips=1")
    first = extract_manifest(small, Path("x.h5"), shard="1/2")
    assert first.files == ()
    assert "`ser-probe cache merge x.h5`" in str(first.summary["not finished"])
    assert not Path("x.h5").exists()
    second = extract_manifest(small, Path("x.h5"), shard="2/2")
    assert second.files == (Path("x.h5"),)
    extract_manifest(small, Path("whole.h5"))
    assert datasets(Path("x.h5")) == datasets(Path("whole.h5"))
    assert pd.read_csv("x.2-of-2.rejects.csv")["path"].tolist() == ["s0-joy-0.wav"]
