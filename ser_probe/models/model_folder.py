"""What a model's name means on disk: a folder, or a path without one. Loads no torch.

Wrong paths and files are told from names of hub models here, so that each gets a fitting message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ser_probe.errors import BackboneError, DamagedFileError, SerProbeError, did_you_mean
from ser_probe.files import read_json
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, TINY_CONFIGS, known_names
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_step, list_checkpoints

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
ADAPTER_CONFIG, _BASE = "adapter_config.json", "base_model_name_or_path"
_ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_MOST_SHOWN = 8
_CONVERT = (
    "a checkpoint of fairseq has other names for its weights: many lie converted on the hub (`ser-probe models`); for "
    "others the repository of transformers has src/transformers/models/{wav2vec2,hubert,wavlm}/"
    "convert_*_original_pytorch_checkpoint_to_pytorch.py, which writes such a folder"
)


def find_model_folder(name: str | Path) -> Path | None:
    """Return the folder that a model's name means, or None for a model id on the hub.

    Raises:
        BackboneError: If it is neither: a file, a path that leads nowhere, a folder without a model, an unknown name;
            or if the folder holds an adapter, whose effect would be lost.
    """
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        refuse_adapter(folder, [path.name for path in folder.iterdir()])
        if not (folder / CONFIG).is_file():
            raise _no_model(folder)
        return folder
    if str(name) and folder.is_file():
        raise _is_file(folder, BackboneError)
    if is_path(name):
        raise _no_folder(folder, BackboneError)
    if not _HUB_ID.fullmatch(str(name)):
        raise BackboneError(
            f"There is no backbone named {str(name)!r}, and no such folder",
            expected="a tiny-* name, a folder with config.json and weights, or a hub id such as microsoft/wavlm-large",
            fix=near_names(str(name)),
        )
    return None


def check_name(name: str | Path) -> None:
    """Refuse a model's name that leads nowhere, without a look at the hub or at the weights.

    Raises:
        BackboneError: As `find_model_folder`.
    """
    if str(name) not in TINY_CONFIGS:
        find_model_folder(name)


def refuse_adapter(folder: Path, names: Iterable[str], *, model: object = None) -> None:
    """Raise where a PEFT adapter lies beside a model.

    transformers adds it to the model where peft is installed, and ignores it elsewhere: one folder, two models.

    Args:
        folder: The folder, or where its files were fetched to.
        names: Names of the files in it.
        model: The name that the user gave, if it is not the folder.

    Raises:
        BackboneError: If it holds one.
    """
    names = sorted(names)
    files = [name for name in names if name in _ADAPTER_FILES]
    if not files:
        return
    kind, base, damage = "PEFT", "BASE", ""
    if ADAPTER_CONFIG in files:
        try:
            config = read_json(folder / ADAPTER_CONFIG, entries={})
            kind, base = (str(config.get(key) or word) for key, word in (("peft_type", kind), (_BASE, base)))
        except (DamagedFileError, OSError) as error:
            damage = f"; {ADAPTER_CONFIG} cannot be read: {getattr(error, 'found', None) or error}"
    has_model = CONFIG in names
    raise BackboneError(
        "An adapter lies beside the model's own weights" if has_model else "The folder holds an adapter, and no model",
        where=model or folder,
        expected="a model's weights alone, any adapter merged into them",
        found=f"a {kind} adapter of {base}: {', '.join(files)}{damage}",
        fix=f"merge it and give the folder OUT: PeftModel.from_pretrained(AutoModel.from_pretrained({base!r}), "
        f"{str(model or folder)!r}).merge_and_unload().save_pretrained('OUT')"
        + ("; to use the model without it, move the adapter's files elsewhere" if has_model else ""),
    )


def is_path(name: str | Path) -> bool:
    """Tell whether a model's name can only be a path: no model of the hub is called so."""
    text = str(name)
    named = Path(text).name
    return (
        isinstance(name, Path)
        or text.startswith((".", "/", "~"))
        or text.count("/") > 1
        or text.endswith("/")
        or "\\" in text
        or checkpoint_step(named) is not None
        or (named.endswith(WEIGHT_SUFFIXES) and text not in KNOWN_CHECKPOINTS)
    )


def refuse_non_folder(folder: Path, kind: type[SerProbeError]) -> None:
    """Raise where a path that should be a folder is a file, or leads nowhere; the message says what is there."""
    if folder.is_dir():
        return
    raise _is_file(folder, kind) if folder.is_file() else _no_folder(folder, kind)


def near_names(name: str) -> str:
    """Return known names and folders near a misspelt name; if none is near, where names are listed."""
    folders = [path.name for path in Path().iterdir() if path.is_dir()]
    near = did_you_mean(name, [*known_names(), *folders])
    return near if near.startswith("did you mean") else "`ser-probe models` lists the models that are known by name"


def shown_names(names: Iterable[str]) -> str:
    """Return the names of a folder's content, checkpoints by their steps; only the first of many."""
    listed = sorted(names, key=lambda name: (-1 if (step := checkpoint_step(name)) is None else step, name))
    more = f", ... ({len(listed)} in all)" if len(listed) > _MOST_SHOWN else ""
    return (", ".join(listed[:_MOST_SHOWN]) + more) or "nothing"


def _is_file(path: Path, kind: type[SerProbeError]) -> SerProbeError:
    if (path.parent / CONFIG).is_file() and path.suffix in {*WEIGHT_SUFFIXES, ".json"}:
        fix = f"give the folder that it lies in: {path.parent}"
    elif path.suffix in WEIGHT_SUFFIXES:
        fix = f"put it beside its {CONFIG} and give that folder"
        if path.suffix in (".pt", ".pth", ".ckpt"):
            fix += f"; {_CONVERT}"
    else:
        fix = "give the folder of a model, or of a run of fine-tuning"
    return kind(
        f"{path.name} is a file, and a folder is wanted",
        where=path,
        expected=f"a folder that holds {CONFIG} and model.safetensors (or pytorch_model.bin)",
        found=f"a file; in its folder: {shown_names(file.name for file in path.parent.iterdir())}",
        fix=fix,
    )


def _no_folder(folder: Path, kind: type[SerProbeError]) -> SerProbeError:
    """Return the error for a path that does not exist: its nearest existing folder, and what is there."""
    place, checkpoints = _nearest(folder)
    names = checkpoints or [path.name for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    near = did_you_mean(folder.name, names) if names else ""
    is_near = near.startswith("did you mean")
    return kind(
        "There is no such file, nor a folder" if folder.suffix in WEIGHT_SUFFIXES else "There is no such folder",
        where=folder,
        found=f"{_as_given(place, folder)} holds {shown_names(names) if names else 'no folder'}",
        fix="name one of its checkpoints" if checkpoints else near if is_near else None,
    )


def shown_place(name: str) -> str:
    """Return, for the message of a hub model that was not found, what the folder of its first part holds."""
    place = Path(name).parent
    if name.count("/") != 1 or not place.is_dir():
        return ""
    return f"; the folder {place} holds {shown_names(path.name for path in place.iterdir() if path.is_dir())}"


def _nearest(path: Path) -> tuple[Path, list[str]]:
    """Return the nearest existing folder of a path, and the checkpoints in it or in its folder `checkpoints`."""
    there = path.absolute()
    while not there.is_dir():
        there = there.parent
    for place in (there, there / CHECKPOINTS):
        if checkpoints := [path.name for _, path in list_checkpoints(place)]:
            return place, checkpoints
    return there, []


def _no_model(folder: Path) -> BackboneError:
    place, checkpoints = _nearest(folder)
    if checkpoints:
        return BackboneError(
            f"The folder holds checkpoints, and no {CONFIG} of its own",
            where=folder, found=f"{_as_given(place, folder)} holds {shown_names(checkpoints)}",
            fix="name one of its checkpoints",
        )  # fmt: skip
    names = [path.name for path in folder.iterdir()]
    weights = [name for name in names if name.endswith(WEIGHT_SUFFIXES)]
    fix = f"put the {CONFIG} of the model beside its weights" if weights else "give the folder of a model"
    if any(name.endswith((".pt", ".pth", ".ckpt")) for name in weights):
        fix += f"; {_CONVERT}"
    return BackboneError(
        f"The model directory has no {CONFIG}",
        where=folder, expected=f"{CONFIG} and model.safetensors (or pytorch_model.bin)",
        found=shown_names(names), fix=fix,
    )  # fmt: skip


def _as_given(place: Path, written: Path) -> Path:
    """Return a folder above a given path as the user would write it: relative where the path was."""
    if written.is_absolute():
        return place
    try:
        return place.relative_to(Path().absolute())
    except ValueError:
        return place
