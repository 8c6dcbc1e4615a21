"""The clips of a corpus, found wherever they lie below the folder that the user gave."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ser_probe.data.corpora.importer import Importer
from ser_probe.errors import CorpusError, shorten
from ser_probe.files import is_lfs_pointer

_LOOKED_AT = 2000
AUDIO_ENDINGS = (".aif", ".aiff", ".avi", ".flac", ".flv", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wav")


@dataclass(frozen=True)
class FoundClips:
    """The clips of a corpus.

    Attributes:
        importer: The corpus's importer.
        root: The folder that the user gave.
        home: The corpus's own folder: the root, or a folder below it.
        paths: Each clip's path relative to the root, sorted, with / between folders.
        names: Each clip's path, matched by the importer's pattern.
        notes: Audio files below the corpus's folder that are not named as its clips, a line where there are any.
    """

    importer: Importer
    root: Path
    home: Path
    paths: list[str]
    names: list[re.Match[str]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, group: str) -> list[str]:
        """Return one part of each clip's name; empty where the name lacks it."""
        return [name[group] or "" for name in self.names]

    def stems(self) -> list[str]:
        """Return each file's name without its ending."""
        return [PurePosixPath(path).stem for path in self.paths]

    def pointers(self) -> list[str]:
        """Return the paths of the clips that are Git LFS pointers."""
        return [path for path in self.paths if is_lfs_pointer(self.root / path)]

    def choose(self, kept: Iterable[bool]) -> FoundClips:
        """Return some of the clips, by one flag a clip."""
        chosen = [pair for pair, keep in zip(zip(self.paths, self.names, strict=True), kept, strict=True) if keep]
        return FoundClips(
            self.importer, self.root, self.home, [path for path, _ in chosen], [name for _, name in chosen], self.notes
        )


def find_clips(root: str | Path, importer: Importer, others: Iterable[Importer] = ()) -> FoundClips:
    """Find a corpus's clips at any depth below a folder.

    Args:
        root: The corpus's folder, or one above it.
        importer: The corpus.
        others: The corpora that may lie there instead, to be named.

    Raises:
        CorpusError: If the folder is missing, empty, holds another corpus, or holds this one twice.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise CorpusError(
            f"The {importer.title} folder is {'a file' if root.exists() else 'missing'}",
            where=root,
            expected=importer.layout,
            fix="unpack it and give the folder" if root.exists() else "check the path, or fetch the corpus",
        )
    files = sorted(audio_files(root, importer.suffixes))
    matches = [(path, importer.pattern.fullmatch(path)) for path in files]
    clips = [(path, match) for path, match in matches if match is not None]
    if not clips:
        raise _wrong_folder(root, importer, others, files)
    home = _home(root, importer, [match for _, match in clips])
    below = home.relative_to(root).as_posix() + "/" if home != root else ""
    strange = [path for path, match in matches if match is None and path.startswith(below)]
    notes: tuple[str, ...] = ()
    if strange:
        notes = (
            f"{count_of(len(strange), 'file')} not named as {importer.title} names clips, left out: {shorten(strange)}",
        )
    return FoundClips(importer, root, home, [path for path, _ in clips], [match for _, match in clips], notes)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def audio_files(root: Path, suffixes: Iterable[str] = AUDIO_ENDINGS) -> Iterator[str]:
    """Yield the paths of audio files below a folder, without hidden ones (`._x.wav`, `__MACOSX` of macOS archives)."""
    endings = tuple(suffixes)
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        below = Path(folder).relative_to(root)
        for name in names:
            if name.lower().endswith(endings) and not name.startswith("."):
                yield (below / name).as_posix()


def _home(root: Path, importer: Importer, clips: list[re.Match[str]]) -> Path:
    """Return the corpus's folder: where clips lie in several, the one around them if no clip is there twice.

    A clip is known by what its name says: a copy may have other folders, or another format.

    Raises:
        CorpusError: If one clip lies in two of them.
    """
    homes: defaultdict[str, dict[tuple[str, ...], str]] = defaultdict(dict)
    for match in clips:
        parts = (part or "" for name, part in match.groupdict().items() if name != "home")
        homes[match["home"]][tuple(part.lower() for part in parts)] = match[0].removeprefix(match["home"])
    seen = Counter(parts for names in homes.values() for parts in names)
    twice = [name for names in homes.values() for parts, name in names.items() if seen[parts] > 1]
    if twice:
        inner = [home.rstrip("/") for home in homes if home]
        raise CorpusError(
            f"The folder holds {importer.title} more than once",
            where=root,
            found=f"{shorten(sorted(home.rstrip('/') or '.' for home in homes))} ({twice[0]} is in two of them)",
            fix=f"give one of them as the folder, such as {root / min(inner)}",
        )
    return root / os.path.commonpath(homes) if all(homes) else root


def _wrong_folder(root: Path, importer: Importer, others: Iterable[Importer], files: list[str]) -> CorpusError:
    """Return an error that says what the folder holds instead."""
    audio = files or sorted(audio_files(root))
    if not audio:
        return CorpusError(
            f"The {importer.title} folder holds no audio file ({', '.join(AUDIO_ENDINGS)})",
            where=root,
            expected=importer.layout,
        )
    looked_at = audio[:: max(1, len(audio) // _LOOKED_AT)]
    for other in others:
        hits = sum(other.pattern.fullmatch(path) is not None for path in looked_at)
        if other is not importer and hits > len(looked_at) / 2:
            return CorpusError(
                f"The folder does not hold {importer.title}: its files are named like {other.title}'s",
                where=root,
                expected=importer.layout,
                found=looked_at[0],
                fix=f"use the importer {other.name!r}, or give the {importer.title} folder",
            )
    if not files:
        return CorpusError(
            f"The {importer.title} folder holds no file that ends with {' or '.join(importer.suffixes)}",
            where=root,
            expected=importer.layout,
            found=shorten(looked_at, 3),
        )
    return CorpusError(
        f"The folder does not hold {importer.title}: no file is named as the corpus names clips",
        where=root,
        expected=importer.layout,
        found=shorten(looked_at, 3),
    )
