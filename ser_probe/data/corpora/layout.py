"""How each corpus lays out its files, and how to find them below the folder that the user gave.

All layouts are in one table, so that an importer pointed at the wrong corpus can say which corpus it was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ser_probe.errors import CorpusError, shorten
from ser_probe.files import is_lfs_pointer
from ser_probe.runtime import logger

_LOOKED_AT = 2000


@dataclass(frozen=True)
class CorpusLayout:
    """Where a corpus keeps its clips and how it names them.

    Attributes:
        title: The corpus's name.
        file_name: Matches a clip's file name; its groups are the parts of the name.
        folders: Folders below the corpus's own in which clips lie; '' is the corpus's own.
        text: The layout in words.
    """

    title: str
    file_name: re.Pattern[str]
    folders: tuple[str, ...]
    text: str


LAYOUTS = {
    "emovo": CorpusLayout(
        title="EMOVO",
        file_name=re.compile(r"(?P<code>[a-z]{3})-(?P<speaker>[fm]\d)-(?P<sentence>[a-z]\d)\.wav", re.I),
        folders=("f1", "f2", "f3", "m1", "m2", "m3", ""),
        text="f1/dis-f1-b1.wav: a folder per actor (f1-f3, m1-m3); <emotion>-<actor>-<sentence>.wav",
    ),
    "emodb": CorpusLayout(
        title="EMO-DB",
        file_name=re.compile(r"(?P<speaker>\d{2})(?P<sentence>[ab]\d{2})(?P<code>[A-Z])(?P<version>[a-z])\.wav", re.I),
        folders=("wav", ""),
        text="wav/03a01Fa.wav: <speaker><sentence><emotion><version>.wav",
    ),
    "crema_d": CorpusLayout(
        title="CREMA-D",
        # Copies of the corpus are about that write one level as X.
        file_name=re.compile(
            r"(?P<speaker>\d{4})_(?P<sentence>[A-Z]{3})_(?P<code>[A-Z]{3})_(?P<level>HI|LO|MD|XX?)\.wav", re.I
        ),
        folders=("AudioWAV", ""),
        text="AudioWAV/1001_DFA_ANG_XX.wav beside VideoDemographics.csv: <actor>_<sentence>_<emotion>_<level>.wav",
    ),
}


@dataclass(frozen=True)
class FoundClips:
    """The clips of a corpus.

    Attributes:
        root: The folder that the user gave.
        home: The corpus's own folder: the root, or a folder in it.
        paths: Each clip's path relative to the root.
        names: Each clip's file name, matched by the layout's pattern.
    """

    root: Path
    home: Path
    paths: list[str]
    names: list[re.Match[str]]

    def part(self, group: str) -> list[str]:
        """Return one part of each clip's name."""
        return [name[group] for name in self.names]

    def pointers(self) -> list[str]:
        """Return the paths of the clips that are Git LFS pointers."""
        return [path for path in self.paths if is_lfs_pointer(self.root / path)]


def find_clips(root: str | Path, corpus: str) -> FoundClips:
    """Find a corpus's clips in a folder or in one folder below it.

    Files whose name does not parse are left out with a warning that lists them.

    Args:
        root: The corpus's folder, or the folder that holds it.
        corpus: A key of `LAYOUTS`.

    Raises:
        CorpusError: If the folder is missing, empty, holds another corpus, or holds this one twice.
    """
    layout = LAYOUTS[corpus]
    root = Path(root).expanduser()
    if not root.is_dir():
        raise CorpusError(
            f"The {layout.title} folder is {'a file' if root.exists() else 'missing'}",
            where=root,
            expected=layout.text,
            fix="unpack it and give the folder" if root.exists() else "check the path, or fetch the corpus",
        )
    home = _find_home(root, layout)
    files = [file for folder in layout.folders for file in _wav_files(home / folder)]
    named = [(file.relative_to(root).as_posix(), layout.file_name.fullmatch(file.name)) for file in files]
    skipped = [path for path, name in named if name is None]
    if skipped:
        logger.warning(
            "%s: %d files are not named as the corpus names clips and are left out: %s",
            layout.title, len(skipped), shorten(skipped),
        )  # fmt: skip
    clips = sorted((path, name) for path, name in named if name is not None)
    return FoundClips(root, home, [path for path, _ in clips], [name for _, name in clips])


def _find_home(root: Path, layout: CorpusLayout) -> Path:
    def holds_clips(folder: Path) -> bool:
        return any(
            layout.file_name.fullmatch(file.name) for name in layout.folders for file in _wav_files(folder / name)
        )

    if holds_clips(root):
        return root
    homes = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and holds_clips(folder)]
    if len(homes) > 1:
        raise CorpusError(
            f"The folder holds {layout.title} more than once",
            where=root,
            found=", ".join(home.name for home in homes),
            fix="give one of them as the root",
        )
    if not homes:
        raise _wrong_folder(root, layout)
    return homes[0]


def _wrong_folder(root: Path, layout: CorpusLayout) -> CorpusError:
    """Return an error that says what the folder holds instead."""
    names = [file.name for file in islice(_wav_files(root, recursive=True), _LOOKED_AT)]
    if not names:
        return CorpusError(f"The {layout.title} folder holds no WAV file", where=root, expected=layout.text)
    for corpus, candidate in LAYOUTS.items():
        hits = sum(candidate.file_name.fullmatch(name) is not None for name in names)
        if hits > len(names) / 2 and candidate is not layout:
            return CorpusError(
                f"The folder does not hold {layout.title}: its files are named like {candidate.title}'s",
                where=root,
                expected=layout.text,
                found=names[0],
                fix=f"use the importer {corpus!r}, or give the {layout.title} folder",
            )
        if hits and candidate is layout:
            return CorpusError(
                f"The folder holds {layout.title} clips, but not where the corpus keeps them",
                where=root,
                expected=layout.text,
                fix="give the folder that holds the corpus's own folders",
            )
    return CorpusError(
        f"The folder does not hold {layout.title}: none of its WAV files is named as the corpus names clips",
        where=root,
        expected=layout.text,
        found=shorten(names[:3]),
    )


def _wav_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the WAV files of a folder, sorted, without hidden files (`._x.wav` of macOS archives)."""
    if not folder.is_dir():
        return []
    files = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(file for file in files if file.suffix.lower() == ".wav" and not file.name.startswith("."))
