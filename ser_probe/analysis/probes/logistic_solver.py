"""Many penalised softmax regressions of the same features, minimised together.

A problem is a set of training clips, a row of labels and a penalty. All problems that still run share each product
with the features; each has its own step and its own memory of curvature, and is removed when it has converged. The
method is L-BFGS (Nocedal & Wright 2006, section 7.2, in the compact form of Byrd, Nocedal & Schnabel 1994) whose first
guess of the curvature is a diagonal: good where features come from `rotation.rotate`.

Axis letters: P problems, C classes, n clips, m axes and the column of ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

_MEMORY = 5  # steps that the curvature is learnt from; 8 saved no iterations
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring (Nocedal & Wright, equation 3.4)
_MAX_HALVINGS = 30
_NO_CLASS = -1e30  # logit of a class that a problem has no training clip of: its probability is 0


@dataclass(frozen=True)
class Problems:
    """P problems on the same n clips.

    Args:
        labels: int [P, n]; those of clips that do not train are not looked at.
        training: bool [P, n].
        strength: float64 [P]: half of it times the sum of the squared weights is added to the sum of the losses.
        n_classes: C.
    """

    labels: np.ndarray
    training: np.ndarray
    strength: np.ndarray
    n_classes: int


@dataclass(frozen=True)
class Solutions:
    """Solved problems.

    Args:
        weights: [P, C, m + 1], the bias last.
        n_iterations: int [P].
        converged: bool [P].
        present: bool [P, C]: whether a class has training clips; without any its weights are 0 and mean nothing.
    """

    weights: np.ndarray
    n_iterations: np.ndarray
    converged: np.ndarray
    present: np.ndarray

    def keep(self, which: np.ndarray) -> Solutions:
        """Return some of the solutions."""
        return Solutions(*(getattr(self, field.name)[which] for field in fields(self)))


def solve(
    scores: np.ndarray,
    problems: Problems,
    *,
    tolerance: float,
    max_iterations: int,
    start: np.ndarray | None = None,
) -> Solutions:
    """Minimise each problem's sum of cross-entropies and penalty; the bias is not penalised.

    Args:
        scores: Features [n, m], float32 or float64: the precision of all that is done.
        problems: What to fit.
        tolerance: A problem is solved when one more step promises to lower its objective by less than this share.
        max_iterations: Steps after which a problem counts as not converged.
        start: Weights to start at, [P, C, m + 1]; by default 0.
    """
    scores = np.concatenate([scores, np.ones((len(scores), 1), scores.dtype)], axis=1)
    # A copy by axis: products of few problems with it are twice as fast as with a view of the transpose.
    by_axis = np.ascontiguousarray(scores.T)
    state = _begin(scores, by_axis, problems, start)
    solutions = Solutions(
        state.weights.copy(), np.full(len(state.weights), max_iterations), np.zeros(len(state.weights), bool),
        state.present[..., 0],
    )  # fmt: skip
    which = np.arange(len(state.weights))
    for iteration in range(max_iterations + 1):
        step, slope = _direction(state)
        solved = -slope <= 2 * np.maximum(tolerance * state.objective, state.noise)
        if (ended := solved | state.stuck).any() or iteration == max_iterations:
            ended |= iteration == max_iterations
            solutions.weights[which[ended]] = state.weights[ended]
            solutions.n_iterations[which[ended]] = iteration
            solutions.converged[which[ended]] = solved[ended]
            which, step, slope, state = which[~ended], step[~ended], slope[~ended], state.keep(~ended)
        if not len(which):
            break
        _advance(scores, by_axis, state, step, slope)
    return solutions


def logits(scores: np.ndarray, solutions: Solutions) -> np.ndarray:
    """Return the logits of clips [n, m] by solved problems, [P, C, n]; those of absent classes are hugely negative."""
    weights = solutions.weights
    n_problems, n_classes, width = weights.shape
    product = weights[..., :-1].reshape(-1, width - 1) @ scores.T
    product = product.reshape(n_problems, n_classes, -1) + weights[..., -1:]
    return np.where(solutions.present[..., None], product, product.dtype.type(_NO_CLASS))


@dataclass
class _State:
    """Problems that still run: where each is, and what it knows of its objective there."""

    truth: np.ndarray  # [P, C, n], 1 for the class of a clip
    weight: np.ndarray  # [P, 1, n], 1 for training clips
    present: np.ndarray  # bool [P, C, 1]
    penalty: np.ndarray  # [P, 1, m + 1], 0 for the bias
    squares: np.ndarray  # [P, 1, m + 1], sum of squares of each axis over the training clips
    noise: np.ndarray  # [P], differences of the objective below it are rounding
    weights: np.ndarray  # [P, C, m + 1]
    logits: np.ndarray  # [P, C, n]
    probabilities: np.ndarray  # [P, C, n]
    objective: np.ndarray  # float64 [P]
    gradient: np.ndarray  # [P, C, m + 1]
    steps: np.ndarray  # [P, memory, C (m + 1)], a ring
    changes: np.ndarray  # of the gradient, likewise
    products: np.ndarray  # [P, memory, memory], steps times changes
    stuck: np.ndarray  # bool [P], no step lowers the objective
    n_steps: int

    def keep(self, which: np.ndarray) -> _State:
        """Return the state of some of the problems."""
        kept = {name: value[which] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **kept)


def _begin(scores: np.ndarray, by_axis: np.ndarray, problems: Problems, start: np.ndarray | None) -> _State:
    kind = scores.dtype.type
    (n, width), (n_problems, n_classes) = scores.shape, (len(problems.strength), problems.n_classes)
    truth = (problems.labels[:, None] == np.arange(n_classes)[:, None]) & problems.training[:, None]
    present = truth.any(axis=2, keepdims=True)
    penalty = np.repeat(problems.strength.astype(kind)[:, None, None], width, axis=2)
    # Of two classes scikit-learn fits the difference; split evenly over two weight vectors its penalty is this one.
    penalty *= np.where(present.sum(axis=1, keepdims=True) == 2, 2, 1).astype(kind)
    penalty[..., -1] = 0
    weight = problems.training.astype(kind)[:, None]
    weights = np.zeros((n_problems, n_classes, width), kind) if start is None else start.astype(kind)
    size = (n_problems, _MEMORY, n_classes * width)
    state = _State(
        truth=truth.astype(kind), weight=weight, present=present, penalty=penalty,
        squares=weight @ np.square(scores), noise=weight.sum(axis=(1, 2), dtype=np.float64) * np.finfo(kind).eps,
        weights=weights, logits=_apply(by_axis, weights), probabilities=np.empty((n_problems, n_classes, n), kind),
        objective=np.empty(n_problems), gradient=np.empty_like(weights), steps=np.zeros(size, kind),
        changes=np.zeros(size, kind), products=np.zeros((n_problems, _MEMORY, _MEMORY), kind),
        stuck=np.zeros(n_problems, bool), n_steps=0,
    )  # fmt: skip
    state.objective, state.probabilities = _objective(state, weights, state.logits)
    state.gradient = _gradient(scores, state, weights, state.probabilities)
    return state


def _apply(by_axis: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (weights.reshape(-1, weights.shape[2]) @ by_axis).reshape(*weights.shape[:2], -1)


def _objective(
    state: _State, weights: np.ndarray, product: np.ndarray, which: np.ndarray | slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Return the objective [P] and the probabilities [P, C, n], of those problems of the state that `which` picks."""
    present = state.present[which]
    if not present.all():
        product = np.where(present, product, product.dtype.type(_NO_CLASS))
    shifted = product - product.max(axis=1, keepdims=True)
    true_logits = (shifted * state.truth[which]).sum(axis=1)
    np.exp(shifted, out=shifted)
    total = shifted.sum(axis=1, keepdims=True)
    shifted /= total
    loss = ((np.log(total[:, 0]) - true_logits) * state.weight[which, 0]).sum(axis=1, dtype=np.float64)
    squares = np.square(weights).sum(axis=1)
    return loss + 0.5 * (state.penalty[which, 0] * squares).sum(axis=1, dtype=np.float64), shifted


def _gradient(scores: np.ndarray, state: _State, weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    error = probabilities * state.weight
    error -= state.truth
    gradient = (error.reshape(-1, len(scores)) @ scores).reshape(weights.shape)
    return gradient + state.penalty * weights


def _direction(state: _State) -> tuple[np.ndarray, np.ndarray]:
    """Return the step [P, C, m + 1] to the minimum of the model of each objective, and the slope [P] along it."""
    n_problems, shape = len(state.weights), state.weights.shape
    # The mean of p (1 - p) over clips, of the classes that can be confused: the curvature of the loss along a logit.
    spread = ((1 - np.square(state.probabilities).sum(axis=1)) * state.weight[:, 0]).sum(axis=1)
    curvature = spread / state.weight.sum(axis=(1, 2)) / np.maximum(state.present.sum(axis=(1, 2)) - 1, 1)
    # Where all clips are certain the curvature is 0, and a step along the bias, which is not penalised, infinite.
    curvature = np.maximum(curvature, np.finfo(state.weights.dtype).eps)
    diagonal = 1 / (curvature[:, None, None] * state.squares + state.penalty)
    scaled = diagonal * state.gradient
    step = -scaled.reshape(n_problems, -1)
    if n_known := min(state.n_steps, _MEMORY):
        order = np.arange(state.n_steps - n_known, state.n_steps) % _MEMORY
        steps, changes = state.steps[:, :n_known], state.changes[:, :n_known]
        scaled_changes = (changes.reshape(n_problems, n_known, *shape[1:]) * diagonal[:, None]).reshape(changes.shape)
        bent = (scaled_changes @ changes.transpose(0, 2, 1))[:, order][:, :, order]
        along = (steps @ state.gradient.reshape(n_problems, -1, 1))[:, order]
        across = (changes @ scaled.reshape(n_problems, -1, 1))[:, order]
        products = state.products[:, order][:, :, order]
        triangle = np.triu(products)
        first = np.linalg.solve(triangle, along)
        own_products = np.einsum("pii->pi", products)[..., None]
        second = np.linalg.solve(triangle.transpose(0, 2, 1), own_products * first + bent @ first - across)
        back = np.argsort(order)
        step -= (second[:, back].transpose(0, 2, 1) @ steps)[:, 0]
        step += (first[:, back].transpose(0, 2, 1) @ scaled_changes)[:, 0]
    step = step.reshape(shape)
    return step, _inner(step, state.gradient)


def _advance(scores: np.ndarray, by_axis: np.ndarray, state: _State, step: np.ndarray, slope: np.ndarray) -> None:
    """Take each problem's step, halved until it lowers the objective enough, and remember what it showed."""
    along = _apply(by_axis, step)
    length = np.ones(len(step), step.dtype)
    weights, product = state.weights + step, state.logits + along
    objective, probabilities = _objective(state, weights, product)
    for _ in range(_MAX_HALVINGS):
        short = np.flatnonzero(~(objective <= state.objective + _SUFFICIENT * length * slope + state.noise))
        if not len(short):
            break
        length[short] /= 2
        weights[short] = state.weights[short] + length[short, None, None] * step[short]
        product[short] = state.logits[short] + length[short, None, None] * along[short]
        objective[short], probabilities[short] = _objective(state, weights[short], product[short], short)
    else:
        state.stuck = np.isin(np.arange(len(step)), short)
    gradient = _gradient(scores, state, weights, probabilities)
    _remember(state, weights - state.weights, gradient - state.gradient)
    state.weights, state.logits, state.probabilities = weights, product, probabilities
    state.objective, state.gradient = objective, gradient


def _remember(state: _State, step: np.ndarray, change: np.ndarray) -> None:
    place = state.n_steps % _MEMORY
    # Rounding can make a tiny step look as if the objective were not convex; such a step is not learnt from.
    lengths = np.sqrt(_inner(step, step) * _inner(change, change))
    usable = _inner(step, change) > np.finfo(step.dtype).eps * lengths
    state.steps[:, place] = np.where(usable[:, None], step.reshape(len(step), -1), 0)
    state.changes[:, place] = np.where(usable[:, None], change.reshape(len(step), -1), 0)
    state.products[:, place] = (state.changes @ state.steps[:, place, :, None])[..., 0]
    state.products[:, :, place] = (state.steps @ state.changes[:, place, :, None])[..., 0]
    state.products[~usable, place, place] = 1
    state.n_steps += 1


def _inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("pcm,pcm->p", a, b)
