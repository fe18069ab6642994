"""One colour a model, and one shape a supervision: on plots, pages and pictures alike.

Every colour has a contrast of at least 3 with white and with the dark page, so that a model is the
same on both. A kind of model has a range of hues; names always stand beside colours.
"""

import hashlib

KINDS = {
    "recurrent": {
        "lstm": "#1570d1", "gru": "#0a8fd1", "rnn": "#0470a5", "xlstm": "#6875d8",
        "dense-ssm": "#5d50e2",
    },
    "linear recurrent": {
        "mamba": "#0a8758", "mamba-neg": "#17a478", "mamba2": "#2b7932", "gla": "#499537",
        "mlstm": "#0c7b7b", "deltanet": "#069e98", "deltaproduct": "#058298",
        "deltanet-pos": "#2e8c7c", "deltaproduct-pos": "#2a9cae", "gated-deltanet": "#6d8e1c",
        "rwkv7": "#516f21",
    },
    "both": {"hybrid": "#a23db8"},
    "attention": {
        "transformer": "#c55205", "transformer-rope": "#c1313c", "transformer-alibi": "#bc780a",
        "transformer-nope": "#9d5900", "transformer-canon": "#dc4264",
        "looped-transformer": "#b8325f",
    },
}  # fmt: skip
"""By kind: from a fixed state to attention over all that was read."""
OTHER = "other"
OTHERS = ("#7d6b8a", "#8a6f5c", "#6b7a86", "#86707a")
"""Of models that are no kbench's own, chosen by name."""
MARKERS = {"outcome": "o", "cot": "s", "aligned": "^"}
"""By supervision, as matplotlib names them."""


def colour(model: str) -> str:
    """Of a model by its registered name, or by that of its file and class.

    >>> colour("lstm")
    '#1570d1'
    """
    for models in KINDS.values():
        if model in models:
            return models[model]
    return OTHERS[hashlib.sha256(model.encode()).digest()[0] % len(OTHERS)]


def kind(model: str) -> str:
    """One of KINDS, or `other` for a model that is none of kbench's own.

    >>> kind("transformer-rope")
    'attention'
    """
    return next((name for name, models in KINDS.items() if model in models), OTHER)
