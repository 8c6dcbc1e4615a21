"""The weights of a backbone in several checkpoints, tensor by tensor and by part. Read through safetensors only.

The parts are the transformer blocks, named like the layers that they write (block 1 writes layer 1), and what lies
around them: `front_end`, `feature_projection`, `positional_conv`, `encoder_norm`. Heads, quantisers and the vector that
stands for masked frames are no part of what an embedding is made by, and are left out; so are running statistics.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.errors import CheckpointError
from ser_probe.files import read_json
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_step, list_checkpoints
from ser_probe.models.model_files import refuse_non_finite
from ser_probe.models.model_folder import refuse_non_folder, shown_names

FRONT_END, PROJECTION, POSITIONAL, NORM = "front_end", "feature_projection", "positional_conv", "encoder_norm"
PARTS_AROUND = (FRONT_END, PROJECTION, POSITIONAL, NORM)

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.")
# Names of the same part in the families; those of Whisper's encoder have no part of their own.
_AROUND = (
    ("feature_extractor.conv_layers.", FRONT_END),
    ("encoder.conv1.", FRONT_END),
    ("encoder.conv2.", FRONT_END),
    ("feature_projection.", PROJECTION),
    ("encoder.pos_conv_embed.", POSITIONAL),
    ("encoder.embed_positions.", POSITIONAL),
    ("encoder.layer_norm.", NORM),
)
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
# Weight normalisation: what torch calls the two tensors now, and what it called them.
_LENGTH, _DIRECTION = ".parametrizations.weight.original0", ".parametrizations.weight.original1"
_OLD_NAMES = {".weight_g": _LENGTH, ".weight_v": _DIRECTION}


def find_checkpoints(places: Sequence[Path]) -> dict[str, Path]:
    """Return the checkpoints of some folders by name (`step-50`), in the order of their steps.

    Args:
        places: Checkpoints, or folders of `checkpoint-<step>` such as runs/<study>/checkpoints and runs/<study>.

    Raises:
        CheckpointError: If a folder is neither, or two checkpoints have one name.
    """
    checkpoints: list[tuple[int, str, Path]] = []
    for place in places:
        folder = place.expanduser()
        refuse_non_folder(folder, CheckpointError)
        inside = [*list_checkpoints(folder), *list_checkpoints(folder / CHECKPOINTS)]
        listed = [folder] if _has_weights(folder) else [path for _, path in inside]
        if not listed:
            raise CheckpointError(
                "There are no weights of a checkpoint here",
                where=folder,
                expected=f"{_WEIGHTS}, or folders checkpoint-<step> that hold it",
                found=shown_names(path.name for path in folder.iterdir()),
                fix="give runs/<study>/checkpoints, or single checkpoints",
            )
        for path in listed:
            step = checkpoint_step(path.name)
            checkpoints.append((-1, path.name, path) if step is None else (step, f"step-{step}", path))
    checkpoints.sort(key=lambda checkpoint: checkpoint[0])
    names = [name for _, name, _ in checkpoints]
    for name in names:
        if names.count(name) > 1:
            raise CheckpointError(
                f"Two checkpoints are called {name}",
                found=", ".join(str(path) for _, other, path in checkpoints if other == name),
                fix="give the checkpoints of one run at a time",
            )
    return {name: path for _, name, path in checkpoints}


def part_of(name: str) -> str | None:
    """Return the part of a backbone that a weight belongs to; None for what is no part of it.

    Args:
        name: The weight's name in the checkpoint, with or without the model's prefix (`wavlm.`).
    """
    if name.endswith(_BUFFERS) or "decoder." in name:
        return None
    if block := re.search(rf"(?:^|\.){_BLOCK.pattern}", name):
        return str(int(block[1]) + 1)
    return next((part for start, part in _AROUND if re.search(rf"(?:^|\.){re.escape(start)}", name)), None)


def read_parts(folders: Mapping[str, Path]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the part and the values of one weight after the other in all checkpoints, float32; parts in no order.

    One tensor of each checkpoint is in memory at a time. The weight of a convolution that is stored as length and
    direction is put together: the length of the direction's tensor has no effect.

    Args:
        folders: Checkpoints by name.

    Raises:
        CheckpointError: If a file is missing or damaged, or the checkpoints are not of one architecture.
    """
    with contextlib.ExitStack() as stack:
        opened = {name: _Weights(folder, stack) for name, folder in folders.items()}
        (first_name, first), *others = opened.items()
        for name, other in others:
            _refuse_other_architecture(first_name, first, name, other)
        for weight in sorted(first.shapes):
            if not weight.endswith(_DIRECTION):
                part = part_of(weight)
                assert part is not None, "others are not listed"
                yield part, [one.read(weight) for one in opened.values()]


class _Weights:
    """The open files of one checkpoint: which weights of the backbone they hold, and their values."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        self.folder = folder
        self.places: dict[str, tuple[Any, str]] = {}
        for path in _weight_files(folder):
            try:
                file: Any = stack.enter_context(safe_open(path, framework="pt"))
                self.places |= {_today(name): (file, name) for name in list(file.keys()) if part_of(name) is not None}
            except (OSError, SafetensorError) as error:
                raise CheckpointError("The weights of the checkpoint are damaged", where=path, found=error) from error
        # The prefix is the model's, and a checkpoint of the bare backbone has none.
        self.places = {_without_prefix(name): place for name, place in self.places.items()}
        if not self.places:
            raise CheckpointError(
                "The checkpoint holds no weights of an encoder that is known here",
                where=folder,
                expected="names such as encoder.layers.0.attention.k_proj.weight",
            )
        self.shapes = {
            name: tuple(file.get_slice(stored_name).get_shape()) for name, (file, stored_name) in self.places.items()
        }

    def read(self, weight: str) -> np.ndarray:
        """Return a weight, float32; of a pair of length and direction, named by the length, what they make."""
        values = self._tensor(weight)
        if not weight.endswith(_LENGTH):
            return values
        direction = self._tensor(weight.removesuffix(_LENGTH) + _DIRECTION)
        over = tuple(axis for axis in range(direction.ndim) if values.shape[axis] == 1)
        return values * direction / np.sqrt((direction.astype(np.float64) ** 2).sum(axis=over, keepdims=True))

    def _tensor(self, weight: str) -> np.ndarray:
        file, stored_name = self.places[weight]
        tensor = file.get_tensor(stored_name).float()
        refuse_non_finite({stored_name: tensor}, self.folder, CheckpointError)
        return tensor.numpy()


def _weight_files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    try:
        names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else []
        # A path in an index would lead out of the checkpoint.
        paths = [folder / Path(name).name for name in names]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            "The index of the checkpoint's weights cannot be read", where=index, found=error
        ) from error
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        raise CheckpointError(
            "The checkpoint has no weights to read",
            where=folder,
            expected=_WEIGHTS,
            found=f"missing: {', '.join(missing)}" if missing else "no such file",
            fix="give a checkpoint that fine-tuning has written",
        )
    return paths


def _has_weights(folder: Path) -> bool:
    return (folder / _WEIGHTS).is_file() or (folder / _INDEX).is_file() or checkpoint_step(folder.name) is not None


def _today(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _without_prefix(name: str) -> str:
    match = re.search(r"(?:^|\.)((?:feature_extractor|feature_projection|encoder)\..*)", name)
    return match[1] if match else name


def _refuse_other_architecture(first_name: str, first: _Weights, name: str, other: _Weights) -> None:
    """Raise where two checkpoints do not have the same weights, by name and shape."""
    odd = sorted(
        weight for weight in {*first.shapes, *other.shapes} if first.shapes.get(weight) != other.shapes.get(weight)
    )
    if odd:
        shown = [str(one.shapes.get(odd[0], "no such weight")) for one in (first, other)]
        raise CheckpointError(
            "The checkpoints are not of one architecture",
            where=other.folder,
            expected=f"the weights of {first_name} ({first.folder}): {odd[0]} {shown[0]}",
            found=f"{name}: {shown[1]}; {len(odd)} weights differ in name or shape",
            fix="give the checkpoints of one run",
        )
