"""Which parts of a clip are speech, by silero-vad. The only door to silero_vad.

The detector is the network that the package ships as a TorchScript file, with the weights of that file: it says for
each window of 32 ms how likely it holds speech, and the package's own rule makes stretches of that. The network is
run here over all windows of a clip at once, where the package calls it window by window: the same probabilities to
1e-5 in a sixth of the time. (The `.safetensors` file beside it in release 6.2.3 holds other weights, whose stretches
differ in half of the clips of a corpus of acted speech.)

A clip's result depends on nothing but the clip. The functions run in worker processes, one model each.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.resources
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_probe.errors import AudioError, require

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000

# The package's own defaults, named here so that another release of it cannot change them unseen.
THRESHOLD = 0.5
MIN_SPEECH_MS = 250
MIN_SILENCE_MS = 100
SPEECH_PAD_MS = 30

RULE_VERSION = 1
"""Rises when the same stretches would give other frames, so that no older cache is served."""

_MODEL_FILE = "silero_vad.jit"
_WINDOW, _CONTEXT, _REFLECTED = 512, 64, 64
_WINDOWS_AT_ONCE = 512  # 16 s: memory does not grow with the clip
_BINS = 129
_STRIDES = (1, 2, 2, 1)


def speech_frames(
    samples: np.ndarray,
    n_frames: int,
    hop_samples: int = 320,
    receptive: int = 400,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Return which frames of a clip are speech: those whose centre lies in a stretch of speech.

    Args:
        samples: The clip, float32 `[n]`, full scale at 1.
        n_frames: Number of frames, T.
        hop_samples: Samples from one frame to the next; frame t begins at sample `t * hop_samples`.
        receptive: Samples that a frame covers.
        sample_rate_hz: Sampling rate in Hz; the detector knows 16 kHz.

    Returns:
        bool `[T]`; all False where no speech is found, as always in clips under a quarter of a second.

    Raises:
        AudioError: If the sampling rate is another.
        MissingExtraError: If silero-vad is not installed.
    """
    stretches = find_speech(samples, sample_rate_hz=sample_rate_hz)
    return frames_within(stretches, n_frames, hop_samples, receptive)


def frames_within(
    stretches: Sequence[tuple[int, int]], n_frames: int, hop_samples: int = 320, receptive: int = 400
) -> np.ndarray:
    """Return which frames have their centre in one of the stretches, bool `[T]`; see `speech_frames`."""
    centres = np.arange(n_frames) * hop_samples + receptive / 2
    found = np.zeros(n_frames, dtype=bool)
    for start, end in stretches:
        found |= (start <= centres) & (centres < end)
    return found


def find_speech(samples: np.ndarray, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> list[tuple[int, int]]:
    """Return the stretches of speech in a clip as pairs of first sample and sample after the last, in order.

    Args and Raises: as `speech_frames`.
    """
    if sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(
            "Speech is found at one sampling rate only",
            expected=f"{SAMPLE_RATE_HZ} Hz",
            found=f"{sample_rate_hz} Hz",
            fix="resample the clip",
        )
    stretches = _package().get_speech_timestamps_from_probs(
        speech_probabilities(samples).tolist(),
        sampling_rate=SAMPLE_RATE_HZ,
        threshold=THRESHOLD,
        min_speech_duration_ms=MIN_SPEECH_MS,
        min_silence_duration_ms=MIN_SILENCE_MS,
        speech_pad_ms=SPEECH_PAD_MS,
        audio_length_samples=len(samples),
    )
    return [(int(stretch["start"]), int(stretch["end"])) for stretch in stretches]


def speech_probabilities(samples: np.ndarray) -> np.ndarray:
    """Return how likely each window of 512 samples holds speech, float32 `[ceil(n / 512)]`.

    Args:
        samples: The clip at 16 kHz, float32 `[n]`.

    Raises:
        AudioError: If the installed silero-vad has another network than the one that is known here.
        MissingExtraError: If silero-vad is not installed.
    """
    import torch

    with _one_thread(), torch.inference_mode():
        network, n_windows = _network(), -(-len(samples) // _WINDOW)
        if n_windows == 0:
            return np.zeros(0, dtype=np.float32)
        # A window is heard after the last samples of the one before, the first after silence.
        padded = torch.zeros(_CONTEXT + n_windows * _WINDOW)
        padded[_CONTEXT : _CONTEXT + len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        windows = padded.unfold(0, _CONTEXT + _WINDOW, _WINDOW)
        features = torch.cat([_encode(network, part) for part in windows.split(_WINDOWS_AT_ONCE)])
        hidden = network["memory"](features)[0].relu()
        return network["last"](hidden).sigmoid()[:, 0].numpy()


def ingredients() -> dict[str, Any]:
    """Return what decides which frames are speech; a part of the cache key.

    Raises:
        MissingExtraError: If silero-vad is not installed.
    """
    _package()
    return {
        "detector": "silero-vad",
        "silero_vad": importlib.metadata.version("silero-vad"),
        "model": _MODEL_FILE,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "threshold": THRESHOLD,
        "min_speech_ms": MIN_SPEECH_MS,
        "min_silence_ms": MIN_SILENCE_MS,
        "speech_pad_ms": SPEECH_PAD_MS,
        "rule": RULE_VERSION,
    }


def _encode(network: torch.nn.ModuleDict, windows: Tensor) -> Tensor:
    """Return the features of windows with their context: [W, 576] -> [W, 128]."""
    from torch.nn import functional

    spectrum = network["spectrum"](functional.pad(windows[:, None], (0, _REFLECTED), mode="reflect"))
    hidden = (spectrum[:, :_BINS].square() + spectrum[:, _BINS:].square()).sqrt()
    for layer in range(len(_STRIDES)):
        hidden = network[f"conv{layer}"](hidden).relu()
    return hidden[..., 0]


@functools.lru_cache(maxsize=1)
def _network() -> torch.nn.ModuleDict:
    """Return this process's network, with the package's weights."""
    import torch
    from torch import nn

    with torch.device("meta"):  # no weights are drawn, so the caller's random state stays as it is
        network = nn.ModuleDict({"spectrum": nn.Conv1d(1, 2 * _BINS, 256, stride=128, bias=False)})
        for layer, (before, after) in enumerate(((_BINS, 128), (128, 64), (64, 64), (64, 128))):
            network[f"conv{layer}"] = nn.Conv1d(before, after, 3, stride=_STRIDES[layer], padding=1)
        network["memory"], network["last"] = nn.LSTM(128, 128), nn.Linear(128, 1)
    try:
        network.load_state_dict(_packaged_weights(), assign=True)
    except (KeyError, RuntimeError) as error:
        raise AudioError(
            "The installed silero-vad has another network than the one that is known here",
            expected="that of silero-vad 6.2.3",
            found=f"silero-vad {importlib.metadata.version('silero-vad')}: {error}",
            fix="pip install 'silero-vad==6.2.3'",
        ) from error
    return network.eval().requires_grad_(False)


def _packaged_weights() -> dict[str, Tensor]:
    """Return the weights of the package's file under the names of `_network`."""
    import torch

    _package()
    file = importlib.resources.files("silero_vad") / "data" / _MODEL_FILE
    with importlib.resources.as_file(file) as path, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load", category=DeprecationWarning)
        # The file holds tensors and a program of torch operations; Python unpickles nothing of it.
        packaged = torch.jit.load(str(path), map_location="cpu").state_dict()
    weights = {"spectrum.weight": packaged["_model.stft.forward_basis_buffer"]}
    for kind in ("weight", "bias"):
        for layer in range(len(_STRIDES)):
            weights[f"conv{layer}.{kind}"] = packaged[f"_model.encoder.{layer}.reparam_conv.{kind}"]
        for side in ("ih", "hh"):
            weights[f"memory.{kind}_{side}_l0"] = packaged[f"_model.decoder.rnn.{kind}_{side}"]
    weights["last.weight"] = packaged["_model.decoder.decoder.2.weight"][..., 0]
    weights["last.bias"] = packaged["_model.decoder.decoder.2.bias"]
    return weights


def _package() -> Any:
    """Return silero_vad, which sets the number of threads when it is imported, for good."""
    with _one_thread():
        return require("silero_vad", extra="vad", purpose="finding speech")


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run with one thread, so that a clip's result is the same in every process, and put the number back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
