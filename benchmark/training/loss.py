"""What every run is trained and judged by."""

import torch.nn.functional as F
from torch import Tensor

from kbench.data.supervision import IGNORE


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy in nats over the supervised positions: their `mean`, or their `sum`."""
    return F.cross_entropy(
        logits_BTV.flatten(0, 1),
        targets_BT.flatten().long(),
        ignore_index=IGNORE,
        reduction=reduction,
    )
