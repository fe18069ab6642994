"""Sequence models, one file each.

A model is a causal `nn.Module` built as `cls(vocab_size, max_len, **size)` that maps tokens
[batch, time] int64 to logits [batch, time, vocab]. Nothing else is asked of it.

Those here can also go on where they stopped: `extend(tokens_BT, state)` gives the logits of tokens
that follow those already in `state` (None: there are none), and the state after them. A state is
every number that has to be kept for that, and nothing more; gradients may stop at it.

Shape suffixes, everywhere in kbench: B batch, T time, D width, V vocabulary, H heads, E inner
width, S state (in attention: positions attended to), W convolution taps, K cohort.
"""
