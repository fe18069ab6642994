"""Work on a GPU as CUDA graphs: launched at once, where launching is what small models cost."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def captured(work: Callable[[], None], changes: Sequence[Tensor]) -> torch.cuda.CUDAGraph | None:
    """What `work` does to tensors that stay where they are, as a CUDA graph.

    Called a few times first, in which libraries set themselves up; what that did to `changes` is
    undone. None where it cannot be captured, because it looks at what it computes.
    """
    before = [tensor.clone() for tensor in changes]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph, can_be = torch.cuda.CUDAGraph(), True
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        can_be = False
    for tensor, value in zip(changes, before, strict=True):
        tensor.copy_(value)
    return graph if can_be else None
