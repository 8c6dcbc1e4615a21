"""What a user does wrong, through the command line: the message, the exit code, and what is left on disk.

Each room tests its own messages; here stands what reaches the terminal, and that nothing half-done stays behind.
"""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.cli.main import INTERRUPTED, app, main
from ser_probe.config.analyses import ANALYSES
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.models.checkpoint_folders import list_checkpoints
from ser_probe.training.checkpoints import find_fault

from .data.conftest import CREMA_D_CLIPS, DEMOGRAPHICS, EMOVO_CLIPS, POINTER, write_wavs
from .forked import Forked
from .voices import RATE_HZ, voice, write_corpus

MODEL = "tiny-wavlm-base"
EXTRACT = ("extract", "corpus/manifest.csv", "--workers", "0", "-m")
STUDY = """
name: small
data: {manifest: corpus/manifest.csv}
backbone: {name: tiny-wavlm-base}
extract: {workers: 0, verify: 0, egemaps: false}
finetune: {max_steps: 2, checkpoint_every: 1, batch_size: 8, early_stopping: null}
analyze: {splits: all, probe: null, similarity: null, drift: null, umap: null}
output: {figures: false}
"""
Fail = Callable[..., str]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the small corpus and a study of it."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "corpus")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Fail:
    """Run a command that must fail; return what it printed on stderr."""

    def run(*words: object, code: int = 1) -> str:
        with pytest.raises(SystemExit) as ended:
            app([*map(str, words)], prog_name="ser-probe")
        captured = capsys.readouterr()
        assert ended.value.code == code, captured.err
        assert "Traceback" not in captured.out + captured.err
        return captured.err

    return run


def succeed(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        app([*map(str, words)], prog_name="ser-probe")
    assert ended.value.code in (0, None)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_nothing_partial(folder: Path) -> None:
    left = {name for name in files(folder) if ".partial" in name or name.endswith((".tmp", ".part"))}
    assert not left


# ---------------------------------------------------------------------------------------------------- corpora


def pointers(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(POINTER.format(number))


def crema_d(root: Path) -> Path:
    write_wavs(root, [f"AudioWAV/{name}" for name in CREMA_D_CLIPS])
    (root / "VideoDemographics.csv").write_text(DEMOGRAPHICS)
    return root


@pytest.mark.parametrize("corpus", ["emovo", "emodb", "crema_d"])
def test_missing_root(corpus: str, tmp_path: Path, fail: Fail) -> None:
    error = fail("prepare", corpus, tmp_path / "nowhere", "-o", tmp_path / "m.csv")
    assert "folder is missing" in error
    assert "nowhere" in error
    assert "expected:" in error
    assert files(tmp_path) == set()


@pytest.mark.parametrize("corpus", ["emovo", "emodb", "crema_d"])
def test_empty_folder(corpus: str, tmp_path: Path, fail: Fail) -> None:
    assert "holds no audio file" in fail("prepare", corpus, tmp_path, "-o", tmp_path / "m.csv")
    assert files(tmp_path) == set()


def test_wrong_corpus_folder(tmp_path: Path, fail: Fail) -> None:
    root = write_wavs(tmp_path / "EMOVO", EMOVO_CLIPS)
    error = fail("prepare", "crema_d", root, "-o", tmp_path / "m.csv")
    assert "its files are named like EMOVO's" in error
    assert "use the importer 'emovo'" in error
    assert not (tmp_path / "m.csv").exists()
    error = fail("prepare", "emvo", root, "-o", tmp_path / "m.csv")
    assert "there is no importer 'emvo'; did you mean 'emovo'" in error


def test_lfs_pointers(tmp_path: Path, fail: Fail) -> None:
    root = crema_d(tmp_path / "CREMA-D")
    pointers(root, [f"AudioWAV/{name}" for name in CREMA_D_CLIPS])
    error = fail("prepare", "crema_d", root, "-o", tmp_path / "m.csv")
    assert "All 36 clips of CREMA-D are Git LFS pointers, not audio" in error
    assert "git lfs pull" in error
    assert not (tmp_path / "m.csv").exists()


def test_some_lfs_pointers(work: Path, fail: Fail) -> None:
    pointers(work / "corpus", ["s0-joy-0.wav", "s1-joy-0.wav"])
    error = fail(*EXTRACT, MODEL, "-o", "x.h5")
    assert "warning: 2 of 72 files are Git LFS pointers, not audio: run `git lfs install` and `git lfs pull`" in error
    assert error.splitlines()[-1] == "2 clips were left out as unusable; the reasons are in x.rejects.csv"


# ---------------------------------------------------------------------------------------------------- clips


@pytest.fixture
def bad_clips(work: Path) -> dict[str, str]:
    """Spoil some clips of the corpus; return what must be said of each."""
    folder = work / "corpus"
    noise = voice(7, 150, 0.6)
    spoilt = np.where(np.arange(len(noise)) == 100, np.nan, noise)
    soundfile.write(folder / "s0-joy-0.wav", spoilt, RATE_HZ, subtype="FLOAT")
    soundfile.write(folder / "s0-joy-1.wav", np.zeros(9000), RATE_HZ)
    soundfile.write(folder / "s0-joy-2.wav", noise[:1], RATE_HZ)
    soundfile.write(folder / "s1-joy-0.wav", voice(8, 150, 31), RATE_HZ)
    (folder / "s1-joy-1.wav").write_bytes(b"")
    (folder / "s1-joy-2.wav").write_text("this is no audio")
    (folder / "s2-joy-0.wav").unlink()
    return {
        "s0-joy-0.wav": "samples that are NaN or infinite",
        "s0-joy-1.wav": "The clip is silent",
        "s0-joy-2.wav": "0.06 ms, shorter than 100 ms",
        "s1-joy-0.wav": "31.0 s, longer than 30 s",
        "s1-joy-1.wav": "the file has no bytes",
        "s1-joy-2.wav": "cannot be opened as audio",
        "s2-joy-0.wav": "no such file",
    }


def assert_listed(rejects: Path, expected: dict[str, str]) -> None:
    reasons = pd.read_csv(rejects).set_index("path")["reason"].to_dict()
    assert set(reasons) == set(expected)
    for name, reason in expected.items():
        assert reason in reasons[name], name


def test_bad_clips_are_listed_and_the_others_extracted(work: Path, bad_clips: dict[str, str], fail: Fail) -> None:
    error = fail(*EXTRACT, MODEL, "-o", "out/x.h5")
    assert error.splitlines()[-1] == "7 clips were left out as unusable; the reasons are in out/x.rejects.csv"
    assert_listed(work / "out/x.rejects.csv", bad_clips)
    with EmbeddingCache.open(Path("out/x.h5")) as cache:
        assert len(cache) == 65
    assert files(work / "out") == {"x.h5", "x.rejects.csv"}


def test_bad_clips_do_not_end_a_study(work: Path, bad_clips: dict[str, str], fail: Fail) -> None:
    error = fail("run", "study.yaml")
    assert error.splitlines()[-1].startswith("7 clips were left out as unusable")
    assert_listed(work / "runs/small/rejects.csv", bad_clips)
    assert (work / "runs/small/report.html").is_file()
    assert_nothing_partial(work)
    # Said again by a run that has nothing to do.
    assert "7 clips were left out" in fail("run", "study.yaml")


def test_strict_stops_with_all_of_them(work: Path, bad_clips: dict[str, str], fail: Fail) -> None:
    before = files(work)
    for words in (
        [*EXTRACT, MODEL, "-o", "out/x.h5", "--strict"],
        ["finetune", "corpus/manifest.csv", "-m", MODEL, "-o", "out", "--scheme", "study_e", "--strict"],
    ):
        error = fail(*words)
        assert "The manifest cannot be used: 7 faults" in error
        for name, reason in bad_clips.items():
            assert name in error
            assert reason in error
        assert files(work) == before


def test_no_clip_can_be_used(work: Path, fail: Fail) -> None:
    for path in (work / "corpus").glob("*.wav"):
        path.write_bytes(b"")
    error = fail("run", "study.yaml")
    assert "no clip can be used: 72 empty, such as s0-anger-0.wav: the file has no bytes" in error
    assert files(work / "runs") == {"small/config.yaml"}


# ---------------------------------------------------------------------------------------------------- manifests


def test_a_label_with_one_speaker(work: Path, fail: Fail) -> None:
    table = pd.read_csv("corpus/manifest.csv")
    table.loc[table["path"].str.startswith("s0-joy"), "label"] = "bliss"
    table.to_csv("corpus/manifest.csv", index=False)
    before = files(work)
    error = fail("finetune", "corpus/manifest.csv", "-m", MODEL, "-o", "out", "--scheme", "study_e")
    assert "label 'bliss' has 1 speaker; at least 2 are needed" in error
    assert "to do: name the labels to keep with --labels (anger, joy, sadness)" in error
    assert files(work) == before


def test_missing_columns_are_named_together(work: Path, fail: Fail) -> None:
    table = pd.read_csv("corpus/manifest.csv")
    table.rename(columns={"label": "lable", "speaker": "person"}).to_csv("corpus/manifest.csv", index=False)
    before = files(work)
    error = fail("finetune", "corpus/manifest.csv", "-m", MODEL, "-o", "out", "--scheme", "study_e")
    assert "2 faults" in error
    assert "column 'label' (or 'class_id' or 'emotion') is missing; did you mean 'lable'?" in error
    assert "column 'speaker' (or 'actor') is missing" in error
    assert files(work) == before
    # Extraction needs neither.
    succeed(*EXTRACT, MODEL, "-o", "x.h5")


def test_manifests_that_are_none(work: Path, fail: Fail) -> None:
    assert "does not exist" in fail("extract", "manifst.csv", "-m", MODEL, "--workers", "0", "-o", "x.h5")
    (work / "empty.csv").write_text("")
    assert "empty.csv" in fail("extract", "empty.csv", "-m", MODEL, "--workers", "0", "-o", "x.h5")
    (work / "heads.csv").write_text("path,label\n")
    assert "it names columns and no clip" in fail("extract", "heads.csv", "-m", MODEL, "--workers", "0", "-o", "x.h5")
    (work / "m.ods").write_bytes(b"PK")
    assert "this one is not known" in fail("extract", "m.ods", "-m", MODEL, "--workers", "0", "-o", "x.h5")
    assert not (work / "x.h5").exists()


# ---------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    "words",
    [
        (*EXTRACT, "{}", "-o", "out/x.h5"),
        ("finetune", "corpus/manifest.csv", "-m", "{}", "-o", "out", "--scheme", "study_e"),
        ("run", "study.yaml", "--set", "backbone.name={}"),
        ("search", "study.yaml", "--set", "backbone.name={}"),
        ("evaluate", "{}", "corpus/manifest.csv", "-o", "out"),
        ("classify", "{}", "corpus/manifest.csv"),
        ("export-onnx", "{}", "-o", "out.onnx"),
        ("curves", "{}", "-o", "out"),
        ("analyze", "drift", "x.h5", "--reference", "x.h5", "--weights", "{}", "-o", "out"),
    ],
    ids=lambda words: words[0],
)
def test_a_weights_file_or_a_missing_checkpoint_in_place_of_a_model(
    work: Path, fail: Fail, words: Sequence[str]
) -> None:
    (work / "wavlm.pt").write_bytes(bytes(1000))
    (work / "runs/mine/checkpoints/checkpoint-1").mkdir(parents=True)
    before = files(work)
    error = fail(*(word.format("wavlm.pt") for word in words))
    assert "wavlm.pt is a file, and a folder is wanted" in error
    error = fail(*(word.format("runs/mine/checkpoints/checkpoint-50") for word in words))
    assert "There is no such folder" in error
    assert "runs/mine/checkpoints holds checkpoint-1" in error
    assert "facebook" not in error
    assert files(work) == before


@pytest.mark.parametrize(
    "words",
    [
        (*EXTRACT, "tiny-wavlm-bse", "-o", "out/x.h5"),
        ("finetune", "corpus/manifest.csv", "-m", "tiny-wavlm-bse", "-o", "out", "--scheme", "study_e"),
        ("run", "study.yaml", "--set", "backbone.name=tiny-wavlm-bse"),
    ],
    ids=lambda words: words[0],
)
def test_unknown_backbone(work: Path, fail: Fail, words: Sequence[str]) -> None:
    error = fail(*words)
    assert "There is no backbone named 'tiny-wavlm-bse'" in error
    assert "did you mean 'tiny-wavlm-base'" in error
    assert not list(work.rglob("*.h5"))
    assert not list(work.rglob("checkpoint*"))


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ser_probe.models.loading import load_backbone, save_backbone

    folder = tmp_path_factory.mktemp("models") / "whole"
    save_backbone(load_backbone(MODEL), folder)
    return folder


@pytest.fixture
def model(whole_model: Path, work: Path) -> Path:
    return Path(shutil.copytree(whole_model, work / "model"))


def test_a_model_without_weights(model: Path, work: Path, fail: Fail) -> None:
    (model / "model.safetensors").unlink()
    error = fail(*EXTRACT, "model", "-o", "x.h5")
    assert "The weights of the local model could not be loaded" in error
    assert "model.safetensors" in error
    assert not list(work.glob("x.*"))


def test_a_model_with_some_weights_missing(model: Path, work: Path, fail: Fail) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    gone = next(name for name in weights if "layers.2" in name)
    del weights[gone]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    error = fail("run", "study.yaml", "--set", "backbone.name=model")
    assert "1 weights of the encoder were not loaded and would stay random" in error
    assert gone in error
    assert not list(work.rglob("*.h5"))
    assert not list(work.rglob("checkpoint*"))


class Payload:
    """Creates a file when it is unpickled: what a hostile checkpoint would do, only harmless."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bin_that_holds_code_is_not_run(model: Path, work: Path, fail: Fail, zipped: bool) -> None:
    import torch

    proof = str(work / "executed")
    (model / "model.safetensors").unlink()
    weights = model / "pytorch_model.bin"
    if zipped:
        torch.save({"x": Payload(proof)}, weights)
    else:
        weights.write_bytes(pickle.dumps({"x": Payload(proof)}))
    error = fail(*EXTRACT, "model", "-o", "x.h5")
    assert not Path(proof).exists()
    assert "hold more than tensors" in error
    assert "safetensors" in error
    assert not list(work.glob("x.*"))


def test_a_cache_made_from_other_weights(work: Path, fail: Fail) -> None:
    succeed(*EXTRACT, MODEL, "-o", "x.h5")
    before = Path("x.h5").read_bytes()
    error = fail(*EXTRACT, "tiny-hubert-base", "-o", "x.h5")
    assert "This cache was made from something else" in error
    assert "the model's weights" in error
    assert error.count("key ") >= 2, "both keys"
    assert "name another output file" in error
    error = fail(*EXTRACT, MODEL, "-o", "x.h5", "--loudness-lufs", "-20")
    assert "loudness" in error
    assert Path("x.h5").read_bytes() == before
    assert not list(work.glob("x.h5?*"))


# ---------------------------------------------------------------------------------------------------- the machine


def run_limited(work: Path, *words: str, limit_bytes: int) -> Forked:
    """Run the command line in a process of its own, which can write no file of more bytes; it must fail."""

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        sys.argv = ["ser-probe", *words]
        main()

    process = Forked(run, work)
    assert process.wait(timeout_s=300) == 1, process.errors
    return process


def start(work: Path, *words: str, patch: str) -> subprocess.Popen[str]:
    """Start the command line in an interpreter and a process group of its own, after running some code in it."""
    code = f"{textwrap.dedent(patch)}\nfrom ser_probe.cli.main import main\nmain()\n"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_disk_that_fills_up_during_extraction(work: Path) -> None:
    """A limit on the size of a file fails as a full disk does, in the middle of a write."""
    words = [*EXTRACT, MODEL, "-o", "out/x.h5"]
    error = run_limited(work, *words, limit_bytes=60_000).errors
    assert "error: The disk is full" in error
    assert "MB free" in error
    assert "Traceback" not in error
    assert not (work / "out/x.h5").exists()
    assert_nothing_partial(work)
    succeed(*words)
    with EmbeddingCache.open(Path("out/x.h5")) as cache:
        assert len(cache) == 72
        assert cache.verify() == []
    assert files(work / "out") == {"x.h5"}


def test_a_disk_that_fills_up_during_fine_tuning(work: Path) -> None:
    error = run_limited(work, "run", "study.yaml", limit_bytes=3_000_000).errors
    assert "could not be" in error
    assert "make room" in error
    assert "Traceback" not in error
    assert_nothing_partial(work)
    assert [find_fault(path) for _, path in list_checkpoints(work / "runs/small/checkpoints")] in ([], [None])
    left_out = [word for name in ANALYSES if name != "geometry" for word in ("--set", f"analyze.{name}=null")]
    succeed("run", "study.yaml", *left_out)


def test_a_folder_that_cannot_be_written(work: Path, fail: Fail) -> None:
    (work / "out").write_text("a file where a folder should be")
    error = fail(*EXTRACT, MODEL, "-o", "out/x.h5")
    assert "out" in error


STALL = """
    import time
    from pathlib import Path
    from ser_probe.embeddings import computation
    original, calls = computation.pool_layers, []
    def stall(*words):
        calls.append(1)
        if len(calls) == 4:
            Path("reached").touch()
            time.sleep(120)
        return original(*words)
    computation.pool_layers = stall
"""


def test_ctrl_c_during_extraction(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a terminal does it, to workers too. What was computed is kept, and the next run goes on."""
    words = [*EXTRACT, MODEL, "-o", "out/x.h5", "--max-clips", "4"]
    process = start(work, *words, "--workers", "1", patch=STALL)
    deadline = time.monotonic() + 90
    while not (work / "reached").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert error.rstrip().endswith(INTERRUPTED)
    assert "Traceback" not in output + error
    assert not (work / "out/x.h5").exists()
    assert_nothing_partial(work)

    succeed(*words)
    assert "clips: 72, 60 computed now" in capsys.readouterr().out, "three batches of four clips were done"
    assert files(work / "out") == {"x.h5"}


def test_ctrl_c_during_a_study(work: Path, fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ser_probe.steps.study.extractions.extract_sources", stop)
        error = fail("run", "study.yaml", code=130)
    assert error.splitlines()[-1] == INTERRUPTED
    assert_nothing_partial(work)
    weights = {path: path.stat().st_mtime_ns for path in work.rglob("checkpoint-*/model.safetensors")}
    assert len(weights) == 3
    succeed("run", "study.yaml")
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


# ---------------------------------------------------------------------------------------------------- analyses


def test_clips_that_are_not_in_all_files_are_counted(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv("corpus/manifest.csv")
    table.head(40).to_csv("corpus/few.csv", index=False)
    succeed(*EXTRACT, MODEL, "-o", "a.h5")
    succeed("extract", "corpus/few.csv", "-m", "tiny-wavlm-large", "-o", "b.h5")
    capsys.readouterr()
    succeed("analyze", "similarity", "a.h5", "b.h5", "-o", "t", "--pairs", "models")
    error = capsys.readouterr().err
    assert "warning: 32 of 72 clips are not in all of the files and are left out" in error


def test_faults_of_an_analysis_leave_no_table(work: Path, fail: Fail) -> None:
    succeed(*EXTRACT, MODEL, "-o", "a.h5")
    assert "The clips have no column 'split'" in fail("analyze", "probe", "a.h5", "-o", "t", "--division", "study")
    assert "did you mean 'label'" in fail("analyze", "umap", "a.h5", "-o", "t", "--color", "lable")
    assert "There is nothing to compare" in fail("analyze", "similarity", "a.h5", "-o", "t", "--pairs", "across")
    assert "There is no embedding cache here" in fail("analyze", "drift", "a.h5", "--reference", "b.h5", "-o", "t")
    assert not (work / "t").exists()
