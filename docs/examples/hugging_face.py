"""GPT-2 of Hugging Face's transformers, as small as kbench's own models."""

from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel


class GPT2(nn.Module):
    def __init__(self, vocab_size, max_len, *, width=64, layers=2, heads=4):
        super().__init__()
        self.model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab_size, n_positions=max_len, n_embd=width, n_layer=layers,
                n_head=heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                bos_token_id=None, eos_token_id=None,
            )
        )  # fmt: skip

    def forward(self, tokens):
        return self.model(tokens).logits
