"""Work on many representations or tiles, several at once where there is much of it, with the same result in any case.

Each piece runs on one core, so that its sums run in one order; answers are taken in the order of the tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ser_probe.analysis.threads import run_side_by_side

Task = TypeVar("Task")
Answer = TypeVar("Answer")

# With fewer numbers than this to process, starting threads takes longer than they save.
_MUCH = 2**22


def for_each(work: Callable[[int], None], count: int, size: int, advance: Callable[[], None] | None = None) -> None:
    """Do some work for each representation.

    Args:
        work: Takes a representation's number.
        count: How many there are.
        size: About how many numbers each is made of.
        advance: Called after each.
    """
    if count < 2 or count * size < _MUCH:
        for index in range(count):
            work(index)
            if advance is not None:
                advance()
        return
    for _ in run_side_by_side(work, range(count)):
        if advance is not None:
            advance()


def in_order(
    work: Callable[[Task], Answer], tasks: Iterable[Task], size: int, *, waiting: int
) -> Iterator[tuple[Task, Answer]]:
    """Yield each task with its answer, in the order of the tasks.

    Args:
        work: What to do with a task.
        tasks: What to do it with.
        size: About how many numbers all of them go through.
        waiting: How many answers may be held at a time.
    """
    if size < _MUCH:
        yield from ((task, work(task)) for task in tasks)
        return
    remaining = iter(tasks)
    while batch := list(itertools.islice(remaining, waiting)):
        answers = {place: answer for (place, _), answer in run_side_by_side(_numbered(work), enumerate(batch))}
        yield from ((task, answers.pop(place)) for place, task in enumerate(batch))


def _numbered(work: Callable[[Task], Answer]) -> Callable[[tuple[int, Task]], Answer]:
    return lambda task: work(task[1])
