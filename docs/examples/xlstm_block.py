"""mLSTM blocks of the package xlstm."""

from torch import nn
from xlstm import mLSTMBlockConfig, mLSTMLayerConfig, xLSTMLMModel, xLSTMLMModelConfig


class MLSTM(nn.Module):
    def __init__(self, vocab_size, max_len, *, width=64, layers=2, heads=4):
        super().__init__()
        block = mLSTMBlockConfig(mlstm=mLSTMLayerConfig(num_heads=heads))
        self.model = xLSTMLMModel(
            xLSTMLMModelConfig(
                vocab_size=vocab_size, context_length=max_len, embedding_dim=width,
                num_blocks=layers, mlstm_block=block,
            )
        )  # fmt: skip

    def forward(self, tokens):
        return self.model(tokens)
