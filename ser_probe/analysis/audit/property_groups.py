"""The properties of a file that are not voice: in which groups they are tried, and what sentences call them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class PropertyName:
    """What a sentence calls a column of the properties.

    Args:
        noun: With its article: `a length`.
        unit: What stands behind a number.
    """

    noun: str
    unit: str = ""


@dataclass(frozen=True)
class PropertyGroup:
    """Properties that are tried together.

    Args:
        name: What tables and figures call the group.
        columns: Columns of the table of properties.
        is_voice: Whether emotion itself changes it: who is sad speaks slowly and softly.
        is_habit: Whether people, rooms and distances to the microphone differ in it anyway: it tells speakers apart in
            every corpus, which is no fault of the files.
    """

    name: str
    columns: tuple[str, ...]
    is_voice: bool = False
    is_habit: bool = False


ALL_TOGETHER = "all together"

PROPERTY_NAMES: dict[str, PropertyName] = {
    "duration_s": PropertyName("a length", "s"),
    "leading_silence_s": PropertyName("a leading silence", "s"),
    "trailing_silence_s": PropertyName("a trailing silence", "s"),
    "longest_zeros_s": PropertyName("a longest run of zeros", "s"),
    "zeros_s": PropertyName("a total of zeros", "s"),
    "rms_dbfs": PropertyName("an rms level", "dBFS"),
    "peak_dbfs": PropertyName("a peak", "dBFS"),
    "dc_offset": PropertyName("an offset"),
    "clipped_share": PropertyName("a share of clipped samples"),
    "bandwidth_hz": PropertyName("a bandwidth", "Hz"),
    "noise_floor_dbfs": PropertyName("a noise floor", "dBFS"),
    "file_rate_hz": PropertyName("a sampling rate", "Hz"),
    "file_format": PropertyName("the format"),
    "header_bytes": PropertyName("a header", "bytes"),
    "channels": PropertyName("a number of channels"),
    "channel_difference_db": PropertyName("a difference of channels", "dB"),
}

PROPERTY_GROUPS: tuple[PropertyGroup, ...] = (
    PropertyGroup("duration", ("duration_s",), is_voice=True, is_habit=True),
    PropertyGroup("silence", ("leading_silence_s", "trailing_silence_s"), is_habit=True),
    PropertyGroup("digital zeros", ("longest_zeros_s", "zeros_s")),
    PropertyGroup("level", ("rms_dbfs", "peak_dbfs"), is_voice=True, is_habit=True),
    PropertyGroup("DC offset", ("dc_offset",)),
    PropertyGroup("clipping", ("clipped_share",)),
    PropertyGroup("bandwidth", ("bandwidth_hz",)),
    PropertyGroup("rate and container", ("file_rate_hz", "file_format", "header_bytes")),
    PropertyGroup("noise floor", ("noise_floor_dbfs",), is_habit=True),
    PropertyGroup("channels", ("channels", "channel_difference_db")),
)


def groups_of(columns: object) -> list[PropertyGroup]:
    """Return the groups of which a table has columns, with those columns, and all of them together as the last.

    Args:
        columns: The table's columns; those that no group knows are passed over.
    """
    there = set(columns)  # type: ignore[call-overload]
    groups = [
        dataclasses.replace(group, columns=tuple(name for name in group.columns if name in there))
        for group in PROPERTY_GROUPS
        if there & set(group.columns)
    ]
    together = tuple(name for group in groups for name in group.columns)
    # A group alone is all there is, and needs no second row.
    return [*groups, PropertyGroup(ALL_TOGETHER, together, is_voice=True, is_habit=True)] if len(groups) > 1 else groups
