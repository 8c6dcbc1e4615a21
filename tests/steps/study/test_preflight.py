"""What is missing or broken stops a study before its first clip, and is never taken for a fault of the clips."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_probe.config import StudyConfig, check_options
from ser_probe.errors import MissingExtraError, PackageError
from ser_probe.steps import classify, evaluate, prepare
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.study.run import STAGES, run_study

from ...classifiers import save_run
from ..conftest import OPTIONS, Said, small_study

BROKEN = "raise OSError('lib.so: undefined symbol: x')"


@pytest.fixture
def break_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a package that cannot be loaded before the installed one."""
    monkeypatch.syspath_prepend(tmp_path / "broken")
    (tmp_path / "broken").mkdir()

    def put(name: str) -> None:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        (tmp_path / "broken" / f"{name}.py").write_text(BROKEN)

    return put


@pytest.mark.parametrize("package", ["soundfile", "soxr", "jinja2"])
def test_a_broken_package_stops_a_study_before_its_clips(
    package: str, corpus: Path, break_package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object, **__: object) -> None:
        raise AssertionError("a clip was looked at")

    monkeypatch.setattr(prepare, "check_manifest", look)
    break_package(package)
    with pytest.raises(PackageError, match=f"The package '{package}' is installed, but cannot be loaded"):
        run_study(small_study("extract.egemaps=false", "analyze.similarity.egemaps=false"))


@pytest.mark.parametrize("command", ["evaluate", "classify"])
@pytest.mark.parametrize("package", ["soundfile", "pyloudnorm"])
def test_a_command_on_a_checkpoint_asks_first_for_what_it_needs(
    command: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    run = save_run(tmp_path / "run")
    monkeypatch.setattr(evaluate, "load_classifier", load)
    monkeypatch.setattr(classify, "load_classifier", load)
    monkeypatch.setitem(sys.modules, package, None)
    work = {
        "evaluate": lambda: evaluate.evaluate_checkpoint(run, [tmp_path / "m.csv"], tmp_path / "out"),
        "classify": lambda: classify.classify_files(run, [tmp_path / "a.wav"]),
    }
    with pytest.raises(PackageError, match=f"The package '{package}' is not installed"):
        work[command]()


def test_figures_that_nobody_wants_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    check_packages(None, ("evaluate",))
    with pytest.raises(PackageError, match="The package 'matplotlib' is not installed"):
        check_packages(None, ("evaluate", "evaluation figures"))


def test_all_that_is_missing_is_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("opensmile", "jinja2"):
        monkeypatch.setitem(sys.modules, package, None)
    study = check_options(StudyConfig, OPTIONS, ["extract.egemaps=true", "analyze.umap=null"])
    with pytest.raises(PackageError, match="The installation lacks what is needed here: 2 faults") as caught:
        check_packages(study, ("egemaps", "report"))
    assert "extracting eGeMAPSv02 (extract.egemaps) needs the package 'opensmile', which is not" in str(caught.value)
    assert "The package 'jinja2' is not installed" in str(caught.value)


def test_a_stage_that_comes_later_is_not_loaded_before_a_fault(break_package: Callable[[str], None]) -> None:
    for package in ("soundfile", "jinja2"):
        break_package(package)
    with pytest.raises(PackageError, match="The package 'soundfile' is installed, but cannot be loaded"):
        check_packages(small_study(), ("prepare", "report"))


@pytest.mark.parametrize(
    ("package", "stage", "options", "said"),
    [
        ("peft", "finetune", ["finetune.trained=lora"], "training low-rank adapters"),
        ("speechbrain", "finetune", ["finetune.head.pooling=ecapa"], "the pooling 'ecapa'"),
        ("silero_vad", "extract", ["extract.pooling=speech-mean"], "the pooling 'speech-mean'"),
        ("statsmodels", "stats", ["analyze.stats={}"], "the analysis of variance"),
        ("optuna", "search", [], "hyper-parameter search"),
        (
            "audiomentations",
            "finetune",
            ["finetune.augment={transforms: [{library: audiomentations, name: Gain}]}"],
            "augmentation with audiomentations",
        ),
    ],
)
def test_extras_are_asked_for_by_the_stages_that_use_them(
    package: str, stage: str, options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"{said}.* needs the package '{package}', which is not installed"):
        check_packages(small_study(*options), (stage,))
    if stage != "search":
        check_packages(small_study("analyze.stats=null"), (stage,))


def test_a_study_asks_for_nothing_that_it_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("opensmile", "umap", "statsmodels", "silero_vad", "peft", "optuna", "torchaudio"):
        monkeypatch.setitem(sys.modules, package, None)
    off = ("extract.egemaps=false", "analyze.similarity.egemaps=false", "analyze.stats=null")
    check_packages(small_study(*off), STAGES)


def test_stages_that_are_done_ask_for_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("soundfile", "jinja2", "accelerate"):
        monkeypatch.setitem(sys.modules, package, None)
    said = Said()
    assert "nothing, all was fresh" in str(run_study(small_study(), progress=said).summary["done"])
    with pytest.raises(PackageError, match="The package 'jinja2' is not installed"):
        run_study(small_study(), progress=said, force=("report",))
