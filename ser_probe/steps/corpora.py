"""The corpora that `prepare` imports, as they are listed: what each holds, its paper, terms, home and options."""

from __future__ import annotations

from ser_probe.data.corpora import IMPORTERS, find_importer
from ser_probe.data.corpora.importer import Importer, Option


def list_corpora() -> list[dict[str, object]]:
    """Return what is known of each corpus, one entry each, in the order of their names."""
    return [_describe(IMPORTERS[name]) for name in sorted(IMPORTERS)]


def describe_corpus(name: str) -> dict[str, object]:
    """Return what is known of one corpus, with its layout and what each option does.

    Raises:
        CorpusError: If there is no importer of that name.
    """
    importer = find_importer(name)
    entry = _describe(importer)
    options = {f"{key} ({_spell(option.default)})": _explain(option) for key, option in importer.options.items()}
    return entry | {"layout": importer.layout, "options": options}


def _describe(importer: Importer) -> dict[str, object]:
    return {
        "name": importer.name,
        "title": importer.title,
        "holds": importer.holds,
        "paper": importer.paper,
        "licence": importer.licence,
        "home": importer.home,
        "options": {key: _spell(option.default) for key, option in importer.options.items()},
    }


def _explain(option: Option) -> str:
    choices = f" [{', '.join(map(_spell, option.choices))}]" if option.choices else ""
    return f"{option.text}{choices}"


def _spell(value: object) -> str:
    """Return a value as it is typed after `--option KEY=`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
