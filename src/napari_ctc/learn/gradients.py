"""From a batch to the gradients of its loss; on a CUDA card as one graph, which is launched in a single call.

A small network's step is hundreds of short calculations. A card has finished each before Python has asked for the
next, and waits most of the time. A graph is such a sequence as it was once asked for, for one shape of batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FIRST = 3  # batches of a shape that are computed call by call: PyTorch sets itself up meanwhile
MOST = 4  # graphs, each of which keeps the memory of a step; batches of a run have two shapes


@dataclass
class _Graph:
    """A step as the card has it: where its input lies, and what it leaves."""

    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, ...]
    loss: Tensor
    gradients: list[Tensor | None]


class Gradients:
    """Compute the loss of a batch, and leave its gradients, or what is made of them, in the network's weights.

    Parameters
    ----------
    network : torch.nn.Module
        Whose weights stay where they are in memory from the first batch on.
    loss_of : callable
        From the tensors of a batch to its loss, without looking at any number on the way.
    finish : callable
        Called when the gradients are there; it may put others in their place, and is part of the graph. What it
        keeps from step to step must stay where it is in memory.
    """

    def __init__(
        self, network: nn.Module, loss_of: Callable[..., Tensor], finish: Callable[[], None] = lambda: None
    ) -> None:
        self._weights = list(network.parameters())
        self._loss_of, self._finish = loss_of, finish
        self._seen: Counter[object] = Counter()
        self._graphs: dict[object, _Graph] = {}
        self._beside: torch.cuda.Stream | None = None

    def __call__(self, *given: Tensor) -> Tensor:
        """Give the loss of a batch, on its device, where it may still be computed."""
        with torch.inference_mode(False), torch.enable_grad():
            return self._on_card(given) if given[0].device.type == "cuda" else self._plainly(given)

    def _plainly(self, given: tuple[Tensor, ...]) -> Tensor:
        for one in self._weights:
            one.grad = None
        loss = self._loss_of(*given)
        loss.backward()  # type: ignore[no-untyped-call]
        self._finish()
        return loss.detach()

    def _on_card(self, given: tuple[Tensor, ...]) -> Tensor:
        shape = tuple((one.shape, one.stride(), one.dtype) for one in given)
        self._seen[shape] += 1
        if self._seen[shape] == FIRST + 1 and len(self._graphs) < MOST:
            self._capture(shape, given)
        graph = self._graphs.get(shape)
        if graph is None:
            with self._aside():
                return self._plainly(given)
        for here, now in zip(graph.given, given, strict=True):
            here.copy_(now)
        graph.graph.replay()
        for weight, gradient in zip(self._weights, graph.gradients, strict=True):
            weight.grad = gradient
        return graph.loss

    def _capture(self, shape: object, given: tuple[Tensor, ...]) -> None:
        """Record the step; where this network, loss or driver cannot be recorded, it goes on call by call."""
        kept = tuple(one.clone() for one in given)
        graph = torch.cuda.CUDAGraph()
        try:
            with self._aside():
                # Not `torch.cuda.graph`, which first lets Python search all its memory for garbage.
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    loss = self._plainly(kept)
                finally:
                    graph.capture_end()
        except RuntimeError:
            return
        self._graphs[shape] = _Graph(graph, kept, loss, [one.grad for one in self._weights])

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Compute in a stream of its own, after what was asked for before: only there can a graph be recorded."""
        usual = torch.cuda.current_stream()
        self._beside = self._beside or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._beside.wait_stream(usual)
        with torch.cuda.stream(self._beside):
            yield
        usual.wait_stream(self._beside)

    def forget(self) -> None:
        """Give the memory of the graphs back, and of the gradients."""
        self._graphs.clear()
        for one in self._weights:
            one.grad = None
