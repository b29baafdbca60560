"""SAM's attention with decomposed relative positions, without the matrix of biases.

A token q at (h, w) sees a token k at (h', w') through q.k / sqrt(c) + q.R_h[h, h'] + q.R_w[w, w'] (Li et al., "MViTv2",
CVPR 2022, Eq. 4). transformers writes the last two terms out as a matrix over all pairs of tokens, a gigabyte an image
and global layer of ViT-H, and most of a GPU's time goes into filling it. Both terms are inner products themselves: with

    q' = [q, sqrt(c) q.R_h[h, :], sqrt(c) q.R_w[w, :]],    k' = [k, e_h', e_w']

(e_i the i-th unit vector) q'.k' / sqrt(c) is the whole of it, and plain attention without a mask takes q' and k'.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam.modeling_sam import SamVisionAttention

_ALIGNED = 8  # channels: fused attention takes multiples of it


def without_bias_matrices(tower: nn.Module) -> None:
    """Let every attention with relative positions in SAM's vision `tower` compute as above; for inference only."""
    for module in tower.modules():
        if isinstance(module, SamVisionAttention) and module.use_rel_pos:
            module.forward = _Attention(module)  # type: ignore[method-assign, assignment]


class _Attention:
    """Replaces the forward pass of `module`; what depends on its parameters alone is computed once."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._positions: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        """(n, h, w, d) -> (n, h, w, d); there is no matrix of attention weights to give."""
        module, (count, height, width, _) = self._module, hidden_states.shape
        along_h, along_w, places = self._tables(height, width, hidden_states)
        heads = module.num_attention_heads
        qkv = module.qkv(hidden_states).view(count, height, width, 3, heads, -1).permute(3, 0, 4, 1, 2, 5)
        query, key, value = qkv.unbind(0)  # (n, heads, h, w, c) each
        channels = query.shape[-1]
        rows = torch.einsum("nahwc,hkc->nahwk", query, along_h)
        columns = torch.einsum("nahwc,wkc->nahwk", query, along_w)
        empty = query.new_zeros(()).expand(*query.shape[:-1], places.shape[-1] - height - width)
        wide_query = torch.cat([query, rows, columns, empty], dim=-1).flatten(2, 3)
        wide_key = torch.cat([key, places.expand(*key.shape[:-1], -1)], dim=-1).flatten(2, 3)
        wide_value = functional.pad(value, (0, wide_key.shape[-1] - channels)).flatten(2, 3)
        seen = functional.scaled_dot_product_attention(
            wide_query, wide_key, wide_value, scale=1.0 / math.sqrt(channels)
        )
        merged = seen[..., :channels].transpose(1, 2).reshape(count, height, width, -1)
        return module.proj(merged), None

    def _tables(self, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R_h (h, h, c) and R_w (w, w, c) times sqrt(c), and what stands beside every key, (h, w, h + w + spare)."""
        at = (height, width, like.device)
        if at not in self._positions:
            module = self._module
            along_h = module.get_rel_pos(height, height, module.rel_pos_h)
            along_w = module.get_rel_pos(width, width, module.rel_pos_w)
            channels = along_h.shape[-1]
            spare = -(channels + height + width) % _ALIGNED
            places = torch.zeros(height, width, height + width + spare, dtype=like.dtype, device=like.device)
            places[..., :height] = torch.eye(height, dtype=like.dtype, device=like.device)[:, None]
            places[..., height : height + width] = torch.eye(width, dtype=like.dtype, device=like.device)
            self._positions[at] = (along_h * math.sqrt(channels), along_w * math.sqrt(channels), places)
        return self._positions[at]
