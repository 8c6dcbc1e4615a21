"""How near does extraction on a GPU come to what the GPU can do?

Question: for the shape of wavlm-large with random weights and clips of 2.6 s on average, from audio files to sealed
HDF5 files: clips a second in fp32, tf32 and bf16, with 1 and with 8 checkpoints that share a frozen front end; the
share of a matrix-product peak measured in the same run; device memory; the share of the time the device waited; beside
that one forward pass a clip, and padded batches of 8, of the stock model in the same precision. And: how far CUDA's
fp32 values are from the CPU's.

The work is counted as 2 operations a multiplication: the convolutions of the front end (from the config), the
positional convolution, and the linear layers of the blocks; attention's own products are left out, so the share is a
little low. Peak: the best of square bf16, tf32 or fp32 products of 8192.

Command:  python benchmarks/extract_gpu.py                       (needs a CUDA device; all in one call, about 6 minutes)
          python benchmarks/extract_gpu.py --device cpu --tiny   (does the script work?)
Result:   none yet: no GPU was at hand since it was written.
"""

from __future__ import annotations

import argparse
import copy
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from ser_probe.audio.load import AudioSpec, inspect_clip, load_clip
from ser_probe.embeddings.extract import CacheRequest, extract
from ser_probe.embeddings.memory import choose_budget
from ser_probe.embeddings.passes import ClipList, ExtractionSettings
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.families import FAMILIES
from ser_probe.models.inputs import InputSpec
from ser_probe.models.precision import arithmetic
from ser_probe.runtime import run_record

REPOSITORY = Path(__file__).resolve().parents[1]
N_CHECKPOINTS = 8
RATE_HZ = 16_000
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}
TINY = {**LARGE, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 192}
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def build(settings: dict[str, Any]) -> Backbone:
    """Return the model with random weights and ser-probe's attention, on the CPU."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model("wavlm", **settings)).eval()
    FAMILIES["wavlm"].adapt(model)
    return Backbone(model, "wavlm-large shape", InputSpec(RATE_HZ, normalise=True))


def write_clips(folder: Path, count: int) -> ClipList:
    """Write clips of noise, 2.6 s on average, and return them."""
    rng = np.random.default_rng(0)
    paths = []
    for index, seconds in enumerate(rng.gamma(12, 2.6 / 12, count).clip(0.5, 10)):
        path = folder / f"{index:05}.wav"
        soundfile.write(path, rng.standard_normal(int(seconds * RATE_HZ)) * 0.05, RATE_HZ, subtype="PCM_16")
        paths.append(path)
    facts = [inspect_clip(path) for path in paths]
    table = pd.DataFrame(
        {
            "clip_id": [fact.clip_id for fact in facts],
            "path": [path.name for path in paths],
            "duration_s": [fact.duration_s for fact in facts],
        }
    )
    return ClipList(table, paths)


def count_operations(backbone: Backbone) -> tuple[float, float]:
    """Return the operations a second of audio of the front end, and of all after it."""
    config, rate, width, front = backbone.config, float(RATE_HZ), 1, 0.0
    for channels, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        rate /= stride
        front += 2 * rate * width * channels * kernel
        width = channels
    hidden, inner = config.hidden_size, config.intermediate_size
    blocks = config.num_hidden_layers * 2 * (4 * hidden**2 + 2 * hidden * inner)
    positions = 2 * config.num_conv_pos_embeddings * hidden**2 / config.num_conv_pos_embedding_groups
    return front, rate * (blocks + positions + 2 * width * hidden)


def measure_peak(precision: str, device: torch.device, size: int) -> float:
    """Return the operations a second of a square product in a precision, the best of some."""
    with arithmetic("fp32" if precision == "bf16" else precision, device):
        one, other = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
        best = float("inf")
        for _ in range(12):
            best = min(best, timed(lambda: one @ other, device)[0])
    return 2 * size**3 / best


def timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the seconds some work takes on a device, and its result."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def stock(backbone: Backbone, clips: list[np.ndarray], size: int, precision: str) -> None:
    """Run the model the usual way: padded batches of a size, all hidden states, mean over all frames."""
    device = backbone.device
    with torch.inference_mode(), arithmetic(precision, device):
        for start in range(0, len(clips), size):
            part = [torch.from_numpy(clip) for clip in clips[start : start + size]]
            padded = torch.nn.utils.rnn.pad_sequence(part, batch_first=True).to(device)
            lengths = torch.tensor([len(clip) for clip in part], device=device)
            mask = (torch.arange(padded.shape[1], device=device) < lengths[:, None]).long()
            states = backbone.model(padded, attention_mask=mask, output_hidden_states=True).hidden_states
            torch.stack([state.mean(dim=1) for state in states]).float().cpu().numpy()


def main() -> None:
    """Measure everything, print it and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model and few clips")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "extract_gpu.md")
    options = parser.parse_args()
    device = torch.device(options.device)
    count, side, workers = (24, 512, 1) if options.tiny else (6000, 8192, options.workers)
    on_cpu = build(TINY if options.tiny else LARGE)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    record = run_record(device=name)
    packages = ", ".join(f"{package} {record['packages'][package]}" for package in ("torch", "transformers"))
    say(f"# Extraction on a GPU\n\n{record['time_utc']}; {name}; {packages}; {count} clips of 2.6 s on average\n")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clips = write_clips(folder, count)
        few = [load_clip(path, AudioSpec()).samples for path in clips.paths[:8]]
        expected = pooled_layers(on_cpu, few)
        backbone = Backbone(copy.deepcopy(on_cpu.model).to(device), on_cpu.name, on_cpu.input)
        with arithmetic("fp32", device):
            found = pooled_layers(backbone, few)
        error = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
        say(f"fp32 on the device against the CPU, 8 clips, largest relative difference: {error.max():.1e} (aim 1e-4)\n")
        front, rest = count_operations(backbone)
        say(f"Counted per second of audio: {front / 1e9:.1f} GFLOP front end, {rest / 1e9:.1f} GFLOP after it.\n")
        say("| precision | way | clips/s | share of the peak | device memory, MiB | device waited | off from fp32 |")
        say("| --- | --- | --- | --- | --- | --- | --- |")
        audio_s = float(clips.table["duration_s"].sum())
        for precision in ("fp32", "bf16") if device.type == "cpu" else ("fp32", "tf32", "bf16"):
            peak = measure_peak(precision, device, side)
            settings = ExtractionSettings(
                AudioSpec(),
                precision=precision,
                batch_seconds=choose_budget(device),
                workers=workers,
                verify=4,
            )
            warm = ClipList(clips.table.iloc[: count // 8].reset_index(drop=True), clips.paths[: count // 8])
            extract([CacheRequest(backbone, folder / f"warm-{precision}.h5")], warm, settings)
            for n_models in (1, N_CHECKPOINTS):
                models = [backbone]
                for index in range(1, n_models):
                    model = copy.deepcopy(backbone.model)
                    with torch.no_grad():
                        next(model.encoder.layers[0].parameters()).add_(1e-3 * index)
                    models.append(Backbone(model, backbone.name, backbone.input))
                targets = [CacheRequest(m, folder / f"{precision}-{n_models}-{i}.h5") for i, m in enumerate(models)]
                result = extract(targets, clips, settings)[0]
                # The speed of the pass itself; sealing and verifying come after it.
                seconds = audio_s / result.speed["audio_s_per_s"]
                share = audio_s * (front + n_models * rest) / seconds / peak
                memory = result.speed.get("device_memory_mib", float("nan"))
                say(
                    f"| {precision} | {n_models} checkpoint{'s' * (n_models > 1)} | {count * n_models / seconds:.0f} | "
                    f"{share:.0%} of {peak / 1e12:.2f} TFLOP/s | {memory:.0f} | {result.speed['wait_share']:.0%} | "
                    f"{result.verify_error:.1e} |"
                )
                del models, targets
            samples = [load_clip(path, AudioSpec()).samples for path in clips.paths[: count // 20]]
            for size in (1, 8):
                stock(backbone, samples[:16], size, precision)
                seconds, _ = timed(functools.partial(stock, backbone, samples, size, precision), device)
                say(f"| {precision} | stock, {size} a batch, decoded clips | {len(samples) / seconds:.0f} | | | | |")
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
