"""A decoder of x-transformers with rotary positions."""

from torch import nn
from x_transformers import Decoder, TransformerWrapper


class Rotary(nn.Module):
    def __init__(self, vocab_size, max_len, *, width=64, layers=2, heads=4):
        super().__init__()
        self.model = TransformerWrapper(
            num_tokens=vocab_size, max_seq_len=max_len, use_abs_pos_emb=False,
            attn_layers=Decoder(dim=width, depth=layers, heads=heads, rotary_pos_emb=True),
        )  # fmt: skip

    def forward(self, tokens):
        return self.model(tokens)
