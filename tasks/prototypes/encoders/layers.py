"""Hidden states of chosen layers, and a forward pass that goes no further than the last of them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

States = Callable[..., Tensor]


class _Reached(Exception):
    """The last wanted hidden state is there; the rest of the forward pass is not needed."""


def states_of(model: nn.Module, layers: Sequence[int], *, depth: int) -> States:
    """A function of the model's inputs that gives the mean of the hidden states of `layers`, (n, t, d).

    Layers count as transformers' `hidden_states` do: 0 is the embeddings, `depth` (or -1) the last one, after the
    model's own final norm. Blocks beyond the last wanted one are dropped, so their memory is free too.
    Raises ValueError for a layer that the model does not have.
    """
    wanted = [_position(layer, depth) for layer in layers]
    if wanted == [depth]:
        return lambda **inputs: _last_state(model, inputs)
    blocks = _blocks(model, depth)
    caught: dict[int, Tensor] = {}
    deepest = max(wanted)
    for position in sorted({layer for layer in wanted if layer < depth}):
        blocks[position].register_forward_pre_hook(
            _catcher(caught, position, stop=position == deepest), with_kwargs=True
        )
    if deepest < depth:
        del blocks[deepest + 1 :]  # the block at `deepest` stays: its hook stops the pass before it runs

    def states(**inputs: Any) -> Tensor:
        with suppress(_Reached):
            caught[depth] = _last_state(model, inputs)
        found = [_tokens_last(caught[layer]) for layer in wanted]
        caught.clear()
        return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0, dtype=torch.float32)

    return states


def _position(layer: int, depth: int) -> int:
    position = layer + depth + 1 if layer < 0 else layer
    if not 0 <= position <= depth:
        raise ValueError(f"the model has no layer {layer}; its hidden states are 0 to {depth}, or -1 to {-depth - 1}")
    return position


def _blocks(model: nn.Module, depth: int) -> nn.ModuleList:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {depth} layers; only its last layer (-1) can be taken")


def _catcher(caught: dict[int, Tensor], position: int, *, stop: bool) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A block's input is the hidden state before it.
        caught[position] = args[0] if args else kwargs["hidden_states"]
        if stop:
            raise _Reached

    return hook


def _last_state(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    hidden: Tensor = model(**inputs).last_hidden_state
    # A feature map (n, d, h, w) is h * w tokens.
    return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden


def _tokens_last(hidden: Tensor) -> Tensor:
    # SAM's blocks keep the two axes of the image: (n, h, w, d).
    return hidden.flatten(1, 2) if hidden.ndim == 4 else hidden
