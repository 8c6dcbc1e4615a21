"""The properties of a file that are not voice: in which groups they are tried, and what sentences call them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class PropertyName:
    """What a sentence calls a column of the properties, and how finely it is looked at.

    Args:
        noun: With its article: `a length`.
        unit: What stands behind a number.
        resolution: Values that differ by less are the same. No model hears a thousandth of a decibel; counted that
            finely, peaks that were all brought to full scale still tell how far the last step of a sample was from it.
    """

    noun: str
    unit: str = ""
    resolution: float = 0.0


@dataclass(frozen=True)
class PropertyGroup:
    """Properties that are tried together.

    Args:
        name: What tables and figures call the group.
        columns: Columns of the table of properties.
        is_voice: Whether emotion itself changes it: who is sad speaks slowly and softly, who shouts has more high
            frequencies and overloads the microphone, and stands further above the noise where peaks are normalised.
        is_habit: Whether people, rooms and distances to the microphone differ in it anyway: it tells speakers apart in
            every corpus, which is no fault of the files.
    """

    name: str
    columns: tuple[str, ...]
    is_voice: bool = False
    is_habit: bool = False


ALL_TOGETHER = "all together"

PROPERTY_NAMES: dict[str, PropertyName] = {
    "duration_s": PropertyName("a length", "s", 0.001),
    "leading_silence_s": PropertyName("a leading silence", "s", 0.01),
    "trailing_silence_s": PropertyName("a trailing silence", "s", 0.01),
    "longest_zeros_s": PropertyName("a longest run of zeros", "s", 0.001),
    "zeros_s": PropertyName("a total of zeros", "s", 0.001),
    "rms_dbfs": PropertyName("an rms level", "dBFS", 0.1),
    "peak_dbfs": PropertyName("a peak", "dBFS", 0.1),
    "dc_offset": PropertyName("an offset", "", 1e-4),
    "clipped_share": PropertyName("a share of clipped samples", "", 1e-4),
    "bandwidth_hz": PropertyName("a bandwidth", "Hz", 10.0),
    "noise_floor_dbfs": PropertyName("a noise floor", "dBFS", 0.1),
    "file_rate_hz": PropertyName("a sampling rate", "Hz", 1.0),
    "file_format": PropertyName("the format"),
    "header_bytes": PropertyName("a header", "bytes", 1.0),
    "channels": PropertyName("a number of channels", "", 1.0),
    "channel_difference_db": PropertyName("a difference of channels", "dB", 0.1),
}
"""By column."""

PROPERTY_GROUPS: tuple[PropertyGroup, ...] = (
    PropertyGroup("duration", ("duration_s",), is_voice=True, is_habit=True),
    PropertyGroup("silence", ("leading_silence_s", "trailing_silence_s"), is_voice=True, is_habit=True),
    PropertyGroup("digital zeros", ("longest_zeros_s", "zeros_s")),
    PropertyGroup("level", ("rms_dbfs", "peak_dbfs"), is_voice=True, is_habit=True),
    PropertyGroup("DC offset", ("dc_offset",)),
    PropertyGroup("clipping", ("clipped_share",), is_voice=True),
    PropertyGroup("bandwidth", ("bandwidth_hz",), is_voice=True),
    PropertyGroup("rate and container", ("file_rate_hz", "file_format", "header_bytes")),
    PropertyGroup("noise floor", ("noise_floor_dbfs",), is_voice=True, is_habit=True),
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
