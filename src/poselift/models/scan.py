"""Linear recurrences h_t = a_t * h_{t-1} + b_t, elementwise, computed for all frames at once.

The pairs (a, b) compose associatively, (a2, b2) after (a1, b1) = (a2 a1, a2 b1 + b2), so log2(T)
doublings give every h_t (Hillis and Steele 1986; Martin and Cundy 2018). Plain torch: no kernel,
no loop over frames.
"""

import torch
from torch import Tensor


def linear_scan(a: Tensor, b: Tensor) -> Tensor:
    """All h (N, T, ...) from a, b (N, T, ...), starting from h_0 = b_0."""
    frames, reach = a.shape[1], 1
    while reach < frames:
        b = torch.cat([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], dim=1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], dim=1)
        reach *= 2
    return b


def linear_loop(a: Tensor, b: Tensor) -> Tensor:
    """The same frame by frame: the reference, and what a stream does."""
    h = b[:, 0]
    out = [h]
    for t in range(1, b.shape[1]):
        h = a[:, t] * h + b[:, t]
        out.append(h)
    return torch.stack(out, dim=1)
