"""Facts about an extraction, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ser_probe.embeddings.passes import Extraction


def describe(result: Extraction) -> dict[str, object]:
    """Return an extraction's facts for the terminal."""
    facts: dict[str, object] = {
        "clips": f"{result.n_clips}, {result.n_computed} computed now",
        "key": result.key.short,
    }
    if result.speed:
        facts["speed"] = (
            f"{result.speed['clips_per_s']:.1f} clips/s, {result.speed['audio_s_per_s']:.0f} s of audio per s"
        )
        facts["waited for audio"] = f"{result.speed['wait_share']:.0%} of the time"
        facts["peak memory"] = f"{result.speed['peak_memory_mib']:.0f} MiB"
        if "device_memory_mib" in result.speed:
            facts["peak device memory"] = f"{result.speed['device_memory_mib']:.0f} MiB"
    if result.n_missing:
        facts["not finished"] = (
            f"{result.n_missing} clips are with other workers; the last one to end finishes the file, or "
            f"`ser-probe cache merge {result.path}`"
        )
    if result.verify_error is not None:
        exact = result.key.precision == "fp32"
        name = "largest difference of a clip alone" if exact else "largest difference from fp32, a clip alone"
        facts[name] = f"{result.verify_error:.1e} (relative)"
    if result.n_others:
        facts["other clips in the file"] = (
            f"{result.n_others}, which are not in this manifest: analyses look at them too, unless --clips names a "
            "manifest; --prune removes them"
        )
    if result.n_scaled:
        facts["scaled below full scale"] = f"{result.n_scaled} clips, as opensmile's samples are 16-bit"
    return facts


def describe_all(results: Sequence[Extraction]) -> dict[str, object]:
    """Return a line for each cache, and the facts of the whole pass once."""
    shared = ("speed", "waited for audio", "peak memory", "peak device memory")
    facts: dict[str, object] = {}
    for result in results:
        entry = describe(result)
        facts |= {name: entry.pop(name) for name in shared if name in entry}
        clips = entry.pop("clips")
        facts[result.path.name] = "; ".join([f"clips: {clips}", *(f"{name}: {value}" for name, value in entry.items())])
    return facts
