"""What every run is trained and judged by."""

import torch.nn.functional as F
from torch import Tensor

from kbench.data.supervision import IGNORE


def supervised(targets_BT: Tensor) -> Tensor:
    """at_P: the positions that are judged, of the B · T counted row by row."""
    return (targets_BT.flatten() != IGNORE).nonzero().squeeze(1)


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy in nats over the supervised positions: their `mean`, or their `sum`.

    logits_BTV with targets_BT, or logits_PV with targets_P.
    """
    return F.cross_entropy(
        logits.flatten(0, -2),
        targets.flatten().long(),
        ignore_index=IGNORE,
        reduction=reduction,
    )
