"""A seeded mutator: files changed as disks, transfers, other programs and people change them.

`mutate(path, seed)` changes one file in place and returns in words what it did, for the failure message; the same
file and seed give the same change. Which mutators fit goes by the file's suffix; those of HDF5 files are in
`mutation_hdf5`. A mutator that does not apply to a file raises `NotApplicableError`, and another is drawn.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

Mutator = Callable[[Path, random.Random], str]
_DRAWS = 200
_DEEP = 100_000
_PLACEHOLDER = "place-of-what-no-writer-writes"


class NotApplicableError(Exception):
    """A mutator finds nothing to change in a file."""


def mutate(path: Path, seed: int, mutators: Mapping[str, Mutator] | None = None) -> str:
    """Change a file in place, so that its bytes differ.

    Args:
        path: The file.
        seed: Draws the change.
        mutators: By name; those that fit the file's suffix by default.

    Returns:
        What was done, with seed and file: `seed 3, best.json, drop: 'step'`.
    """
    chosen = dict(mutators if mutators is not None else mutators_for(path))
    rng, before = random.Random(seed), path.read_bytes()
    for _ in range(_DRAWS):
        name = rng.choice(sorted(chosen))
        try:
            what = chosen[name](path, rng)
        except NotApplicableError:
            continue
        if path.read_bytes() != before:
            return f"seed {seed}, {path.name}, {name}: {what}"
    raise AssertionError(f"No mutator changes {path}")


def mutators_for(path: Path) -> dict[str, Mutator]:
    """Return the mutators that fit a file: those of bytes, and those that know its format."""
    suffix = path.suffix.lower()
    if suffix in (".json", ".yaml", ".yml"):
        return BYTES | DOCUMENT
    if suffix in (".csv", ".tsv"):
        return BYTES | TEXT_TABLE
    if suffix == ".parquet":
        return BYTES | PARQUET
    if suffix in (".h5", ".hdf5"):
        from tests.mutation_hdf5 import HDF5

        return BYTES | HDF5
    return BYTES


# ---------------------------------------------------------------------------------------------------- bytes


def _on_bytes(change: Callable[[bytearray, random.Random], str]) -> Mutator:
    def mutator(path: Path, rng: random.Random) -> str:
        data = bytearray(path.read_bytes())
        if len(data) < 2:
            raise NotApplicableError
        what = change(data, rng)
        path.write_bytes(data)
        return what

    return mutator


def _range(data: bytearray, rng: random.Random) -> tuple[int, int]:
    """Draw a range: short ones as often as long ones."""
    start = rng.randrange(len(data))
    return start, min(start + max(int(2 ** rng.uniform(0, len(data).bit_length())), 1), len(data))


def _truncate(data: bytearray, rng: random.Random) -> str:
    size = rng.choice([rng.randrange(len(data)), max(len(data) - rng.randint(1, 64), 0)])
    del data[size:]
    return f"cut to {size} bytes"


def _flip_bits(data: bytearray, rng: random.Random) -> str:
    places = [rng.randrange(len(data)) for _ in range(rng.choice([1, 1, 4, 32]))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f"bits flipped at {places}"


def _zero(data: bytearray, rng: random.Random) -> str:
    start, stop = _range(data, rng)
    data[start:stop] = bytes(stop - start)
    return f"bytes {start} to {stop} are zero"


def _insert(data: bytearray, rng: random.Random) -> str:
    place, more = rng.randrange(len(data) + 1), rng.randbytes(rng.choice([1, 3, 100]))
    data[place:place] = more
    return f"{len(more)} random bytes inserted at {place}"


def _duplicate(data: bytearray, rng: random.Random) -> str:
    start, stop = _range(data, rng)
    data[stop:stop] = data[start:stop]
    return f"bytes {start} to {stop} stand twice"


def _swap(data: bytearray, rng: random.Random) -> str:
    size = rng.randint(1, max(len(data) // 4, 1))
    one, other = sorted(rng.sample(range(max(len(data) - size, 2)), 2))
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]
    return f"{size} bytes at {one} and {other} are swapped"


def _empty(path: Path, rng: random.Random) -> str:
    path.write_bytes(b"")
    return "empty"


_OTHER = {
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "one NUL": b"\0",
    "zeros": bytes(4096),
    "text": b"nothing to see here\n",
    "JSON": b'{"a": [1, 2, 3]}',
    "a list": b"[]",
    "an HDF5 signature": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a zip's beginning": b"PK\x03\x04" + bytes(60),
    "UTF-16": "name: value\n".encode("utf-16"),
    "Latin-1": "nome: caf\xe9\n".encode("latin-1"),
    "line feeds": b"\n" * 50,
}


def _replace(path: Path, rng: random.Random) -> str:
    name = rng.choice(sorted(_OTHER))
    path.write_bytes(_OTHER[name])
    return f"replaced by {name}"


BYTES: dict[str, Mutator] = {
    "truncate": _on_bytes(_truncate),
    "flip bits": _on_bytes(_flip_bits),
    "zero": _on_bytes(_zero),
    "insert": _on_bytes(_insert),
    "duplicate bytes": _on_bytes(_duplicate),
    "swap": _on_bytes(_swap),
    "empty": _empty,
    "replace": _replace,
}

# ---------------------------------------------------------------------------------------------------- documents

TEXTS = ("", " ", "\0", "a\0b", "../../x", "\u202etxt", "e\u0301", "\U0001f600", "nan", "[", "x" * 100_000, "\r\n")
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -1e-308, float("nan"), float("inf"), -float("inf"))
_RAW = {
    "deep nesting": "[" * _DEEP + "]" * _DEEP,
    "deeply nested keys": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "a number of 5000 digits": "9" * 5000,
    "a lone surrogate": '"\\ud800"',
    "nothing": "",
}
"""What is put into the text, because no writer writes it."""


def change_value(document: Any, rng: random.Random) -> tuple[Any, str, str | None]:
    """Change one place of a JSON-like value, which is changed too.

    Returns:
        The changed value; what was done; the raw text that must stand in place of `_PLACEHOLDER`, if any.
    """
    holders = list(_walk(document, ()))
    location, holder, name = rng.choice(holders) if holders and rng.random() > 0.05 else ((), None, None)
    where = ".".join(map(str, location)) or "the whole"
    old = document if holder is None else holder[name]
    action = rng.choice(["drop", "null", "type", "number", "text", "raw", "length", "duplicate", "nest"])
    new: Any
    raw = None
    if action == "drop" and holder is not None:
        del holder[name]
        return document, f"{where} dropped", None
    if action == "duplicate" and isinstance(holder, dict) and isinstance(name, str):
        holder[_PLACEHOLDER] = rng.choice([old, None, 1])
        return document, f"{where} given twice", name
    if action == "length" and isinstance(old, list):
        new = rng.choice([[], old[:-1], old + old, [old]])
    elif action == "length" and isinstance(old, str):
        new = rng.choice([old[:-1], old + old, old.upper()])
    elif action == "number":
        new = rng.choice(NUMBERS)
    elif action == "text":
        new = rng.choice(TEXTS)
    elif action == "raw":
        kind = rng.choice(sorted(_RAW))
        new, raw, action = _PLACEHOLDER, _RAW[kind], kind
    elif action == "null":
        new = None
    elif action == "nest":
        new = rng.choice([[old], {"value": old}])
    else:
        new = rng.choice([other for other in (True, 7, "text", [1, "a"], {"a": 1}) if type(other) is not type(old)])
    if holder is None:
        document = new
    else:
        holder[name] = new
    return document, f"{where}: {action}, {_short(old)} became {_short(new)}", raw


def _walk(value: Any, above: tuple[Any, ...]) -> Any:
    """Yield every place below a value: its location, what holds it, and its name there."""
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in list(named):
        yield (*above, name), value, name
        yield from _walk(below, (*above, name))


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _document(path: Path, rng: random.Random) -> str:
    is_json = path.suffix.lower() == ".json"
    text = path.read_text(encoding="utf-8")
    document, what, raw = change_value(json.loads(text) if is_json else yaml.safe_load(text), rng)
    if is_json:
        text = json.dumps(document, indent=1)
        text = text if raw is None else text.replace(f'"{_PLACEHOLDER}"', json.dumps(raw) if "twice" in what else raw)
    else:
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        text = text if raw is None else text.replace(_PLACEHOLDER, raw)
    path.write_text(text, encoding="utf-8")
    return what


DOCUMENT: dict[str, Mutator] = {f"document {number}": _document for number in range(8)}
"""As often drawn as the mutators of bytes together."""

# ---------------------------------------------------------------------------------------------------- tables

CELLS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e308", "1e400", "-1", "9" * 400, "a\0b", "\0", '"', "a,b", "a\nb", "\ufeff",
    "\u200b", "none", "NULL", "../../etc", "=1+1", "x" * 100_000, "0x10", "1_000", "1,5", "true",
)  # fmt: skip


def _text_table(change: Callable[[list[list[str]], random.Random], str]) -> Mutator:
    def mutator(path: Path, rng: random.Random) -> str:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=delimiter))
        if len(rows) < 3 or not rows[0]:
            raise NotApplicableError
        what = change(rows, rng)
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
        path.write_bytes(text.getvalue().encode())
        return what

    return mutator


def _drop_column(rows: list[list[str]], rng: random.Random) -> str:
    place = rng.randrange(len(rows[0]))
    name = rows[0][place]
    for row in rows:
        del row[place : place + 1]
    return f"column {name} dropped"


def _rename_column(rows: list[list[str]], rng: random.Random) -> str:
    place = rng.randrange(len(rows[0]))
    name, new = rows[0][place], rng.choice(["", " ", "x\0y", "columns", rows[0][0], rows[0][place].upper(), "\u200bid"])
    rows[0][place] = new
    return f"column {name} is called {new!r}"


def _change_cells(rows: list[list[str]], rng: random.Random) -> str:
    place, cell = rng.randrange(len(rows[0])), rng.choice(CELLS)
    chosen = rows[1:] if rng.random() < 0.4 else [rng.choice(rows[1:])]
    for row in chosen:
        row[place : place + 1] = [cell]
    return f"{len(chosen)} cells of {rows[0][place]} are {_short(cell)}"


def _change_width(rows: list[list[str]], rng: random.Random) -> str:
    number = rng.randrange(len(rows))
    rows[number] = rng.choice([[*rows[number], "more"], rows[number][:-1], [], ["one"]])
    return f"row {number} has {len(rows[number])} cells"


def _cut_rows(rows: list[list[str]], rng: random.Random) -> str:
    start, stop = rng.choice([(1, len(rows)), (0, len(rows)), (0, 1), (2, len(rows)), (len(rows) // 2, len(rows))])
    del rows[start:stop]
    return f"rows {start} to {stop} are gone"


def _repeat_rows(rows: list[list[str]], rng: random.Random) -> str:
    number = rng.randrange(len(rows))
    rows.insert(rng.randrange(len(rows)), rows[number])
    return f"row {number} stands twice"


def _rewrite_text(path: Path, rng: random.Random) -> str:
    text = path.read_text(encoding="utf-8")
    changes: dict[str, bytes] = {
        "in UTF-16": text.encode("utf-16"),
        "in UTF-8 with a signature": text.encode("utf-8-sig"),
        "with Windows line ends": text.replace("\n", "\r\n").encode(),
        "with carriage returns": text.replace("\n", "\r").encode(),
        "in one line": text.replace("\n", ",").encode(),
        "with semicolons": text.replace(",", ";").encode(),
        "with tabs": text.replace(",", "\t").encode(),
        "with a quote that is never closed": text.replace(",", ',"', 1).encode(),
        "without column names": text.partition("\n")[2].encode(),
        "with NUL bytes": text.replace(",", ",\0", 3).encode(),
        "below a comment": b"# written by hand\n" + text.encode(),
        "below blank lines": b"\n\n" + text.encode(),
        "in Latin-1": text.replace("a", "\xe0").encode("latin-1"),
    }
    name = rng.choice(sorted(changes))
    path.write_bytes(changes[name])
    return name


TEXT_TABLE: dict[str, Mutator] = {
    "drop column": _text_table(_drop_column),
    "rename column": _text_table(_rename_column),
    "change cells": _text_table(_change_cells),
    "change cells again": _text_table(_change_cells),
    "change a row's width": _text_table(_change_width),
    "cut rows": _text_table(_cut_rows),
    "repeat rows": _text_table(_repeat_rows),
    "rewrite": _rewrite_text,
}


def _parquet(path: Path, rng: random.Random) -> str:
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise NotApplicableError from error
    if not len(table.columns):
        raise NotApplicableError
    column = rng.choice(list(table.columns))
    values = table[column]
    retyped: dict[str, Callable[[], Any]] = {
        "missing": lambda: [None] * len(table),
        "text": lambda: values.astype(str),
        "other text": lambda: ["x"] * len(table),
        "lists": lambda: [[1, 2]] * len(table),
        "mappings": lambda: [{"a": 1}] * len(table),
        "bytes": lambda: [b"\xff"] * len(table),
        "numbers": lambda: list(range(len(table))),
        "huge numbers": lambda: [1e308] * len(table),
        "infinite": lambda: [float("inf")] * len(table),
        "NaN": lambda: [float("nan")] * len(table),
        "times": lambda: pd.Timestamp("2024-01-01"),
        "categories": lambda: values.astype(str).astype("category").to_numpy(),
        "truth values": lambda: [True] * len(table),
    }
    action = rng.choice(["drop", "rename", "cut", "shuffle", "repeat", "no columns", *sorted(retyped) * 2])
    if action in retyped:
        table = table.assign(**{column: retyped[action]()})
    changed = {
        "drop": lambda: table.drop(columns=column),
        "rename": lambda: table.rename(columns={column: f"{column} of old"}),
        "cut": lambda: table.head(rng.choice([0, 1, len(table) // 2])),
        "shuffle": lambda: table.sample(frac=1, random_state=rng.randrange(1000)),
        "repeat": lambda: pd.concat([table, table], ignore_index=True),
        "no columns": lambda: pd.DataFrame(),
    }.get(action, lambda: table)()
    changed.to_parquet(path, index=False)
    return f"{column}: {action}"


PARQUET: dict[str, Mutator] = {f"parquet {number}": _parquet for number in range(8)}
