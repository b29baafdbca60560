"""`tesserae blend` as its users call it."""

import json
from pathlib import Path

import pytest
from peft import LoraConfig
from safetensors import safe_open

import tasks.blending
from flows.blend import ElementType, ProfileName, blend
from tasks.blending.completion import completed
from tasks.blending.factors import Layout
from tasks.files import InvalidInput, digest_value
from tests.blending.models import peft_deltas, relative_error, save_random_adapter, weighted_sum

DEFAULTS = {
    "rank": None, "energy": None, "profile": ProfileName.PORTABLE, "dtype": ElementType.FLOAT32, "base": None,
    "base_model": None, "revision": None, "dora_energy": 0.999, "spectra": True, "threads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("two")
    configs = [LoraConfig(r=r, lora_alpha=5, target_modules=["q_proj", "gate_proj"]) for r in (2, 3)]
    return [save_random_adapter(root / str(i), config, seed=i) for i, config in enumerate(configs)]


def call(two: list[Path], out: Path, **options):
    return blend([f"{two[0]}=0.7", f"{two[1]}=-0.3"], out, **{**DEFAULTS, **options})


@pytest.mark.parametrize("spectra", [True, False])
def test_two_adapters_become_one_with_the_contracts_answer(two, tmp_path, spectra):
    answer = call(two, tmp_path / "out", spectra=spectra)
    assert set(answer) == {"out", "rank", "modules", "lost_energy", "seconds"}
    assert (answer["rank"], answer["modules"], answer["lost_energy"]) == (5, 6, 0.0)
    assert relative_error(peft_deltas(tmp_path / "out"), weighted_sum(two, [0.7, -0.3])) < 1e-6


def test_the_recipe_beside_the_weights_has_what_rebuilds_them_and_its_digest_is_in_the_file(two, tmp_path):
    call(two, tmp_path / "a", rank=2)
    call(two, tmp_path / "b", rank=2)
    recipe = json.loads((tmp_path / "a/recipe.json").read_text())
    with safe_open(tmp_path / "a/adapter_model.safetensors", "pt") as file:
        assert file.metadata()["tesserae_recipe"] == recipe["digest"]
    inputs = {key: value for key, value in recipe.items() if key not in ("digest", "blend")}
    assert digest_value({**inputs, "blending": tasks.blending.VERSION}) == recipe["digest"]
    module = recipe["blend"]["modules"]["layers.0.q_proj"]
    assert sum(module["shares"].values()) == pytest.approx(1)
    assert 0 < module["lost_energy"] < 1
    assert 1 <= module["effective_rank"] <= 5
    first, second = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "ab")
    assert first == second


def test_every_mistake_of_the_call_is_named_at_once(two, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput) as refused:
        blend([f"{two[0]}", f"{two[0]}=x", f"{two[1]}=1", f"{two[1]}=2"], tmp_path / "out",
              **{**DEFAULTS, "rank": 0, "energy": 2.0})  # fmt: skip
    assert len(refused.value.problems) == 7


def test_adapters_of_two_base_models_need_the_name_to_write(two, tmp_path):
    for i, directory in enumerate(two):
        path = directory / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": f"base-{i}"}))
    with pytest.raises(InvalidInput, match="its base model is 'base-0'"):
        call(two, tmp_path / "out")
    call(two, tmp_path / "out", base_model="the-base")
    config = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "the-base"


def test_portable_blends_are_completed_for_servers_from_other_layers_twins_and_the_base():
    q, kv = Layout((8,), 8, (), embedding=False), Layout((8,), 4, (), embedding=False)
    layouts = {"m.layers.0.q_proj": q, "m.layers.1.v_proj": kv}
    every, unknown = completed(layouts, {})
    assert every == {f"m.layers.{i}.{n}_proj": q if n == "q" else kv for i in (0, 1) for n in "qkv"}
    assert unknown == ()
    alone = {"m.layers.0.q_proj": q}
    assert completed(alone, {}) == (alone, ("m.layers.0.k_proj", "m.layers.0.v_proj"))
    shapes = {"m.layers.0.k_proj": (4, 8), "m.layers.0.v_proj": (4, 8)}
    assert completed(alone, shapes)[0]["m.layers.0.k_proj"] == kv


def test_modules_of_experts_and_unets_are_not_taken_for_layers():
    q = Layout((8,), 8, (), embedding=False)
    layouts = {"layers.0.experts.1.w1": q, "layers.1.experts.0.w1": q}
    assert completed(layouts, {}) == (layouts, ())
