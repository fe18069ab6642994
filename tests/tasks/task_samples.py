"""What the slow references start from: a task's tokens, by name and as lists."""

import itertools

import numpy as np

from kbench.registry import tasks
from kbench.tasks import NONE


def make(name, /, **params):
    return tasks[name].cls(**params)


def vocabulary(task):
    """What each token is called; no two share a name."""
    names = [task.token_name(token) for token in range(task.vocab_size)]
    assert len(set(names)) == len(names)
    return names


def draw(task, n, cases):
    """Inputs and states of one case's share of a task's 10,000 random samples, as lists."""
    radices = task.radices(n)
    digits = np.random.default_rng(n).integers(0, radices, (10_000 // cases + 1, len(radices)))
    return [tokens.tolist() for tokens in task.simulate(digits, n)]


def simulate_all(task, n):
    """Inputs and states of every sample of length n."""
    return task.simulate(np.array(list(itertools.product(*map(range, task.radices(n))))), n)


def told(task, n, cases=10):
    """Of each random sample the prompt, updates, states and answer by name, without the gaps."""
    names, radices = vocabulary(task), task.radices(n)
    digits = np.random.default_rng(n).integers(0, radices, (10_000 // cases + 1, len(radices)))
    steps = task.simulate(digits, n)

    def named(tokens):
        if isinstance(tokens, list):
            return [named(token) for token in tokens if token != NONE]
        return names[tokens]

    parts = (steps.prompt, steps.updates, steps.states, steps.answers)
    return [tuple(map(named, sample)) for sample in zip(*(p.tolist() for p in parts), strict=True)]
