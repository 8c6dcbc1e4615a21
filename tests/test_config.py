"""The study's configuration: what is accepted, and that every fault is reported at once, with key and near match."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from ser_probe.config import AnalyzeConfig, ProbeConfig, StudyConfig, check_options, json_schema, load_study, study_yaml
from ser_probe.config.sections import SplitConfig
from ser_probe.data.schemes import FRACTIONS, SCHEMES
from ser_probe.errors import ConfigError

LEAST = "name: least\ndata: {corpus: emovo, root: x}\nbackbone: {name: tiny-wavlm-base}\n"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_yaml(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_yaml


def faults_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_study(path, overrides)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines() if line.startswith("  - ")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("mean", ("mean",)),
        ("[mean]", ("mean",)),
        ("[frames, 'segments:4', mean+std]", ("frames", "segments:4", "mean+std")),
    ],
)
def test_one_pooling_or_several(write: Write, text: str, names: tuple[str, ...]) -> None:
    assert load_study(write(LEAST), [f"extract.pooling={text}"]).extract.pooling == names
    assert load_study(write(LEAST)).extract.pooling == ("mean",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "extract.pooling (--set): name at least one pooling, such as mean"),
        ("median", "extract.pooling (--set): there is no such pooling: 'median'; expected mean, std, mean+std, max, "),
        ("[mean, maks]", "extract.pooling[1] (--set): there is no such pooling: 'maks'; expected mean, "),
        (
            "['segments:1']",
            "extract.pooling[0] (--set): the number of segments of a pooling is out of range: 'segments:1'; "
            "expected segments:K with K from 2 to 100",
        ),
    ],
)
def test_poolings_that_are_none(write: Write, text: str, fault: str) -> None:
    (found,) = faults_of(write(LEAST), f"extract.pooling={text}")
    assert found.startswith(fault)


def test_chunks_and_precisions_that_fit(write: Write) -> None:
    fits = ["extract={long_clips: chunk, chunk_overlap_s: 14.9, precision: tf32}"]
    assert load_study(write(LEAST), fits).extract.precision == "tf32", "the device is chosen where it runs"
    load_study(write(LEAST), ["extract={long_clips: whole, chunk_overlap_s: 2.0}"])


def test_defaults_are_those_of_study_e(write: Write) -> None:
    study = load_study(write(LEAST))
    assert (study.split.scheme, study.audio.loudness_lufs) == ("study_e", None)
    assert FRACTIONS["study_e"] == {"train": 0.64, "validation": 0.20, "test": 0.16}
    tuning = study.finetune
    assert (tuning.checkpoint_every, tuning.batch_size, tuning.learning_rate) == (50, 16, 1e-5)
    assert tuning.early_stopping is not None
    assert (tuning.early_stopping.threshold, tuning.early_stopping.patience) == (0.025, 5)
    probe = study.analyze.probe
    assert probe is not None
    assert (probe.initialisations, probe.learning_rate, probe.max_epochs) == (10, 1e-2, 1000)
    assert (study.extract.layers, study.extract.egemaps) == ("all", True)


def test_resolved_yaml_reads_back_equal(write: Write) -> None:
    study = load_study(
        write(LEAST), ["finetune.learning_rate=3e-6", "analyze.umap=null", "data.labels=['no', joy]", "seed=7"]
    )
    assert load_study(write(study_yaml(study))) == study


def test_a_study_cannot_be_changed(write: Write) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_study(write(LEAST)).seed = 3


def test_seed_is_handed_down_to_those_that_have_none(write: Write) -> None:
    study = load_study(write(LEAST + "seed: 5\nsplit: {seed: 9}\n"))
    assert (study.seed, study.split.seed, study.finetune.seed) == (5, 9, 5)
    assert study.evaluate is not None
    assert study.evaluate.seed == 5
    assert load_study(write(LEAST + "seed: 5\nevaluate: null\n")).evaluate is None


def test_overrides_win_and_the_last_wins(write: Write) -> None:
    path = write(LEAST + "finetune: {epochs: 3}\nanalyze: {probe: null}\n")
    study = load_study(path, ["finetune.epochs=4", "finetune.epochs=5", "analyze.probe.initialisations=2"])
    assert study.finetune.epochs == 5
    assert study.analyze.probe is not None
    assert study.analyze.probe.initialisations == 2


@pytest.mark.parametrize("text", ["1e-5", "1.0e-5", "1E-05", "0.00001", "+1e-5", "1_0e-6"])
def test_numbers_as_people_write_them(write: Write, text: str) -> None:
    assert load_study(write(LEAST + f"finetune: {{learning_rate: {text}}}\n")).finetune.learning_rate == 1e-5
    assert load_study(write(LEAST), [f"finetune.learning_rate={text}"]).finetune.learning_rate == 1e-5


def test_an_exponent_in_a_word_stays_a_word(write: Write) -> None:
    study = load_study(write(LEAST), ["backbone.name=1e5-large", "data.keep={sentence: ['1e5', e12]}"])
    assert study.backbone.name == "1e5-large"
    assert study.data.keep == {"sentence": ("1e5", "e12")}


def test_all_faults_at_once(write: Write) -> None:
    path = write(
        """name: a study
sead: 3
data:
  corpus: emovo
  manifest: m.csv
  labels: [sad, no]
audio: {loudness_lufs: 3, sample_rate_hz: 8000}
split: {scheme: study_f, fractions: {train: 0.5, validation: 0.5}}
backbone: {}
extract:
  storage: float8
  splits: [tset]
  checkpoints: some
  batch_seconds: -1e1
finetune:
  epochs: true
  batch_size: 1.5
  learning_rate: "1e-5"
  early_stopping: {patience: 0, threshold: .nan}
  max_clips: 4
  trained: all
  cache_front_end: true
analyze:
  probe: {families: [], seeds: null}
  umap: {layers: [0, last], color: label}
"""
    )
    assert sorted(faults_of(path, "finetune.epocs=3", "output=5")) == sorted(
        [
            "name (line 1): expected letters, digits, dot, dash, underscore, a letter or digit first, found 'a study'",
            "sead (line 2): unknown key; did you mean 'seed' or 'search'?",
            "data.labels[1] (line 6): expected text, found false; put it in quotes",
            "data.manifest (line 5): give a manifest or a corpus, not both",
            "data.root (line 3): data.corpus 'emovo' needs the folder of the corpus",
            "audio.loudness_lufs (line 7): expected 0 or less, found 3",
            "audio.sample_rate_hz (line 7): expected 16000, found 8000",
            "split.scheme (line 8): expected 'study_e', 'study_b', 'fractions', 'loso', 'kfold' or 'manifest', found "
            "'study_f'; did you mean 'study_e' or 'study_b'?",
            "split.fractions.test (line 8): required, and not given",
            "backbone.name (line 9): required, and not given",
            "extract.storage (line 11): expected 'float32' or 'float16', found 'float8'; did you mean 'float32' or "
            "'float16'?",
            "extract.splits[0] (line 12): expected 'train', 'validation' or 'test', found 'tset'; did you mean 'test'?",
            "extract.checkpoints (line 13): expected 'all' or a list, as in [a, b], found 'some'",
            "extract.batch_seconds (line 14): expected 'auto' or a number above 0, found -10.0",
            "finetune.epochs (line 16): expected a number, found true",
            "finetune.batch_size (line 17): expected a whole number, found 1.5",
            "finetune.learning_rate (line 18): expected a number, found '1e-5'",
            "finetune.early_stopping.patience (line 19): expected 1 or more, found 0",
            "finetune.early_stopping.threshold (line 19): expected a finite number, found nan",
            "finetune.max_clips (line 20): unknown key; did you mean 'extract.max_clips' or 'evaluate.max_clips'?",
            "finetune.cache_front_end (line 22): a front end that is trained changes at every step and cannot be "
            "computed once",
            "finetune.epocs (--set): unknown key; did you mean 'epochs'?",
            "analyze.probe.families (line 24): expected a list with at least 1, found []",
            "analyze.probe.initialisations (line 24): expected a whole number, found null",
            "analyze.umap.layers[1] (line 25): expected a whole number or 'final', found 'last'",
            "analyze.umap.color (line 25): expected a list, as in [a, b], found 'label'",
            "output (--set): expected keys and values, found 5",
        ]
    )


def test_the_message_names_the_file_and_counts(write: Write) -> None:
    path = write(LEAST + "sead: 3\n")
    with pytest.raises(ConfigError, match=re.escape("cannot be used: 1 fault\n")) as caught:
        load_study(path)
    assert f"where: {path}" in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (["data.manifest=m.csv"], "data.manifest (--set): give a manifest or a corpus, not both"),
        (
            ["data.corpus=null", "data.root=null"],
            "data.manifest (line 2): give data.manifest, or data.corpus with data.root",
        ),
        (["data.root=null"], "data.root (--set): data.corpus 'emovo' needs the folder of the corpus"),
        (
            ["data.corpus=emov"],
            "data.corpus (--set): there is no importer 'emov'; did you mean 'emovo' or 'nemo' or 'emov_db'?",
        ),
        (["data.options.x=1"], "data.options.x (--set): no option of the importer; it has none"),
        (
            ["data.corpus=crema_d", "data.options.lables=intended"],
            "data.options.lables (--set): no option of the importer; did you mean 'labels'?",
        ),
        (
            ["data.audio_root=y"],
            "data.audio_root (--set): belongs to data.manifest; a corpus lies in data.root",
        ),
        (
            ["data.corpus=null", "data.manifest=m.csv"],
            "data.root (line 2): belongs to data.corpus; a manifest has data.audio_root",
        ),
        (
            ["data={manifest: m.csv, options: {a: 1}}"],
            "data.options (--set): belong to an importer; a manifest has none",
        ),
        (["data.labels=[joy]"], "data.labels (--set): at least two different labels are needed to tell them apart"),
        (["audio.min_duration_s=31"], "audio.min_duration_s (--set): must be below audio.max_duration_s (30)"),
        (["split.scheme=fractions"], "split.fractions (--set): needed by split.scheme 'fractions'"),
        (
            ["split.fractions={train: 0.6, validation: 0.2, test: 0.2}"],
            "split.fractions (--set): would be ignored by split.scheme 'study_e': set split.scheme to 'fractions'",
        ),
        (
            ["split={scheme: fractions, fractions: {train: 0.6, validation: 0.2, test: 0.1}}"],
            "split.fractions (--set): must sum to 1, sum to 0.9",
        ),
        (["split={scheme: kfold, fold: 5}"], "split.fold (--set): must be below split.folds (5)"),
        (["extract.pooling=[mean, max, mean]"], "extract.pooling (--set): names a pooling twice"),
        (
            ["extract={long_clips: chunk, chunk_overlap_s: 15.0}"],
            "extract.chunk_overlap_s (--set): must be below half of audio.max_duration_s (30), the length of a chunk",
        ),
        (
            ["extract={precision: tf32, device: cpu}"],
            "extract.precision (--set): tf32 exists on CUDA devices only",
        ),
        (
            ["split.scheme=manifest"],
            "split.scheme (--set): 'manifest' needs data.manifest with a split column",
        ),
        (["backbone.revision=abc"], "backbone.revision (--set): 'tiny-wavlm-base' is built here and has no revision"),
        (
            ["finetune={trained: all, cache_front_end: true}"],
            "finetune.cache_front_end (--set): a front end that is trained changes at every step and cannot be "
            "computed once",
        ),
        (
            ["finetune={cache_front_end: true, augment: {transforms: [{name: FrequencyMask}]}}"],
            "finetune.cache_front_end (--set): clips that are augmented anew in each epoch cannot be computed once",
        ),
        (["finetune.lora={}"], "finetune.lora (--set): would be ignored: set finetune.trained to 'lora'"),
        (["finetune.head.layers=5"], "finetune.head.layers (--set): 'tiny-wavlm-base' has the layers 0 to 4"),
        (
            ["finetune.target_columns=[arousal]"],
            "finetune.target_columns (--set): are for distribution or numeric targets",
        ),
        (["finetune.targets=numeric"], "finetune.target_columns (--set): name the columns of the numeric targets"),
        (["finetune.loss=ccc"], "finetune.loss (--set): 'ccc' is not for classes targets; cross_entropy is"),
        (
            ["finetune.early_stopping.metric=rmse"],
            "finetune.early_stopping.metric (--set): classes targets have no 'rmse', but loss, accuracy, uar, "
            "macro_f1, weighted_f1",
        ),
        (
            ["finetune={targets: numeric, target_columns: [arousal], label_smoothing: 0.1}"],
            "finetune.label_smoothing (--set): is for classes, not for numeric targets",
        ),
        (
            ["finetune.enabled=false", "extract.checkpoints=[0, 50]"],
            "extract.checkpoints (--set): without fine-tuning there is only step 0",
        ),
        (
            ["evaluate.splits=[]"],
            "evaluate.splits (--set): there is nothing to score on: name a split or a test set",
        ),
        (["evaluate.splits=[test, test]"], "evaluate.splits (--set): names a split twice"),
        (
            ["evaluate.test_sets=[{name: a, manifest: a.csv}, {name: a, manifest: b.csv}]"],
            "evaluate.test_sets (--set): each needs a name of its own; found twice: a",
        ),
        (
            ["evaluate.test_sets=[{name: test, manifest: a.csv}]"],
            "evaluate.test_sets (--set): 'test' is what a split of the study is called",
        ),
        (["evaluate={precision: tf32, device: cpu}"], "evaluate.precision (--set): tf32 exists on CUDA devices only"),
        (
            ["extract.splits=[test]", "analyze.splits=all", "analyze.probe.division=heldout"],
            "analyze.splits (--set): not in extract.splits: train, validation",
        ),
        (
            ["extract.splits=[test]", "analyze.probe.division=study"],
            "analyze.probe.division (--set): 'study' needs clips that extract.splits leaves out: train, validation",
        ),
        (
            ["extract.splits=[train]", "analyze.splits=[train]", "analyze.probe.division=heldout"],
            "analyze.probe.division (--set): 'heldout' needs clips that extract.splits leaves out: test",
        ),
        (["extract.egemaps=false"], "analyze.similarity.egemaps: needs extract.egemaps: true"),
        (
            ["analyze.umap.layers=[0, 5, final]"],
            "analyze.umap.layers (--set): 'tiny-wavlm-base' has the layers 0 to 4 and 'final'; found [5]",
        ),
        (
            ["analyze.umap.layers=[25]", "backbone.name=microsoft/wavlm-large"],
            "analyze.umap.layers (--set): 'microsoft/wavlm-large' has the layers 0 to 24 and 'final'; found [25]",
        ),
    ],
)
def test_impossible_combinations(write: Write, overrides: list[str], fault: str) -> None:
    assert faults_of(write(LEAST), *overrides) == [fault]


@pytest.mark.parametrize(
    "overrides",
    [
        ["split={scheme: fractions, fractions: {train: 0.64, validation: 0.2, test: 0.16}}"],
        ["split={scheme: kfold, fold: 4}"],
        ["finetune.enabled=false", "finetune.checkpoint_every=10"],
        ["finetune.enabled=false", "extract.checkpoints=[0]"],
        ["finetune={trained: all, cache_front_end: auto}"],
        ["extract={splits: [test], egemaps: false}", "analyze.similarity=null"],
        ["extract.splits=[train]", "analyze.splits=[train]", "analyze.probe.division=auto"],
        ["analyze.umap.layers=[99]", "backbone.name=someone/own-model"],
        ["analyze={probe: null, similarity: null, drift: null, umap: null}"],
        ["data={manifest: m.csv, audio_root: y}", "split.scheme=manifest"],
    ],
)
def test_combinations_that_look_odd_and_work(write: Write, overrides: list[str]) -> None:
    load_study(write(LEAST), overrides)


@pytest.mark.parametrize("missing", ["name", "data", "backbone"])
def test_a_missing_section_hides_no_clash(write: Write, missing: str) -> None:
    text = "".join(line for line in LEAST.splitlines(keepends=True) if not line.startswith(missing))
    faults = faults_of(write(text), "split={scheme: kfold, fold: 7}")
    assert faults == [f"{missing}: required, and not given", "split.fold (--set): must be below split.folds (5)"]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("x", "--set x: expected key=value, as in finetune.epochs=3"),
        ("=3", "--set =3: expected key=value, as in finetune.epochs=3"),
        ("a..b=3", "--set a..b=3: expected key=value, as in finetune.epochs=3"),
        ("name.x=3", "--set name.x=3: name is a value and has no keys below it"),
        ("data.labels=[a", "--set data.labels=[a: the value is not valid YAML (line 1, column 3: "),
        ("finetune.epochs=many", "finetune.epochs (--set): expected a number, found 'many'"),
        ("finetunes.epochs=3", "finetunes (--set): unknown key; did you mean 'finetune'?"),
        ("early_stopping=null", "early_stopping (--set): unknown key; did you mean 'finetune.early_stopping'?"),
    ],
)
def test_overrides_that_cannot_be_set(write: Write, override: str, fault: str) -> None:
    (found,) = faults_of(write(LEAST), override)
    assert found.startswith(fault)


def test_duplicate_keys(write: Write) -> None:
    path = write(LEAST + "finetune:\n  epochs: 3\n  batch_size: 4\n  epochs: 5\nseed: 1\nseed: 1\n")
    assert faults_of(path) == [
        "finetune.epochs: given twice, in line 5 and line 7",
        "seed: given twice, in line 8 and line 9",
    ]


def test_equal_keys_in_different_sections_are_no_duplicates(write: Write) -> None:
    study = load_study(write(LEAST + "split: {seed: 1}\nfinetune: {seed: 2}\nextract: &e {workers: 0}\n"))
    assert (study.split.seed, study.finetune.seed, study.extract.workers) == (1, 2, 0)


def test_keys_are_text_whatever_yaml_makes_of_them(write: Write) -> None:
    assert [fault.split(";")[0] for fault in faults_of(write(LEAST + "on: 1\n2: 3\nnull: 4\n"))] == [
        "on (line 4): unknown key",
        "2 (line 5): unknown key",
        "null (line 6): unknown key",
    ]


def test_anchors_merge_and_a_circle_does_not_hang(write: Write) -> None:
    study = load_study(write(LEAST + "split: &s {seed: 3}\nfinetune: {<<: *s, epochs: 2}\n"))
    assert (study.finetune.seed, study.finetune.epochs) == (3, 2)
    with pytest.raises(ConfigError, match=r"not valid YAML\n.*\n.*line 4: the anchor contains itself"):
        load_study(write(LEAST + "split: &a {seed: *a}\n"))


@pytest.mark.parametrize("kind", ["values", "keys", "merged"])
def test_anchors_that_hold_anchors_are_bounded(write: Write, kind: str) -> None:
    """Nine lines that stand for 10^9 values end at once."""
    lines = [{"values": "a0: &a0 [0]", "keys": "a0: &a0 {k: 0}", "merged": "a0: &a0 {k: 0}"}[kind]]
    for level in range(1, 10):
        above = [f"*a{level - 1}"] * 10
        inside = {
            "values": f"[{', '.join(above)}]",
            "keys": f"{{{', '.join(f'k{number}: {name}' for number, name in enumerate(above))}}}",
            "merged": f"{{<<: [{', '.join(above)}]}}",
        }[kind]
        lines.append(f"a{level}: &a{level} {inside}")
    with pytest.raises(ConfigError, match=r"(?s)not valid YAML.*more than 20,000 values"):
        load_study(write(LEAST + "\n".join(lines)))


def test_a_study_file_is_bounded(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"(?s)not valid YAML.*more than 262,144 bytes"):
        load_study(write(LEAST + "# long\n" * 40_000))


@pytest.mark.parametrize("key", ["seed", "split.seed", "finetune.seed", "backbone.random_weights"])
def test_seeds_are_those_that_every_generator_takes(write: Write, key: str) -> None:
    assert load_study(write(LEAST), [f"{key}=4294967295"])
    with pytest.raises(
        ConfigError, match=rf"(?s)cannot be used: 1 fault\n.*{key} .*expected a number below 4294967296"
    ):
        load_study(write(LEAST), [f"{key}=4294967296"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\nb: 3", "not valid YAML.*line 2, column 2"),
        (b"a: !!python/object/apply:os.getcwd []", "not valid YAML.*could not determine a constructor"),
        (b"a: 2020-13-45", "not valid YAML.*month must be in"),
        (b"a: b\n---\nc: d", "not valid YAML.*line 2"),
        (b"name: \xff\xfe", "not text in UTF-8"),
        (b"", "holds no keys.*found: nothing"),
        (b"- a\n- b\n", "holds no keys.*found: list"),
        (b"name: a\x00b", "not valid YAML.*special characters are not allowed"),
    ],
)
def test_files_that_are_no_study(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_study(path)


def test_a_missing_file_names_its_neighbours(write: Write) -> None:
    path = write(LEAST)
    with pytest.raises(ConfigError, match=re.escape(f"did you mean '{path}'")):
        load_study(path.with_name("stdy.yaml"))
    with pytest.raises(ConfigError, match="give the path of a study's YAML file"):
        load_study(path.parent / "nowhere" / "study.yaml")


def test_paths_know_the_home_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_study(write(LEAST), ["data.root=~/EMOVO"]).data.root == Path("/home/somebody/EMOVO")


def test_options_of_a_command_line() -> None:
    probe = check_options(ProbeConfig, {"initialisations": 3, "learning_rate": None, "controls": ["majority_class"]})
    assert (probe.initialisations, probe.learning_rate, probe.controls) == (3, 1e-2, ("majority_class",))
    analyze = check_options(AnalyzeConfig, {"umap.layers": [1]}, ["umap.min_dist=0.5"])
    assert analyze.umap is not None
    assert (analyze.umap.layers, analyze.umap.min_dist) == ((1,), 0.5)
    with pytest.raises(ConfigError, match=r"initialisations \(command line\): expected 1 or more, found 0"):
        check_options(ProbeConfig, {"initialisations": 0})


def test_json_schema_describes_every_key() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    sections: dict[str, Any] = {"study": schema, **schema["$defs"]}
    undescribed = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section["properties"].items()
        if not value.get("description")
    ]
    assert undescribed == []
    # An augmentation takes the parameters of its class, whichever these are.
    open_sections = [name for name, section in sections.items() if section["additionalProperties"] is not False]
    assert open_sections == ["TransformConfig"]
    assert set(schema["required"]) == {"name", "data", "backbone"}


def test_split_schemes_are_those_of_the_data_room() -> None:
    schemes = set(get_args(SplitConfig.model_fields["scheme"].annotation))
    assert schemes == {*SCHEMES, "fractions"}


def test_every_section_refuses_unknown_keys(write: Write) -> None:
    schema = StudyConfig.model_json_schema()
    for section in ("data", "audio", "split", "backbone", "extract", "finetune", "evaluate", "analyze", "output"):
        assert section in schema["properties"]
        assert any("surely_not" in fault for fault in faults_of(write(LEAST), f"{section}.surely_not=1"))
