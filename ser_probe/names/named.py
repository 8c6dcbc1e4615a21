"""What a name of a table stands for, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """What a name stands for.

    Attributes:
        title: What figures and tables call it.
        note: What it is, in a few words that follow its name in a list; empty where the name says it.
        source: Where it is published; empty for what needs none.
        short: The title where there is little room; empty for the title itself.
    """

    title: str
    note: str = ""
    source: str = ""
    short: str = ""

    @property
    def brief(self) -> str:
        """The title where there is little room."""
        return self.short or self.title
