"""kohya's flattened module names back to the dotted names of diffusers.

kohya (and LyCORIS) write `lora_unet_down_blocks_0_attentions_1_proj_in`: the dots of the module's path became
underscores, and some words have underscores of their own. Every word must be known, so that a name is resolved rightly
or not at all. SDXL files name the U-Net's blocks as Stability's code does (`input_blocks_4_1`); those are renumbered.
"""

import re

COMPONENTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}

# One string a group keeps the vocabulary readable; it is split once, at import.
_UNET = "down_blocks up_blocks mid_block resnets attentions downsamplers upsamplers transformer_blocks attn1 attn2"
_LAYERS = "ff net proj to_q to_k to_v to_out proj_in proj_out conv_in conv_out conv conv1 conv2 conv_shortcut"
_TIME = "time_emb_proj time_embedding add_embedding linear_1 linear_2 time_embed label_emb"
_STABILITY = "input_blocks middle_block output_blocks in_layers out_layers emb_layers skip_connection op out"
_CLIP = "text_model encoder layers self_attn q_proj k_proj v_proj out_proj mlp fc1 fc2 text_projection"
_WORDS = " ".join((_UNET, _LAYERS, _TIME, _STABILITY, _CLIP)).split()
_WORD = re.compile("|".join(sorted(_WORDS, key=len, reverse=True)) + r"|\d+")

_IN_RESNET = {
    "in_layers.2": "conv1",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
_OUTSIDE_BLOCKS = {
    "input_blocks.0.0": "conv_in",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
_LAYERS_PER_BLOCK = 2  # of the U-Nets of Stable Diffusion 1, 2 and XL
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_BLOCK = re.compile(r"^(input_blocks|output_blocks|middle_block)\.(\d+)\.(.+)$")


def resolve(flat: str) -> str | None:
    """`lora_unet_...` to `unet.<module>`; None where a word of it is unknown."""
    for prefix, component in COMPONENTS.items():
        if flat.startswith(prefix):
            dotted = _dotted(flat.removeprefix(prefix))
            module = None if dotted is None else _renumbered(dotted)
            return None if module is None else f"{component}.{module}"
    return None


def resolve_by_base(flat: str, modules: dict[str, str]) -> str | None:
    """The same by the base model's own modules: `modules` maps flattened names to dotted ones (see `flattened`)."""
    for prefix, component in COMPONENTS.items():
        if flat.startswith(prefix) and (module := modules.get(flat.removeprefix(prefix))) is not None:
            return f"{component}.{module}"
    return None


def flattened(modules: list[str]) -> dict[str, str]:
    """Flattened name to dotted name."""
    return {module.replace(".", "_"): module for module in modules}


def _dotted(flat: str) -> str | None:
    words, position = [], 0
    while position < len(flat):
        match = _WORD.match(flat, position)
        if match is None or (match.end() < len(flat) and flat[match.end()] != "_"):
            return None
        words.append(match.group())
        position = match.end() + 1
    return ".".join(words)


def _renumbered(dotted: str) -> str | None:
    if dotted in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[dotted]
    match = _BLOCK.match(dotted)
    if match is None:
        return dotted
    side, index, rest = match[1], int(match[2]), match[3]
    if side == "middle_block":
        inner = _MIDDLE.get(match[2])
        return None if inner is None else f"mid_block.{inner}.{_in_block(rest)}"
    member, _, rest = rest.partition(".")
    block, layer = divmod(index - 1 if side == "input_blocks" else index, _LAYERS_PER_BLOCK + 1)
    stem = f"{'down_blocks' if side == 'input_blocks' else 'up_blocks'}.{block}"
    if rest == "op":
        return f"{stem}.downsamplers.0.conv"
    if rest == "conv":
        return f"{stem}.upsamplers.0.conv"
    kind = {"0": "resnets", "1": "attentions"}.get(member)
    return None if kind is None or not rest else f"{stem}.{kind}.{layer}.{_in_block(rest)}"


def _in_block(rest: str) -> str:
    return _IN_RESNET.get(rest, rest)
