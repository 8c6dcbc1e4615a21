"""The verb `doctor`: what works on this machine, what does not, and what to do about it.

Packages with compiled parts are tried in separate processes: a package that cannot be loaded, or that crashes its
process, is a finding and does not end the examination.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ser_probe.packages import BAD_PAIRS, installed_as, mending, version_of
from ser_probe.runtime import memory_bytes

State = Literal["ok", "note", "missing", "broken", "fault"]

LEAST_PYTHON = (3, 11)
LOW_DISK_GB = 5.0
TRIAL_SECONDS = 120
_GB = 1e9
_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# Packages with compiled parts that load in a second or two and do not need torch. numba is tried in place of umap.
_NEEDED = ("numpy", "scipy", "sklearn", "pandas", "pyarrow", "h5py", "numba", "matplotlib", "safetensors", "soxr",
           "pydantic", "transformers")  # fmt: skip
_OPTIONAL = ("espeakng_loader", "optuna", "statsmodels", "onnx", "onnxruntime")
_NEED_TORCHAUDIO = ("torch-audiomentations", "speechbrain")

TORCH_TRIAL = """
import json, torch
from ser_probe.packages import set_aside_broken
devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(),
    "torchaudio": set_aside_broken("torchaudio"),
    "devices": [f"{d.name}, {d.total_memory / 1e9:.0f} GB" for d in devices]}))
"""
PACKAGES_TRIAL = """
import importlib, importlib.util, json
from ser_probe.packages import import_fault, mending, reason
faults = {}
for package in %r:
    if importlib.util.find_spec(package) is None:
        continue
    try:
        importlib.import_module(package)
    except Exception as error:
        fault = import_fault(error)
        faults[package] = {"found": fault.found if fault else reason(error),
            "fix": fault.fix if fault else mending(package)}
print(json.dumps({"faults": faults}))
"""
SOUNDFILE_TRIAL = """
import json, soundfile
print(json.dumps({"version": soundfile.__version__, "library": soundfile.__libsndfile_version__,
    "formats": sorted(set(soundfile.available_formats()) & {"WAV", "FLAC", "OGG", "MP3", "AIFF"})}))
"""
OPENSMILE_TRIAL = """
import json, numpy, opensmile
smile = opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02)
smile.process_signal(numpy.zeros(16000, dtype="float32"), 16000)
print(json.dumps({"version": opensmile.__version__}))
"""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: What was checked.
        state: `ok`; `note`, worth knowing; `missing`, optional and absent; `broken`, optional, installed and unusable;
            `fault`, needed and absent or unusable.
        found: What is there.
        fix: What to do, where there is something.
    """

    what: str
    state: State
    found: str
    fix: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the finding as a JSON-like mapping."""
        return asdict(self)


def examine(*, runs: Path, cache: Path) -> list[Finding]:
    """Examine everything that a study needs or can use.

    Args:
        runs: Folder of the studies.
        cache: Folder of the embedding files.

    Returns:
        Findings in the order in which they should be mended.
    """
    requirements = importlib.metadata.requires("ser-probe") or []
    trials = {
        "torch": TORCH_TRIAL,
        "soundfile": SOUNDFILE_TRIAL,
        "needed": PACKAGES_TRIAL % (_NEEDED,),
        "optional": PACKAGES_TRIAL % (_OPTIONAL,),
        **({"opensmile": OPENSMILE_TRIAL} if _installed("opensmile") else {}),
    }
    with ThreadPoolExecutor() as pool:
        results = dict(zip(trials, pool.map(try_code, trials.values()), strict=True))
    optional = {name.replace("_", "-"): fault for name, fault in results["optional"].get("faults", {}).items()}
    if "error" in results.get("opensmile", {}):
        fix = f"{mending('opensmile')}, or set extract.egemaps to false"
        optional["opensmile"] = {"found": results["opensmile"]["error"], "fix": fix}
    if results["torch"].get("torchaudio"):
        optional |= {name: {"found": "see torch pair", "fix": None} for name in _NEED_TORCHAUDIO}
    return [
        check_python(sys.version_info[:3]),
        check_requirements(requirements, results["needed"]),
        *check_torch(results["torch"]),
        check_soundfile(results["soundfile"]),
        check_memory(),
        check_disk("disk for runs", runs),
        check_disk("disk for cache", cache),
        *check_extras(requirements, optional),
        check_git_lfs(shutil.which("git-lfs")),
        check_hub(os.environ),
    ]


def try_code(code: str) -> dict[str, Any]:
    """Run code in a new interpreter and return the JSON that it prints, or `{"error": last line}`."""
    try:
        trial = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TRIAL_SECONDS} s"}
    if trial.returncode == 0:
        return json.loads(trial.stdout.strip().splitlines()[-1])
    lines = trial.stderr.strip().splitlines()
    return {"error": lines[-1] if lines else f"the process ended with code {trial.returncode}"}


def check_python(version: tuple[int, ...]) -> Finding:
    """Check the interpreter's version."""
    found = ".".join(str(part) for part in version) + f" on {platform.system()} {platform.machine()}"
    if version[:2] < LEAST_PYTHON:
        least = ".".join(str(part) for part in LEAST_PYTHON)
        return Finding("python", "fault", found, f"make the environment with Python {least} or newer")
    return Finding("python", "ok", found)


def check_requirements(requirements: Iterable[str], trial: dict[str, Any]) -> Finding:
    """Check that every package that ser-probe itself needs is installed and can be loaded.

    Args:
        requirements: Those of ser-probe.
        trial: What loading those with compiled parts gave.
    """
    needed = [_package(requirement) for requirement in requirements if _extra(requirement) is None]
    absent = [package for package in needed if not _installed(package)]
    if absent:
        fix = "install ser-probe anew, with all that it needs: pip install ser-probe, or make in its clone"
        return Finding("packages", "fault", "not installed: " + ", ".join(absent), fix)
    if faults := trial.get("faults"):
        found = "; ".join(f"{installed_as(name)} cannot be loaded: {fault['found']}" for name, fault in faults.items())
        fixes = dict.fromkeys(fault["fix"] for fault in faults.values())
        return Finding("packages", "fault", found, "; ".join(fixes))
    if "error" in trial:
        return Finding("packages", "fault", f"they cannot all be loaded: {trial['error']}")
    shown = ("ser-probe", "transformers", "h5py", "numpy", "scikit-learn", "pandas", "umap-learn")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in shown)
    return Finding("packages", "ok", versions)


def check_torch(trial: dict[str, Any]) -> list[Finding]:
    """Judge whether torch can be used, what it runs on, and whether the torchaudio beside it fits."""
    if "error" in trial:
        found = f"torch {version_of('torch')} cannot be used: {trial['error']}"
        return [Finding("torch", "fault", found, "pip install --upgrade --force-reinstall torch")]
    devices = trial["devices"]
    device = Finding("device", "ok", "; ".join(devices)) if devices else Finding(
        "device", "note", "no CUDA device: everything runs on the CPU, large backbones slowly"
    )  # fmt: skip
    return [
        check_pair(trial["torchaudio"]),
        device,
        Finding("threads", "ok", f"torch uses {trial['threads']} of {os.cpu_count()} processors"),
    ]


def check_pair(why: str | None) -> Finding:
    """Judge the torchaudio beside torch: few studies need it, those that use the extras `augment` and `ecapa`.

    Args:
        why: Why it cannot be loaded; None where it can be.
    """
    pair = (version_of("torch"), version_of("torchaudio"))
    if pair[1] == "absent":
        return Finding("torch pair", "ok", f"torch {pair[0]}, no torchaudio: the extras augment and ecapa bring it")
    if why is None:
        return Finding("torch pair", "ok", f"torch {pair[0]}, torchaudio {pair[1]}")
    known = "a pair that is known not to fit, though pip takes it" if pair in BAD_PAIRS else "they do not fit"
    found = f"{installed_as('torchaudio')} cannot be loaded, {known}: {why}"
    return Finding("torch pair", "broken", found, mending("torchaudio"))


def check_soundfile(trial: dict[str, Any]) -> Finding:
    """Judge whether audio can be read."""
    if "error" in trial:
        fix = "pip install --force-reinstall soundfile; on systems without wheels also install libsndfile"
        return Finding("audio reading", "fault", f"soundfile cannot be used: {trial['error']}", fix)
    return Finding("audio reading", "ok", f"soundfile {trial['version']}: {', '.join(trial['formats'])}")


def check_memory() -> Finding:
    """Report the machine's memory."""
    n_bytes = memory_bytes()
    if n_bytes is None:
        return Finding("memory", "note", "unknown on this system")
    return Finding("memory", "ok", f"{n_bytes / _GB:.0f} GB")


def check_disk(what: str, folder: Path) -> Finding:
    """Check that a folder, or the nearest folder above it that exists, has space and can be written to."""
    existing = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        fix = "choose another folder with output.runs and output.cache"
        return Finding(what, "fault", f"{existing} cannot be written to", fix)
    free_gb = shutil.disk_usage(existing).free / _GB
    found = f"{free_gb:.0f} GB free for {folder}"
    if free_gb < LOW_DISK_GB:
        return Finding(what, "note", found, "a study of a large backbone writes tens of GB: make space")
    return Finding(what, "ok", found)


def check_extras(requirements: Iterable[str], faults: Mapping[str, Any]) -> list[Finding]:
    """List the extras, and how to get those that are absent and mend those that are broken.

    Args:
        requirements: Those of ser-probe.
        faults: Packages that are installed and cannot be loaded -> `found` and `fix`.
    """
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = _extra(requirement)
        if extra is not None and extra not in ("all", "dev"):
            packages.setdefault(extra, []).append(_package(requirement))
    findings = []
    for extra, needed in packages.items():
        absent = [package for package in needed if not _installed(package)]
        broken = {package: faults[package] for package in needed if package in faults}
        if absent:
            fix = f"pip install 'ser-probe[{extra}]'"
            findings.append(Finding(f"extra {extra}", "missing", f"not installed: {', '.join(absent)}", fix))
        elif broken:
            found = "; ".join(f"{package} cannot be loaded: {fault['found']}" for package, fault in broken.items())
            fixes = dict.fromkeys(fault["fix"] for fault in broken.values() if fault["fix"])
            findings.append(Finding(f"extra {extra}", "broken", found, "; ".join(fixes) or None))
        else:
            versions = ", ".join(f"{package} {version_of(package)}" for package in needed)
            findings.append(Finding(f"extra {extra}", "ok", versions))
    return findings


def check_git_lfs(program: str | None) -> Finding:
    """Report whether Git LFS is there, which some corpora are kept in."""
    if program is None:
        fix = "install git-lfs, then run `git lfs pull` in the corpus's folder"
        return Finding("git lfs", "missing", "needed only for corpora that are kept in Git LFS, as CREMA-D", fix)
    return Finding("git lfs", "ok", "installed")


def check_hub(environment: Mapping[str, str]) -> Finding:
    """Report where Hugging Face models are kept, how many there are, and whether downloads are turned off."""
    home = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    folder = Path(environment.get("HF_HUB_CACHE", home / "hub")).expanduser()
    count = len(list(folder.glob("models--*"))) if folder.is_dir() else 0
    found = f"{count} models in {folder}"
    offline = [name for name in _OFFLINE_SWITCHES if environment.get(name, "0") not in ("", "0")]
    if offline:
        fix = "unset it to download backbones; tiny-* backbones and local folders work without"
        return Finding("model downloads", "note", f"turned off by {', '.join(offline)}; {found}", fix)
    return Finding("model downloads", "ok", found)


def _package(requirement: str) -> str:
    """Return the package of a requirement such as `torch==2.11.*; extra == 'x'`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return match.group() if match else requirement


def _extra(requirement: str) -> str | None:
    """Return the extra that a requirement belongs to."""
    match = re.search(r"""extra == ['"]([^'"]+)['"]""", requirement)
    return match.group(1) if match else None


def _installed(package: str) -> bool:
    return version_of(package) != "absent"
