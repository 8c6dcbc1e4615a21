"""Findings of the scores of shortcuts: what gives a label, a speaker or a corpus away without any voice."""

from __future__ import annotations

import pandas as pd

from ser_probe.analysis.audit.findings import Finding
from ser_probe.analysis.audit.property_groups import PROPERTY_GROUPS

_SAID = ("clear", "strong")
"""Verdicts that are worth a line; the table of shortcuts has all of them."""
_NO_VOICE = {group.name for group in PROPERTY_GROUPS if not group.is_voice}


def judge_shortcuts(shortcuts: pd.DataFrame) -> list[Finding]:
    """Return a finding for each property that gives something away.

    What names most of the label and is no voice is an error: a model that hears no voice would be scored for it. Other
    alarms are warnings (who shouts is louder: a level that names anger may be the anger), and what is usual in any
    corpus is a note.

    Args:
        shortcuts: The table of `find_shortcuts`.
    """
    findings = []
    for row in shortcuts[shortcuts["verdict"].isin(_SAID)].to_dict("records"):
        grave = row["target"] == "label" and row["verdict"] == "strong" and row["properties"] in _NO_VOICE
        severity = "note" if not row["alarm"] else "error" if grave else "warning"
        check = f"{row['target']}_from_{'_'.join(str(row['properties']).lower().split())}"
        findings.append(Finding("shortcut", check, severity, str(row["words"])))
    return findings
