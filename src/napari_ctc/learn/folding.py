"""Fold batch norms into the convolutions before them, so that a forward pass has less to do.

Tracing a network (`torch.fx`) would tell which norm follows which convolution, but while it traces it replaces the
call of every module in the process: a network that another thread runs meanwhile fails.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_ctc.learn.turning import untie


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a copy of a network in which each batch norm that follows a convolution is part of it.

    Turned filters are written out first.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; it is left as it is. A norm that is registered right after a convolution is taken to
        be of what comes from it, and nothing else to use that.

    Returns
    -------
    torch.nn.Module
        Computes the same but for rounding.
    """
    folded = untie(copy.deepcopy(network))
    for parent in list(folded.modules()):
        for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                with torch.no_grad():
                    setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, nn.Identity())
    return folded
