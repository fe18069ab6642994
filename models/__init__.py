"""Sequence models, one file each.

A model is a causal `nn.Module` built as `cls(vocab_size, max_len, **size)` that maps tokens
[batch, time] int64 to logits [batch, time, vocab]. Shape suffixes, everywhere in kbench:
B batch, T time, D width, V vocabulary, H heads, E inner width, S state, K cohort.
"""
