"""What lies in a study's folder, for its report: what is damaged or was changed is left out, and said.

Each stage stamps the content of what it writes. So a table that another program or a bad disk has changed is told
from the study's own, also where it can still be read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from ser_probe.data.manifest import read_manifest
from ser_probe.errors import DamagedFileError, SerProbeError
from ser_probe.files import Kinds, check_entries, content_id, read_json
from ser_probe.steps.study.stages import written_contents
from ser_probe.steps.tables import read_table

T = TypeVar("T")
_REJECT_COLUMNS = ("path", "reason")


class StudyFiles:
    """The files of a study's folder.

    Args:
        folder: The study's folder.

    Attributes:
        notes: A line for each file that was left out, and why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._contents = written_contents(folder)

    def table(self, name: str) -> pd.DataFrame | None:
        """Return a table; None where there is none, or none to be used."""
        return self._read(f"tables/{name}.parquet", lambda path: read_table(path.parent, name))

    def clips(self) -> pd.DataFrame | None:
        """Return the study's clips; None without."""
        return self._read("manifest.csv", lambda path: read_manifest(path).table)

    def rejects(self) -> pd.DataFrame | None:
        """Return the clips left out, and why; None without."""
        return self._read("rejects.csv", read_rejects)

    def json(self, name: str, entries: Kinds) -> dict[str, Any] | None:
        """Return the object of a JSON file that holds certain entries; None without."""
        return self._read(name, lambda path: read_json(path, entries=entries))

    def trained_part(self) -> str | None:
        """Return in words what fine-tuning trained; None without."""
        return self._read("training.json", _read_trained)

    def last_run(self) -> dict[str, Any]:
        """Return the record of the run that did something last; empty without."""
        runs = self._read("record.json", read_runs)
        return runs[-1] if runs else {}

    def _read(self, name: str, reading: Callable[[Path], T]) -> T | None:
        path = self.folder / name
        if not path.is_file():
            return None
        fault: object
        try:
            if name not in self._contents or self._contents[name] == content_id(path):
                return reading(path)
            fault = "it is not what the study wrote"
        except SerProbeError as error:
            fault = error.brief()
        except (OSError, ValueError) as error:
            fault = error
        again = "; run the study again: only what is damaged is made anew" if name in self._contents else ""
        self.notes.append(f"{path} is left out: {fault}{again}")
        return None


def read_rejects(path: Path) -> pd.DataFrame:
    """Return the clips that a study left out: `path` and `reason`, and what else is said of them.

    Raises:
        DamagedFileError: If the file is no such table.
    """
    found: object
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        found = ", ".join(map(str, table.columns))
    except ValueError as error:  # what pandas and the decoder raise are kinds of it
        table, found = pd.DataFrame(), " ".join(str(error).split())
    if not set(_REJECT_COLUMNS) <= set(table.columns):
        expected = f"CSV with the columns {' and '.join(_REJECT_COLUMNS)}"
        raise DamagedFileError(
            "The table of rejected clips cannot be read", where=path, expected=expected, found=found,
            fix="delete it and run the study again",
        )  # fmt: skip
    return table


def _read_trained(path: Path) -> str:
    finished = read_json(path, entries={"finished": dict})["finished"]
    check_entries(finished, {"parameters": dict}, where=path, inside="finished")
    check_entries(finished["parameters"], {"words": str}, where=path, inside="finished.parameters")
    return str(finished["parameters"]["words"])


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Return the records of a study's runs, in their order.

    Raises:
        DamagedFileError: If the file is no such list.
    """
    runs = read_json(path, entries={"runs": list})["runs"]
    for number, run in enumerate(runs):
        check_entries(run, {}, where=path, inside=f"runs.{number}")
    return runs
