"""Some positions of a batch: where nobody reads an answer, the last layer need not make one."""

from torch import Tensor


def at_positions(x_BTD: Tensor, at_P: Tensor | None) -> Tensor:
    """x_BTD → x_PD at these positions of the B · T, counted row by row; all of x where None.

    >>> import torch
    >>> x_BTD = torch.arange(6.0).reshape(2, 3, 1)
    >>> at_positions(x_BTD, torch.tensor([2, 3])).squeeze(-1)
    tensor([2., 3.])
    """
    return x_BTD if at_P is None else x_BTD.flatten(0, 1).index_select(0, at_P)


def time_first(at_P: Tensor | None, tokens_BT: Tensor) -> Tensor | None:
    """The same positions, counted in the T · B of a model in which time comes first.

    >>> import torch
    >>> time_first(torch.tensor([0, 1, 3]), torch.zeros(2, 3))
    tensor([0, 2, 1])
    """
    B, T = tokens_BT.shape
    return None if at_P is None else at_P % T * B + at_P // T
