"""What the steps say in a study's keys, said in the flags of the command that was typed."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperGroup

from ser_probe.errors import SerProbeError

_KEY = re.compile(r"\banalyze\.(?:[a-z]+\.)?([a-z_]+)")


def with_flags(text: str) -> str:
    """Return a text with `--n-neighbors` for `analyze.umap.n_neighbors`, `--splits` for `analyze.splits`, and so on."""
    return _KEY.sub(lambda key: "--" + key[1].replace("_", "-"), text)


class AnalyzeCommands(TyperGroup):
    """The analyses: what a study calls by its keys is an option here."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            SerProbeError: As the command does, in its own words.
        """
        try:
            return super().invoke(ctx)
        except SerProbeError as error:
            for name in ("what", "where", "expected", "found", "fix"):
                value = getattr(error, name)
                setattr(error, name, with_flags(value) if isinstance(value, str) else value)
            raise
