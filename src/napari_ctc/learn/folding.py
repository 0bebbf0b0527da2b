"""Fold batch norms into the convolutions before them, so that a forward pass has less to do.

`torch.fx.experimental.optimization.fuse` does the same, but importing it imports deprecated parts of torch.
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a copy of a network in which each batch norm that follows a convolution is part of it.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; it is left as it is.

    Returns
    -------
    torch.nn.Module
        Computes the same but for rounding.
    """
    traced = fx.symbolic_trace(network)  # shares its modules with the original, so each is replaced, not changed
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if node.args else None
        if not (isinstance(norm, nn.BatchNorm2d) and isinstance(before, fx.Node)):
            continue
        if before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = modules[str(before.target)]
        if not isinstance(convolution, nn.Conv2d):
            continue
        with torch.no_grad():
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
