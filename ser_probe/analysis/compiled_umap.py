"""A cache on disk for UMAP's compiled code: the first map of a process then takes seconds instead of most of a minute.

umap and pynndescent have most of their functions compiled in every process. Numba can cache any function, but decides
whether a cached function is stale by the function's own file only, and not by the files of the functions it inlines.
The cache's folder is therefore named after the versions of all packages involved.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("umap-learn", "pynndescent", "numba", "llvmlite", "numpy")
_MODULES = ("umap", "pynndescent")


def keep_compiled() -> None:
    """Let numba cache what it compiles of the loaded umap, in a folder beside the package if it can be written to."""
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
    except (RuntimeError, OSError):  # no folder for a cache: umap is compiled in this process, as without this function
        return
    finally:
        config.CACHE_DIR = before
