"""Third-party packages: messages for packages that are absent or cannot be loaded, and isolation of broken ones.

A package that cannot be loaded may raise almost anything: ImportError, OSError from its compiled parts, RuntimeError
from its checks. That is a fault of the installation, never of the clip or model that was being processed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from ser_probe.errors import MissingExtraError, PackageError

logger = logging.getLogger("ser_probe")

_OWN = "ser_probe"
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "umap": "umap-learn"}
"""Names of distributions that differ from the module's."""

BAD_PAIRS = {("2.11.0", "2.11.1"): "pip install torchaudio==2.11.0"}
"""Releases of torch and torchaudio that pip installs together but that cannot be loaded together -> the repair.

Tried: torchaudio 2.11.1 requires torch 2.11 or newer, but uses features of a later torch.
"""

_set_aside: dict[str, str] = {}
"""Packages that are hidden in this process -> why they cannot be loaded."""


class Need(NamedTuple):
    """An optional package that a stage needs.

    Args:
        module: What is loaded.
        extra: The extra that brings it.
        purpose: What it is for.
    """

    module: str
    extra: str
    purpose: str


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingExtraError: If it is not installed, or cannot be loaded; the message says how to mend that.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        fault = import_fault(error)
        package = module.partition(".")[0]
        if fault is None or is_absent(package):
            raise MissingExtraError(
                f"{purpose} needs the package {package!r}, which is not installed",
                found=error,
                fix=f"pip install 'ser-probe[{extra}]'",
            ) from error
        # The release lacks a module, or one of its dependencies is missing: the extra requires fitting versions.
        lacks = isinstance(_root(error), ModuleNotFoundError) and not _set_aside
        fix = f"pip install --upgrade 'ser-probe[{extra}]'" if lacks else fault.fix
        message = f"{purpose} needs the package {package!r}, which cannot be loaded"
        raise MissingExtraError(message, where=fault.where, found=fault.found, fix=fix) from error


def import_fault(error: BaseException) -> PackageError | None:
    """Return the error for the user if a third-party package failed to load; None for other errors.

    Args:
        error: Whatever was raised.
    """
    if isinstance(error, PackageError):
        return error
    cause = _root(error)
    absent = cause.name.partition(".")[0] if isinstance(cause, ModuleNotFoundError) and cause.name else None
    loading = _packages_loading(cause) or _packages_loading(error)
    if absent in _set_aside:
        loading.append(absent)
    elif absent is not None and absent != _OWN and is_absent(absent):
        return _absence(absent, loading, cause)
    named = cause.name.partition(".")[0] if isinstance(cause, ImportError) and cause.name else None
    broken = loading[-1] if loading else named
    if broken is None or broken == _OWN:
        return None
    return PackageError(
        f"The package {broken!r} is installed, but cannot be loaded",
        where=installed_as(broken),
        found=_set_aside.get(broken) or reason(error),
        fix=mending(broken),
    )


def reason(error: BaseException) -> str:
    """Return the first cause of an error in one line, with its class."""
    cause = _root(error)
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def set_aside_broken(package: str) -> str | None:
    """Hide a package that cannot be loaded from other packages, which would import it only because it is installed.

    transformers imports torchaudio so: if that is broken, none of transformers' audio parts can be imported, although
    they do not use torchaudio. A hidden package counts as not installed in this process.

    Returns:
        Why it cannot be loaded; None where it can be, or is not installed.
    """
    if package in sys.modules or importlib.util.find_spec(package) is None:
        return _set_aside.get(package)
    try:
        importlib.import_module(package)
    except Exception as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        sys.modules[package] = None  # type: ignore[assignment]
        _set_aside[package] = reason(error)
    return _set_aside.get(package)


def leave_out_torchaudio() -> None:
    """Go on without torchaudio if it cannot be loaded, with one warning. Called before transformers is imported."""
    if "torchaudio" in _set_aside or (why := set_aside_broken("torchaudio")) is None:
        return
    logger.warning(
        "%s cannot be loaded and is left out; augmentation with torch-audiomentations and the pooling 'ecapa' need it "
        "(%s). To mend it: %s", installed_as("torchaudio"), why, mending("torchaudio")
    )  # fmt: skip


def mending(package: str) -> str:
    """Return the command that repairs a package that is installed but cannot be loaded."""
    if package in ("torch", "torchaudio"):
        pair = (version_of("torch"), version_of("torchaudio"))
        return BAD_PAIRS.get(pair, "install the two anew, of one release: pip install --upgrade torch torchaudio")
    return f"pip install --upgrade --force-reinstall {_distribution(package)}; `ser-probe doctor` tries every package"


def installed_as(package: str) -> str:
    """Return a package's name and version, for torchaudio also the version of torch."""
    name = _distribution(package)
    torch = f" beside torch {version_of('torch')}" if package == "torchaudio" else ""
    return f"{name} {version_of(name)}{torch}"


def version_of(distribution: str) -> str:
    """Return the release of an installed package without the label of the build (`+cpu`); `absent` if not installed."""
    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _absence(package: str, loading: list[str], error: BaseException) -> PackageError:
    """Return the error for a package that is not installed, with the package that needs it."""
    by = f", which {loading[-1]!r} needs" if loading and loading[-1] != package else ""
    if package.lstrip("_") in sys.stdlib_module_names or package in sys.stdlib_module_names:
        fix = "install Python with all of its standard library: it was built without the C library that this part needs"
        message = f"This Python lacks its module {package!r}{by}"
        return PackageError(message, where=sys.executable, found=reason(error), fix=fix)
    message = f"The package {package!r}{by} is not installed"
    return PackageError(message, found=reason(error), fix=f"pip install {_requirement(package)}")


def _requirement(package: str) -> str:
    """Return pip's argument for a package: with the range that ser-probe requires, or the extra that includes it."""
    name = _distribution(package)
    try:
        requirements = importlib.metadata.requires("ser-probe") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        version_range, _, condition = requirement.partition(";")
        if re.split(r"[^\w.-]", version_range, maxsplit=1)[0].lower().replace("_", "-") == name.lower():
            extra = re.search(r"""extra == ['"]([^'"]+)['"]""", condition)
            return f"'ser-probe[{extra.group(1)}]'" if extra else f"'{version_range.strip()}'"
    return name


def _distribution(package: str) -> str:
    return _DISTRIBUTIONS.get(package, package.replace("_", "-"))


def is_absent(package: str) -> bool:
    """Tell whether a package is not installed at all; an installed one may lack a module or a dependency."""
    if package in sys.modules:
        return sys.modules[package] is None and package not in _set_aside
    return importlib.util.find_spec(package) is None


def _packages_loading(error: BaseException) -> list[str]:
    """Return the third-party packages whose modules were being imported when an error arose, the innermost last."""
    names = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    return [name for name in names if name not in (_OWN, "__main__") and name not in sys.stdlib_module_names]


def _root(error: BaseException) -> BaseException:
    *_, root = _causes(error)
    return root


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
