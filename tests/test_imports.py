"""The import rules of the rooms, checked on the source itself: layers, doors, circles, names, and what stays lazy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ser_probe"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "clip_length": 0, "errors": 0, "files": 0, "names": 0, "output_paths": 0, "packages": 0, "runtime": 0,
    "data": 1, "audio": 1, "models": 1, "analysis": 1, "report": 1,
    "embeddings": 2, "training": 2,
    "config": 3,
    "steps": 4,
    "cli": 5, "library": 5,
}  # fmt: skip
NAME_TABLES = {
    "data.schemes", "data.corpora", "models.catalogue", "models.lora", "models.pooling", "models.trained_part",
    "training.settings",
}  # fmt: skip
NEVER = {
    "embeddings": {"analysis", "report", "training"},
    "training": {"analysis", "report", "embeddings"},
    "cli": {"data", "audio", "models", "analysis", "report", "embeddings", "training"},
}
DOORS = {
    "soundfile": ("audio.load", "audio.preview", "audio.written_clip", "data.sample"),
    "soxr": ("audio.load",),
    "transformers": ("models.loading", "training"),
    "accelerate": ("training",),
    "tensorboard": ("training",),
    "h5py": ("embeddings.store",),
    "opensmile": ("embeddings.opensmile_sets",),
    "silero_vad": ("audio.speech",),
    "audiomentations": ("audio.augment",),
    "torch_audiomentations": ("audio.augment",),
    "speechbrain": ("models.frame_pooling",),
    "peft": ("models.lora",),
    "optuna": ("training.search",),
    "onnx": ("models.onnx_export",),
    "onnxruntime": ("models.onnx_export",),
    "umap": ("analysis.projection", "analysis.compiled_umap"),
    "statsmodels": ("analysis.stats",),
    "numba": ("analysis.probes.compiled", "analysis.compiled_umap"),
    "matplotlib": ("report", "library.plots", "library.results"),
    "jinja2": ("report",),
    "pyloudnorm": ("audio.loudness",),
    "espeakng_loader": ("data",),
    "typer": ("cli",),
    "rich": ("cli",),
    "pydantic": ("config", "library.call"),
}
LAZY = ("torch", "torchaudio", "transformers", "umap", "pandas")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "misc"}


def dotted(path: Path) -> str:
    """Return `data.corpora` for ser_probe/data/corpora/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path, *, at_import: bool = False) -> tuple[str, ...]:
    """Return the modules that a file imports; with `at_import` only those loaded when the file itself is."""
    return tuple(_walk_imports(path, at_import=at_import))


def _walk_imports(path: Path, *, at_import: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)


@cache
def known_modules() -> frozenset[str]:
    return frozenset(dotted(module) for module in MODULES)


def own_imports(path: Path, *, at_import: bool = False) -> set[str]:
    """Return the modules of ser_probe that a file imports, as `data.manifest`."""
    known = known_modules()
    found = set()
    for name in imports_of(path, at_import=at_import):
        if name.startswith("ser_probe."):
            inner = name.removeprefix("ser_probe.")
            found.add(inner if inner in known else inner.rpartition(".")[0])
    return found - {""}


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_layers(path: Path) -> None:
    module = dotted(path)
    if not module:
        assert own_imports(path, at_import=True) == set(), "importing ser_probe must load nothing"
        return
    here = room(module)
    assert here in LAYERS, f"{here}: a room that the table does not know"
    for imported in own_imports(path):
        there = room(imported)
        if there == here:
            continue
        if here == "config" and LAYERS[there] > 0:
            assert imported in NAME_TABLES, f"config may import only {NAME_TABLES}, not {imported}"
        assert LAYERS[there] <= LAYERS[here], f"{module} (layer {LAYERS[here]}) imports {imported}"
        assert LAYERS[there] < LAYERS[here] or LAYERS[here] in (0, 2), f"{module} imports its neighbour {imported}"
        assert there not in NEVER.get(here, set()), f"{here} must not import {there}: {module} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_doors(path: Path) -> None:
    module = dotted(path)
    for name in imports_of(path):
        package = ".".join(name.split(".")[:3]) if name.startswith("torch.utils.tensorboard") else name.split(".")[0]
        package = "tensorboard" if package == "torch.utils.tensorboard" else package
        doors = DOORS.get(package)
        inside = doors is None or any(module == door or module.startswith((f"{door}.", f"{door}_")) for door in doors)
        assert inside, f"{module} imports {package}; only {doors} may"


def test_no_circles() -> None:
    graph = {dotted(path): own_imports(path, at_import=True) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import circle: " + " -> ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for imported in sorted(graph.get(module, set())):
            visit(imported, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_room_imports_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        if dotted(path):
            graph.setdefault(room(dotted(path)), set()).update(room(name) for name in own_imports(path))
    for one, imported in graph.items():
        for other in imported - {one}:
            assert one not in graph.get(other, set()), f"{one} and {other} import each other"


def test_names_say_something() -> None:
    for path in MODULES:
        assert not FORBIDDEN_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts), path
    assert {room(dotted(path)) for path in MODULES if dotted(path)} <= set(LAYERS)


def test_modules_are_short() -> None:
    lengths = {dotted(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {module: length for module, length in lengths.items() if length > 350} == {}


def loaded_by(code: str) -> set[str]:
    """Return which lazy packages a fresh interpreter has loaded after some code."""
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *(name for name in {LAZY} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import ser_probe",
        "import ser_probe.config",
        "import ser_probe.models.pooling",
        "from ser_probe.cli.main import app; app(['--help'])",
        "from ser_probe.cli.main import app; app(['analyze', 'umap', '--help'])",
        "from ser_probe.cli.main import app; app(['run', 'configs/quickstart.yaml', '--print-config'])",
    ],
)
def test_heavy_packages_load_on_use(code: str) -> None:
    assert loaded_by(code) == set()


def test_the_check_of_lazy_packages_sees_them() -> None:
    assert loaded_by("import pandas") == {"pandas"}


def test_the_walk_sees_what_it_must(tmp_path: Path) -> None:
    """The counter-case: imports inside functions are seen, and told apart from those at import."""
    source = tmp_path / "module.py"
    source.write_text("import h5py\nif True:\n    import yaml\ndef load():\n    from umap import UMAP\n")
    assert set(imports_of(source)) == {"h5py", "yaml", "umap.UMAP"}
    assert set(imports_of(source, at_import=True)) == {"h5py", "yaml"}
