"""UMAP's compiled code, kept from one process to the next: the first map of a process then takes seconds, not most of
a minute.

umap and pynndescent leave most of their functions to be compiled in every process. Numba can keep any function's code,
but compares only the file that the function stands in: code that has taken in a function of another file is not seen to
be old when that one changes. Its folder is therefore named after the versions of all packages that take part.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("umap-learn", "pynndescent", "numba", "llvmlite", "numpy")
_MODULES = ("umap", "pynndescent")


def keep_compiled() -> None:
    """Let numba keep what it compiles of the loaded umap, beside the package, where that folder can be written to."""
    import numba
    import umap
    from numba.core.dispatcher import Dispatcher

    names = "-".join(f"{name}-{version(name)}" for name in _PACKAGES)
    config: Any = numba.config  # whose values come from the environment
    before = config.CACHE_DIR
    config.CACHE_DIR = str(Path(before or Path(umap.__file__).parent / "__pycache__") / names)
    try:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in _MODULES:
                for value in list(vars(module).values()):
                    if isinstance(value, Dispatcher):
                        value.enable_caching()
    except (RuntimeError, OSError):  # there is no folder for it: compiled anew, as without this
        return
    finally:
        config.CACHE_DIR = before
