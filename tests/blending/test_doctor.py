"""The doctor's verdicts: a portable blend loads everywhere, and every rule of the table is broken by something real."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from flows.doctor import doctor
from tasks.blending.consumers import Consumer
from tasks.blending.diffusers_files import read_diffusers
from tasks.blending.doctor_rules import RULES
from tasks.blending.exact import blend_exact
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.files import InvalidInput
from tests.blending.models import save_random_adapter

PREFIX = "base_model.model."


def made(root: Path, **changes) -> Path:
    """An adapter of q and v alone that PEFT made."""
    arguments = {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], **changes}
    return save_random_adapter(root / "adapter", LoraConfig(**arguments), seed=0)


def edit(directory: Path, **changes) -> None:
    path = directory / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def retensor(directory: Path, change) -> None:
    path = directory / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def named_base(directory: Path) -> Path:
    edit(directory, base_model_name_or_path="llama")
    return directory


def broken(directory: Path, consumer: Consumer) -> set[str]:
    verdict = doctor(directory, [consumer])["verdicts"][consumer.value]
    assert verdict["loads"] == (not verdict["broken"])
    return {entry["rule"] for entry in verdict["broken"]}


def test_a_portable_blend_loads_in_every_server_and_in_peft_by_loading(tmp_path):
    first = made(tmp_path / "1", rank_pattern={"layers.0.q_proj": 4}, use_rslora=True, layers_to_transform=[0, 2],
                 layers_pattern="layers")  # fmt: skip
    second = made(tmp_path / "2", target_modules=["q_proj", "gate_proj"])
    blend = blend_exact(
        [read_adapter(first), read_adapter(second)], [0.5, -0.2], base_model_name="llama", revision=None
    )
    write_adapter(blend, tmp_path / "blend")
    found = doctor(tmp_path / "blend", [Consumer.PEFT, Consumer.VLLM, Consumer.SGLANG, Consumer.LORAX])["verdicts"]
    assert [verdict["broken"] for verdict in found.values()] == [[]] * 4
    assert found["peft"]["verified"] == "loading"
    assert found["vllm"]["verified"] == "table"


def no_config(directory: Path) -> None:
    (directory / "adapter_config.json").unlink()


def no_weights(directory: Path) -> None:
    (directory / "adapter_model.safetensors").write_bytes(b"x")


def one_layer_less(directory: Path) -> None:
    retensor(directory, lambda t: [t.pop(f"{PREFIX}layers.1.v_proj.lora_{part}.weight") for part in "AB"])


def one_factor_less(directory: Path) -> None:
    retensor(directory, lambda t: t.pop(f"{PREFIX}layers.1.v_proj.lora_A.weight"))


def a_head(directory: Path) -> None:
    retensor(directory, lambda t: t.update({f"{PREFIX}head.weight": torch.zeros(3, 6)}))
    edit(directory, modules_to_save=["head"])


def a_huge_rank(directory: Path) -> None:
    def grow(tensors):
        for key, value in list(tensors.items()):
            shape = (600, value.shape[1]) if "lora_A" in key else (value.shape[0], 600)
            tensors[key] = torch.zeros(shape)

    retensor(directory, grow)
    edit(directory, r=600)


BREAKING = [
    ("adapter_config.json is readable", Consumer.PEFT, {}, no_config),
    ("weights are readable", Consumer.LORAX, {}, no_weights),
    ("it is LoRA", Consumer.VLLM, {}, lambda d: edit(d, peft_type="IA3")),
    ("r, lora_alpha and target_modules are set", Consumer.VLLM, {}, lambda d: edit(d, lora_alpha=None)),
    ("r is positive", Consumer.VLLM, {}, lambda d: edit(d, r=0)),
    ("tensors have the config's ranks", Consumer.PEFT, {}, lambda d: edit(d, r=5)),
    ("target_modules is a list", Consumer.SGLANG, {"target_modules": r".*\.(q|v)_proj"}, None),
    ("every factor has its partner", Consumer.PEFT, {}, one_factor_less),
    ("only LoRA factors", Consumer.VLLM, {"use_dora": True}, None),
    ("no DoRA", Consumer.VLLM, {"use_dora": True}, None),
    ("no bias", Consumer.VLLM, {"lora_bias": True}, None),
    ("no modules_to_save", Consumer.VLLM, {}, a_head),
    ("one rank and alpha for all modules", Consumer.VLLM, {"alpha_pattern": {"layers.0.q_proj": 9}}, None),
    ("all tensors have rank r", Consumer.LORAX, {"rank_pattern": {"layers.0.q_proj": 3}}, None),
    ("the rank can be served", Consumer.VLLM, {}, a_huge_rank),
    ("no rank-stabilised scale", Consumer.SGLANG, {"use_rslora": True}, None),
    ("no convolutions", Consumer.VLLM, {"target_modules": ["conv2"]}, None),
    ("no embeddings", Consumer.LORAX, {"target_modules": ["embed"]}, None),
    ("the base model is named", Consumer.VLLM, {}, lambda d: edit(d, base_model_name_or_path=None)),
    ("every layer of a module type is there", Consumer.LORAX, {}, one_layer_less),
    ("q, k, v and gate, up are together", Consumer.SGLANG, {}, None),
    ("names begin with a pipeline component", Consumer.DIFFUSERS, {}, None),
    ("names are diffusers' or kohya's", Consumer.DIFFUSERS, {}, a_head),
    ("peft loads it", Consumer.PEFT, {}, lambda d: edit(d, rank_pattern={"layers.0.q_proj": 7})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "consumer", "made_with", "damage"), BREAKING, ids=[case[0] for case in BREAKING])
def test_each_rule_is_named_where_it_is_broken(tmp_path, rule, consumer, made_with, damage):
    directory = named_base(made(tmp_path, **made_with))
    if damage is not None:
        damage(directory)
    assert rule in broken(directory, consumer)


def test_every_rule_of_the_table_has_a_source_a_remedy_and_a_case():
    assert {rule.name for rule in RULES} <= {case[0] for case in BREAKING}
    assert all(rule.source and rule.remedy and rule.consumers for rule in RULES)


def test_an_image_models_blend_is_loaded_by_diffusers_itself(tmp_path):
    pytest.importorskip("diffusers", reason="diffusers is needed for its own verdict")
    tensors = {}
    for name, (a, b) in {
        "conv_in": ((2, 4, 3, 3), (8, 2, 1, 1)),
        "mid_block_attentions_0_proj_in": ((3, 8), (8, 3)),
    }.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(a)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(b)
    save_file(tensors, tmp_path / "kohya.safetensors")
    adapter = read_diffusers(tmp_path / "kohya.safetensors", base_modules={})
    write_adapter(blend_exact([adapter], [0.5], base_model_name="sd", revision=None), tmp_path / "blend")
    verdict = doctor(tmp_path / "blend", [Consumer.DIFFUSERS])["verdicts"]["diffusers"]
    assert verdict == {"loads": True, "verified": "loading", "broken": []}


def test_a_missing_directory_is_an_error_of_the_call(tmp_path):
    with pytest.raises(InvalidInput, match="it is no directory"):
        doctor(tmp_path / "nowhere", [])
