"""Mutators of tensor files: safetensors, by their header and by their values, and what torch has saved."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.mutation import Mutator, NotApplicableError, change_value

_VALUES = (float("nan"), float("inf"), -float("inf"), 3e38, 0.0, 1.0)
_DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)


def change_tensors(tensors: dict[str, Any], rng: random.Random) -> str:
    """Change one of some named tensors in place; return what was done."""
    names = sorted(name for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor))
    if not names:
        raise NotApplicableError
    name = rng.choice(names)
    tensor = tensors[name]
    action = rng.choice(["drop", "rename", "add", "value", "value", "fill", "dtype", "shape", "cut", "empty", "swap"])
    if action == "drop":
        del tensors[name]
    elif action == "rename":
        tensors[rng.choice([name + "x", name.replace("layers.", "layer."), "é", ""])] = tensors.pop(name)
    elif action == "add":
        tensors[rng.choice(["more", f"{name}.more", "encoder.layers.9.fc.weight"])] = tensor.clone()
    elif action in ("value", "fill"):
        value = rng.choice(_VALUES)
        changed = tensor.float() if tensor.is_floating_point() else tensor.clone()
        if not changed.numel() or (not changed.is_floating_point() and value not in (0.0, 1.0)):
            raise NotApplicableError
        changed = changed.clone()
        changed.view(-1)[slice(None) if action == "fill" else rng.randrange(changed.numel())] = value
        tensors[name] = changed
        action = f"{action} {value}"
    elif action == "dtype":
        dtype = rng.choice(_DTYPES)
        tensors[name], action = tensor.to(dtype), f"{dtype}"
    elif action == "shape":
        tensors[name] = tensor.reshape(*reversed(tensor.shape), 1).contiguous()
    elif action == "cut":
        tensors[name] = tensor.reshape(-1)[: max(tensor.numel() // 2, 1)].clone()
    elif action == "empty":
        tensors[name] = torch.zeros(0)
    else:
        other = rng.choice(names)
        tensors[name], tensors[other], action = tensors[other].clone(), tensor.clone(), f"swap with {other}"
    return f"{name}: {action}"


def _values(path: Path, rng: random.Random) -> str:
    tensors = load_file(path)
    what = change_tensors(tensors, rng)
    save_file(tensors, path, metadata={"format": "pt"})
    return what


def _header(path: Path, rng: random.Random) -> str:
    """Change the header's JSON; the values stay where they are."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, what, raw = change_value(json.loads(data[8 : 8 + size]), rng)
    text = (json.dumps(header) if raw is None else raw).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return what


def _header_size(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    size = rng.choice([0, 1, 2**31, 2**62, 2**64 - 1, len(data), int.from_bytes(data[:8], "little") + 8])
    path.write_bytes(size.to_bytes(8, "little") + data[8:])
    return f"header of {size} bytes"


def _huge_shape(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = rng.choice(sorted(header))
    if name == "__metadata__":
        raise NotApplicableError
    header[name]["shape"] = rng.choice([[10**9, 10**9], [2**62], [10**9]])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return f"{name} claims {header[name]['shape']}"


SAFETENSORS: dict[str, Mutator] = {
    **{f"values {number}": _values for number in range(6)},
    **{f"header {number}": _header for number in range(3)},
    "header size": _header_size,
    "huge shape": _huge_shape,
}


def _state(path: Path, rng: random.Random) -> str:
    """Change an optimiser's or a schedule's state."""
    state = torch.load(path, weights_only=True)
    holders: list[tuple[str, dict[Any, Any]]] = [("", state)]
    for above, value in list(_dicts(state, "")):
        holders.append((above, value))
    above, holder = rng.choice([pair for pair in holders if pair[1]])
    if rng.random() < 0.5 and any(isinstance(value, torch.Tensor) for value in holder.values()):
        what = change_tensors(holder, rng)
    else:
        key = rng.choice(sorted(holder, key=str))
        changes: dict[str, Callable[[], Any]] = {
            "null": lambda: None,
            "text": lambda: "text",
            "nan": lambda: float("nan"),
            "-1": lambda: -1,
            "huge": lambda: 10**30,
            "list": lambda: [holder[key]],
            "none": dict,
        }
        name = rng.choice([*changes, "drop"])
        if name == "drop":
            del holder[key]
        else:
            holder[key] = changes[name]()
        what = f"{key} {name}"
    torch.save(state, path)
    return f"{above}{what}"


def _dicts(value: Any, above: str) -> Any:
    for name, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(below, dict):
            yield f"{above}{name}.", below
        if isinstance(below, dict | list):
            yield from _dicts(below, f"{above}{name}.")


def _whole(path: Path, rng: random.Random) -> str:
    other: Any = rng.choice([{}, [], torch.zeros(3), {"state": {}}, {"state": {}, "param_groups": []}, None, 1])
    torch.save(other, path)
    return f"replaced by {str(other)[:40]}"


STATES: dict[str, Mutator] = {**{f"state {number}": _state for number in range(6)}, "whole": _whole}
