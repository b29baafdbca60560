"""Image models' LoRA files: kohya and diffusers names mean what diffusers itself takes them to mean."""

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tasks.blending.diffusers_files import component, read_diffusers
from tasks.blending.exact import blend_exact
from tasks.blending.factors import dense
from tasks.blending.kohya_names import flattened, resolve
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.files import InvalidInput

diffusers = pytest.importorskip("diffusers", reason="diffusers is needed to compare with its own key conversion")


@pytest.fixture(scope="module")
def unet():
    """A small U-Net with the block structure of Stable Diffusion XL: three blocks of two layers."""
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    model = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    yield model
    logging.disable(logging.NOTSET)


def linear_and_conv(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    wanted = (torch.nn.Linear, torch.nn.Conv2d)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, wanted)}


def kohya_tensors(model: torch.nn.Module, *, prefix: str, seed: int, alpha: float | None) -> dict[str, torch.Tensor]:
    """A LoRA of every linear and convolution under kohya's names, rank varying by layer."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for i, (name, layer) in enumerate(linear_and_conv(model).items()):
        rank, weight = 2 + i % 3, layer.weight
        flat = prefix + name.replace(".", "_")
        tensors[f"{flat}.lora_down.weight"] = torch.randn(rank, *weight.shape[1:], generator=generator)
        unit = (1,) * (weight.dim() - 2)
        tensors[f"{flat}.lora_up.weight"] = torch.randn(weight.shape[0], rank, *unit, generator=generator)
        if alpha is not None:
            tensors[f"{flat}.alpha"] = torch.tensor(alpha)
    return tensors


def saved(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
    return path


def test_every_unet_module_is_resolved_from_its_flat_name(unet):
    for name in linear_and_conv(unet):
        assert resolve("lora_unet_" + name.replace(".", "_")) == f"unet.{name}"


def test_stability_block_names_are_renumbered_as_diffusers_does(unet):
    from diffusers.loaders.lora_conversion_utils import _convert_unet_lora_key, _maybe_map_sgm_blocks_to_diffusers

    names = [
        "input_blocks_1_0_in_layers_2", "input_blocks_4_1_proj_in", "input_blocks_3_0_op",
        "input_blocks_4_0_emb_layers_1",
        "input_blocks_4_0_skip_connection", "input_blocks_8_1_transformer_blocks_0_attn1_to_q",
        "input_blocks_7_1_transformer_blocks_1_ff_net_0_proj", "middle_block_0_out_layers_3", "middle_block_1_proj_out",
        "middle_block_2_in_layers_2", "output_blocks_0_1_transformer_blocks_0_attn2_to_out_0", "output_blocks_2_2_conv",
        "output_blocks_5_0_out_layers_3", "output_blocks_8_0_emb_layers_1",
    ]  # fmt: skip
    keys = {f"lora_unet_{name}.lora_down.weight": torch.zeros(1) for name in names}
    renumbered = _maybe_map_sgm_blocks_to_diffusers(dict(keys), unet.config)
    theirs = {_convert_unet_lora_key(key).replace("attn1.processor", "attn1") for key in renumbered}
    ours = {resolve(f"lora_unet_{name}") for name in names}
    normal = {
        key.replace("attn2.processor", "attn2").replace("to_q_lora", "to_q").replace("to_out_lora", "to_out.0")
        .replace(".lora.down.weight", "").replace(".down.weight", "")
        for key in theirs
    }  # fmt: skip
    assert ours == {f"unet.{name}" for name in normal}


def test_unknown_words_are_refused_and_the_base_models_modules_resolve_them(tmp_path):
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(1, 4),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(4, 1),
    }
    path = saved(tmp_path / "flux.safetensors", tensors)
    with pytest.raises(InvalidInput, match="has no known module"):
        read_diffusers(path, base_modules={})
    adapter = read_diffusers(path, base_modules=flattened(["double_blocks.0.img_attn.qkv"]))
    assert list(adapter.modules) == ["unet.double_blocks.0.img_attn.qkv"]


@given(st.text("abcdefghijklmnopqrstuvwxyz_0123456789", max_size=40))
def test_resolving_never_fails_and_never_invents(name):
    found = resolve("lora_unet_" + name)
    assert found is None or found.startswith("unet.")


def unet_deltas(unet, load) -> dict[str, torch.Tensor]:
    load(unet)
    deltas = {
        name: sum(layer.get_delta_weight(active) for active in layer.active_adapters).detach()
        for name, layer in unet.named_modules()
        if hasattr(layer, "get_delta_weight")
    }
    unet.unload_lora()
    return deltas


@pytest.mark.parametrize("alpha", [None, 3.0])
def test_a_blend_of_kohya_files_loads_in_diffusers_as_the_weighted_sum(unet, tmp_path, alpha):
    weights = [0.7, -0.4]
    files = [kohya_tensors(unet, prefix="lora_unet_", seed=seed, alpha=alpha) for seed in (1, 2)]
    paths = [saved(tmp_path / f"{i}.safetensors", tensors) for i, tensors in enumerate(files)]
    adapters = [read_diffusers(path, base_modules={}) for path in paths]
    blend = blend_exact(adapters, weights, base_model_name="base", revision=None)
    write_adapter(blend, tmp_path / "blend")
    load = {"prefix": "unet", "adapter_name": "blend", "weight_name": "pytorch_lora_weights.safetensors"}
    found = unet_deltas(unet, lambda model: model.load_lora_adapter(str(tmp_path / "blend"), **load))
    for name, layer in linear_and_conv(unet).items():
        flat, wanted = "lora_unet_" + name.replace(".", "_"), 0.0
        for weight, tensors in zip(weights, files, strict=True):
            down, up = tensors[f"{flat}.lora_down.weight"], tensors[f"{flat}.lora_up.weight"]
            scale = 1.0 if alpha is None else alpha / down.shape[0]
            wanted = wanted + weight * scale * (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
        assert torch.allclose(found[name], wanted, atol=1e-4)


def test_old_diffusers_names_mean_the_same_as_new_ones(tmp_path):
    a, b = torch.randn(2, 4), torch.randn(4, 2)
    stem = "unet.mid_block.attentions.0.transformer_blocks.0.attn1"
    old = saved(
        tmp_path / "old.safetensors",
        {
            f"{stem}.processor.to_out_lora.down.weight": a,
            f"{stem}.processor.to_out_lora.up.weight": b,
            "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight": a,
            "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up.weight": b,
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight": a,
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight": b,
        },
    )
    assert list(read_diffusers(old, base_modules={}).modules) == [
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        f"{stem}.to_out.0",
    ]
    new = saved(
        tmp_path / "new.safetensors", {f"{stem}.to_out.0.lora_A.weight": a, f"{stem}.to_out.0.lora_B.weight": b}
    )
    module = read_diffusers(new, base_modules={}).modules[f"{stem}.to_out.0"]
    assert torch.equal(dense(module.factors(torch.float32)), b @ a)


def test_scales_in_the_header_of_a_diffusers_file_are_honoured(tmp_path):
    metadata = '{"unet.r": 2, "unet.lora_alpha": 8, "unet.target_modules": ["conv_in"]}'
    a, b = torch.ones(2, 3, 1, 1), torch.ones(4, 2, 1, 1)
    tensors = {"unet.conv_in.lora_A.weight": a, "unet.conv_in.lora_B.weight": b}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": metadata})
    assert read_diffusers(tmp_path / "x.safetensors", base_modules={}).modules["unet.conv_in"].scale == 4


def test_a_component_becomes_a_peft_adapter_of_its_model(unet, tmp_path):
    tensors = kohya_tensors(unet, prefix="lora_unet_", seed=3, alpha=None)
    whole = read_diffusers(saved(tmp_path / "x.safetensors", tensors), base_modules={})
    cut = component(whole, "unet")
    write_adapter(blend_exact([cut], [1.0], base_model_name="base", revision=None), tmp_path / "peft")
    assert set(read_adapter(tmp_path / "peft").modules) == set(linear_and_conv(unet))
    assert all(key.startswith("base_model.model.") for key in load_file(tmp_path / "peft/adapter_model.safetensors"))
    with pytest.raises(InvalidInput, match="has no component 'text_encoder'"):
        component(whole, "text_encoder")


@pytest.mark.parametrize("part", ["hada_w1_a", "lokr_w1", "dora_scale", "lora_mid.weight", "diff"])
def test_other_parametrisations_are_refused_by_name(tmp_path, part):
    path = saved(tmp_path / "x.safetensors", {f"lora_unet_conv_in.{part}": torch.ones(2)})
    with pytest.raises(InvalidInput, match="is not plain LoRA"):
        read_diffusers(path, base_modules={})


def test_adapters_of_different_loaders_are_not_mixed(tmp_path):
    tensors = {
        "lora_unet_conv_in.lora_down.weight": torch.ones(1, 4),
        "lora_unet_conv_in.lora_up.weight": torch.ones(4, 1),
    }
    whole = read_diffusers(saved(tmp_path / "x.safetensors", tensors), base_modules={})
    with pytest.raises(InvalidInput, match="named for another loader"):
        blend_exact([whole, component(read_diffusers(tmp_path / "x.safetensors", base_modules={}, name="y"), "unet")],
                    [0.5, 0.5], base_model_name="base", revision=None)  # fmt: skip
