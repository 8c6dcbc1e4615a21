"""What tables and figures call the models of caches, where the user says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, did_you_mean, show
from ser_probe.models.model_names import shown_model
from ser_probe.steps.analyses.representations import CacheFile, NamedCache


def name_caches(caches: Sequence[Path], names: Sequence[str] | None) -> list[CacheFile]:
    """Return caches under the names that the user gives their models.

    Args:
        caches: The files.
        names: `NAME=FILE` for one of the files, `NAME=MODEL` for all of a model as it is called without; or names
            alone, one for each file, in their order. None, or none: the files under their own names.

    Raises:
        AnalysisError: If an entry is none of these, or of no file.
        CacheError: If a file cannot be read.
    """
    if not names:
        return list(caches)
    split = [
        (name.strip(), what.strip() if equals else None) for name, equals, what in (n.partition("=") for n in names)
    ]
    _check(split, names, caches)
    facts = [_facts(path) for path in caches]
    chosen: dict[int, str] = {}
    for place, (name, what) in enumerate(split):
        if what is None:
            chosen[place] = name
            continue
        rows = [row for row, path in enumerate(caches) if _is_named(path, facts[row], what)]
        if not rows:
            known = [*map(str, caches), *(_model(each) for each in facts)]
            raise AnalysisError(
                f"No file and no model of the files is called {what!r}", where="--name", fix=did_you_mean(what, known)
            )
        chosen |= dict.fromkeys(rows, name)
    return [
        NamedCache(path, chosen[row], str(facts[row].get("checkpoint", "")), facts[row].get("step"))  # type: ignore[arg-type]
        if row in chosen
        else path
        for row, path in enumerate(caches)
    ]


def named_like(path: Path, named: Sequence[CacheFile]) -> CacheFile:
    """Return a file under the name that it, or else its model, has among others."""
    renamed = [each for each in named if isinstance(each, NamedCache)]
    same = [each for each in renamed if each.path.resolve() == path.resolve()]
    if same or not renamed:
        return same[0] if same else path
    facts_of_file = _facts(path)
    alike = {each.model for each in renamed if _model(_facts(each.path)) == _model(facts_of_file)}
    if len(alike) != 1:
        return path
    return NamedCache(path, alike.pop(), str(facts_of_file.get("checkpoint", "")), facts_of_file.get("step"))  # type: ignore[arg-type]


def _check(split: Sequence[tuple[str, str | None]], names: Sequence[str], caches: Sequence[Path]) -> None:
    alone = [name for name, what in split if what is None]
    if any(not name or what == "" for name, what in split) or (alone and len(alone) != len(split)):
        raise AnalysisError(
            "The names of models cannot be used",
            where="--name",
            expected="NAME=FILE or NAME=MODEL each, or a NAME alone for each of the files",
            found=", ".join(map(show, names)),
        )
    if alone and len(alone) != len(caches):
        raise AnalysisError(
            f"{len(alone)} names are given for {len(caches)} files",
            where="--name",
            found=", ".join(map(show, names)),
            fix="name each file, in their order, or say which: --name NAME=FILE",
        )


def _facts(path: Path) -> dict[str, Any]:
    with EmbeddingCache.open(path) as cache:
        return {"stem": path.stem, **cache.attributes}


def _model(facts: dict[str, Any]) -> str:
    return str(facts.get("model_path") or facts.get("model", facts["stem"]))


def _is_named(path: Path, facts: dict[str, Any], what: str) -> bool:
    models = {_model(facts), shown_model(_model(facts)), str(facts.get("model", ""))}
    return what in models or Path(what).expanduser().resolve() == path.resolve()
