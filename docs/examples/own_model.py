# %% [markdown]
# # Does my model share what it learns across lengths?
#
# Your own model in 20 lines, κ against an LSTM and a transformer, and the numbers in pandas.
# This file is a notebook in the percent format: open it in Jupyter (with jupytext), VS Code or
# PyCharm, or run it as it is with `python`. Needs `pip install pandas`.

# %%
from pathlib import Path

import kbench

# %% [markdown]
# A model is a class in a file, so that worker processes can load it. It is built with the size of
# the vocabulary and the longest input, reads tokens `[batch, time]` and returns logits
# `[batch, time, vocab]`, none of which may depend on later tokens.

# %%
Path("leaky.py").write_text(
    '''
"""A leaky integrator: what it remembers fades at a rate of its own in each channel."""
import torch
from torch import nn

class Leaky(nn.Module):
    def __init__(self, vocab_size, max_len, *, width=64):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.rate = nn.Parameter(torch.linspace(-2, 4, width))
        self.mix = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, vocab_size))

    def forward(self, tokens):
        x = self.embedding(tokens)
        rate, state, states = torch.sigmoid(self.rate), torch.zeros_like(x[:, 0]), []
        for t in range(tokens.shape[1]):
            state = rate * state + x[:, t]
            states.append(state)
        return self.mix(torch.stack(states, dim=1))
'''
)

# %% [markdown]
# Is it what kbench takes it for: causal, deterministic, trainable?

# %%
for found in kbench.check("leaky.py:Leaky"):
    print("pass" if found.passed else "–" if found.passed is None else "FAIL", found.name)

# %% [markdown]
# How many samples does it need, next to an LSTM and a transformer? Lengths 3 and 4 and two seeds
# take about a minute with `quick-1`, the shortest protocol; leave all three out for a whole
# measurement with the default. What is stored in `.kbench/` is not
# run again, so an interrupted cell resumes where it stopped.

# %%
results = kbench.run(
    model=["leaky.py:Leaky", "lstm", "transformer"],
    task="modadd",
    supervision="aligned",
    lengths=(3, 4),
    seeds=2,
    protocol="quick-1",
    progress=False,
)
results

# %%
lstm = results["lstm"]
print(lstm.verdict, lstm.kappa.over_seeds, lstm.n_star["joint"], sep="\n")

# %% [markdown]
# The same in pandas: one row for each seed and length.

# %%
n_star = results.to_pandas("n_star")
print(n_star.pivot_table(index=["model", "seed"], columns="length", values="high"))

# %% [markdown]
# And drawn, as `kbench show --plot` does it: single runs into a file, κ right here.

# %%
results.plot("curves").savefig("curves.svg")
results.plot("kappa")
