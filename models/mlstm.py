"""xLSTM of mLSTM blocks, xLSTM[1:0] (Beck et al. 2024, arXiv 2405.04517, section 2.3)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.models.mamba2 import segment_sums
from kbench.ops.convolution import short_convolution
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


def mlstm(
    q: Tensor, k: Tensor, v: Tensor, i: Tensor, log_f: Tensor, start: Any = None
) -> tuple[Tensor, Any]:
    """C_t = f_t C_{t-1} + exp(i_t) v_t k_tᵀ,  n_t = f_t n_{t-1} + exp(i_t) k_t,
    h_t = C_t q_t / max(|n_tᵀ q_t|, 1)  (section 2.3).

    q, k, v BHTD, i and log f BHT, start C_BHDD, n_BHD, m_BH or None → h_BHTD and the last of them.
    All is scaled by exp(−m_t), m_t the largest exponent there is, which cancels in h and therefore
    has no gradient. Written out it is masked attention (appendix, parallel form).
    """
    log_D_BHTT = segment_sums(log_f) + i.unsqueeze(-2)
    m_BHT = log_D_BHTT.detach().amax(-1)
    if start is not None:
        log_kept_BHT = log_f.cumsum(-1) + start[2].unsqueeze(-1)
        m_BHT = torch.maximum(m_BHT, log_kept_BHT.detach())
    m_BHT1 = m_BHT.unsqueeze(-1)
    D_BHTT = (log_D_BHTT - m_BHT1).exp()
    weights_BHTT = D_BHTT * (q @ k.mT)
    h, nq_BHT = weights_BHTT @ v, weights_BHTT.sum(-1)
    new_k = D_BHTT[..., -1, :].unsqueeze(-1) * k
    C, n = v.mT @ new_k, new_k.sum(-2)
    if start is not None:
        kept_BHT1 = (log_kept_BHT - m_BHT).exp().unsqueeze(-1)
        h = h + kept_BHT1 * (q @ start[0].mT)
        nq_BHT = nq_BHT + (kept_BHT1 * (q @ start[1].unsqueeze(-1))).squeeze(-1)
        C, n = C + kept_BHT1[..., -1:, :] * start[0], n + kept_BHT1[..., -1, :] * start[1]
    return h / torch.maximum(nq_BHT.abs().unsqueeze(-1), (-m_BHT1).exp()), (C, n, m_BHT[..., -1])


class Mixer(nn.Module):
    """Matrix memory between an up- and a down-projection, x_TBD → x_TBD (figure 11)."""

    def __init__(self, width: int, heads: int, conv: int = 4, block: int = 4) -> None:
        super().__init__()
        self.heads, head = heads, -(-2 * width // heads)
        inner = heads * head
        block = math.gcd(block, inner)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.taps = nn.Parameter(torch.empty(conv, inner))
        self.conv_bias = nn.Parameter(torch.empty(inner))
        for parameter in (self.taps, self.conv_bias):
            nn.init.uniform_(parameter, -(conv**-0.5), conv**-0.5)
        # Block-diagonal maps: those of q and k side by side, and that of v.
        self.qk = nn.Parameter(torch.empty(inner // block, block, 2 * block))
        self.v = nn.Parameter(torch.empty(inner // block, block, block))
        for weight in (self.qk, self.v):
            nn.init.normal_(weight, std=math.sqrt(2 / (5 * block)))
        self.gates = nn.Linear(3 * inner, 2 * heads)
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            nn.init.normal_(self.gates.bias[:heads], std=0.1)
            self.gates.bias[heads:] = torch.linspace(3.0, 6.0, heads)
        self.norm = nn.LayerNorm(head, elementwise_affine=False)
        self.scale = nn.Parameter(torch.ones(inner))
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """down((scale · norm(h) + skip · c) · SiLU(z)); the convolution's last inputs; C, n, m."""
        inputs, start = past or (None, None)
        x_TBE, z_TBE = self.up(x_TBD).chunk(2, dim=-1)
        c_TBE, inputs = short_convolution(x_TBE, self.taps, self.conv_bias, inputs)
        q, k = blockwise(c_TBE, self.qk)
        (v,) = blockwise(x_TBE, self.v)
        i, f = rearrange(self.gates(torch.cat([q, k, v], -1)), "t b (g h) -> g b h t", g=2)
        q, k, v = (rearrange(y, "t b (h d) -> b h t d", h=self.heads) for y in (q, k, v))
        h_BHTD, end = mlstm(q, k / math.sqrt(k.shape[-1]), v, i, F.logsigmoid(f), start)
        h_TBE = rearrange(self.norm(h_BHTD), "b h t d -> t b (h d)")
        h_TBE = self.scale * h_TBE + self.skip * c_TBE
        return self.down(at_positions(h_TBE * F.silu(z_TBE), at_P)), (inputs, end)


def blockwise(x_TBE: Tensor, weight_NIO: Tensor) -> tuple[Tensor, ...]:
    """Each block of I channels times its own matrix; as many tensors like x as I fits into O."""
    blocks, block, _ = weight_NIO.shape
    y_NMO = x_TBE.flatten(0, 1).unflatten(-1, (blocks, block)).transpose(0, 1) @ weight_NIO
    return tuple(y.transpose(0, 1).reshape(x_TBE.shape) for y in y_NMO.split(block, -1))


@models.register(
    "mlstm",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class MLSTM(nn.Module):
    """Token embedding, pre-norm residual mLSTM blocks, final norm, linear read-out.

    Expressivity: no parity (arXiv 2411.12537).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.cells = nn.ModuleList(Mixer(width, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is the convolution's last inputs, C, n and m of every block."""
        x, pasts = self.embedding(tokens_BT.T), state or [None] * len(self.cells)
        at_P, state = time_first(at_P, tokens_BT), []
        for norm, cell, past in zip(self.norms, self.cells, pasts, strict=True):
            here = at_P if cell is self.cells[-1] else None
            y, past = cell(norm(x), past, here)
            x = at_positions(x, here) + y
            state.append(past)
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state
