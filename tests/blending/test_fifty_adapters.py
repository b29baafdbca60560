"""Fifty adapters as people have them: each blends to its true delta, or is refused with the documented message.

The truth is what PEFT computes from the same directory after loading it (for image models, up down alpha / r); every
adapter is blended with weight 0.7 together with a plain one of weight -0.4 and reloaded by PEFT.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.conversion import save_as_lora
from safetensors.torch import load_file, save_file

from tasks.blending.diffusers_files import component, read_diffusers
from tasks.blending.exact import blend_exact
from tasks.blending.factors import dense
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.files import InvalidInput
from tests.blending.models import fresh_model, peft_deltas, randomise, relative_error, save_random_adapter

QV = ["q_proj", "v_proj"]
Maker = Callable[[Path], Path]


@dataclass(frozen=True)
class Case:
    """An adapter, and either nothing (it blends) or the words of its refusal."""

    name: str
    make: Maker
    refused: str | None = None
    tolerance: float = 1e-6


def lora(dtype: torch.dtype = torch.float32, **options) -> Maker:
    arguments = {"r": 3, "lora_alpha": 5, "target_modules": QV, **options}
    return lambda root: save_random_adapter(root / "a", LoraConfig(**arguments), seed=5, dtype=dtype)


def edited(make: Maker, **changes) -> Maker:
    def build(root: Path) -> Path:
        path = make(root) / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return path.parent

    return build


def retensored(make: Maker, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Maker:
    def build(root: Path) -> Path:
        path = make(root) / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)
        return path.parent

    return build


def pickled(make: Maker) -> Maker:
    def build(root: Path) -> Path:
        path = make(root) / "adapter_model.safetensors"
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()
        return path.parent

    return build


def sharded(make: Maker) -> Maker:
    def build(root: Path) -> Path:
        path = make(root) / "adapter_model.safetensors"
        tensors = load_file(path)
        places = {key: f"adapter_model-{i % 2 + 1}-of-2.safetensors" for i, key in enumerate(tensors)}
        for name in set(places.values()):
            save_file({key: tensors[key] for key in tensors if places[key] == name}, path.parent / name)
        index = path.parent / "adapter_model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": places}))
        return path.parent

    return build


def converted(init: str) -> Maker:
    """A base-changing initialisation, saved relative to the original base as PEFT documents it."""

    def build(root: Path) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = LoraConfig(r=3, lora_alpha=3, target_modules=QV, init_lora_weights=init)
            model = get_peft_model(fresh_model(), config)
            model.peft_config["default"].init_lora_weights = True
            model.save_pretrained(str(root / "initial"), save_embedding_layers=False)
            model.peft_config["default"].init_lora_weights = init
            randomise(model, 6)
            initial = str(root / "initial")
            model.save_pretrained(
                str(root / "a"), save_embedding_layers=False, path_initial_model_for_weight_conversion=initial
            )
        return root / "a"

    return build


def from_loha(root: Path) -> Path:
    model = get_peft_model(fresh_model(), LoHaConfig(r=2, alpha=3, target_modules=QV))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "hada" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    save_as_lora(str(root / "a"), model, rank=4)
    return root / "a"


def second_adapter(root: Path) -> Path:
    """Saved under a name of its own: PEFT puts it into a subdirectory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(fresh_model(), LoraConfig(r=2, target_modules=QV), adapter_name="mine")
        randomise(model, 7)
        model.save_pretrained(str(root / "a"), save_embedding_layers=False)
    return root / "a" / "mine"


def kohya(root: Path, *, alpha: float | None = 2.0, extra: dict[str, torch.Tensor] | None = None) -> Path:
    tensors = dict(extra or {})
    generator = torch.Generator().manual_seed(8)
    for i in range(3):
        for name, (out, columns) in {"q_proj": (8, 8), "v_proj": (4, 8)}.items():
            flat = f"lora_te_layers_{i}_{name}"
            tensors[f"{flat}.lora_down.weight"] = torch.randn(3, columns, generator=generator)
            tensors[f"{flat}.lora_up.weight"] = torch.randn(out, 3, generator=generator)
            if alpha is not None:
                tensors[f"{flat}.alpha"] = torch.tensor(alpha)
    save_file(tensors, root / "a.safetensors")
    return root / "a.safetensors"


def old_diffusers(root: Path) -> Path:
    tensors = {}
    for key, value in load_file(kohya(root, alpha=None)).items():
        dotted = key.replace("lora_te_layers_", "text_encoder.layers.")
        for flat, new in (("_q_proj", ".q_proj"), ("_v_proj", ".v_proj"), ("lora_down", "lora_linear_layer.down"),
                          ("lora_up", "lora_linear_layer.up")):  # fmt: skip
            dotted = dotted.replace(flat, new)
        tensors[dotted] = value
    save_file(tensors, root / "b.safetensors")
    return root / "b.safetensors"


def head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "base_model.model.head.weight": torch.ones(3, 6)}


CASES = [
    Case("plain", lora()),
    Case("gaussian", lora(init_lora_weights="gaussian")),
    Case("orthogonal", lora(init_lora_weights="orthogonal", r=2)),
    Case("initialised at random", lora(init_lora_weights=False)),
    Case("eva", edited(lora(), init_lora_weights="eva")),
    Case("pissa", lora(init_lora_weights="pissa"), "initialised with 'pissa'"),
    Case("pissa by fast svd", lora(init_lora_weights="pissa_niter_4"), "initialised with 'pissa_niter_4'"),
    Case("olora", lora(init_lora_weights="olora"), "initialised with 'olora'"),
    Case("corda", edited(lora(), init_lora_weights="corda"), "initialised with 'corda'"),
    Case("loftq", edited(lora(), init_lora_weights="loftq"), "initialised with 'loftq'"),
    Case("lora-ga", edited(lora(), init_lora_weights="lora_ga"), "initialised with 'lora_ga'"),
    Case("pissa converted", converted("pissa")),
    Case("olora converted", converted("olora")),
    Case("rank-stabilised", lora(use_rslora=True)),
    Case("rank pattern", lora(rank_pattern={"layers.0.q_proj": 1})),
    Case("alpha pattern", lora(alpha_pattern={r"layers\.[01]\.q_proj": 9})),
    Case("both patterns, rank-stabilised",
         lora(rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 1}, use_rslora=True)),
    Case("anchored pattern", lora(rank_pattern={r"^layers\.2\.v_proj": 4})),
    Case("nested repeats in a pattern", edited(lora(), alpha_pattern={"(q+)+_proj": 3}), "no regular expression"),
    Case("target regular expression", lora(target_modules=r"layers\.\d\.(q|v)_proj")),
    Case("all linear layers", lora(target_modules="all-linear")),
    Case("some layers", lora(layers_to_transform=[1], layers_pattern="layers")),
    Case("embedding", lora(target_modules=["embed"])),
    Case("conv1d", lora(target_modules=["conv1"])),
    Case("conv2d", lora(target_modules=["conv2", "conv2_unit"])),
    Case("conv3d", lora(target_modules=["conv3"])),
    Case("everything at once", lora(target_modules=[*QV, "embed", "conv1", "conv2", "conv3"])),
    Case("bfloat16", lora(dtype=torch.bfloat16), tolerance=1e-2),
    Case("float16", lora(dtype=torch.float16), tolerance=1e-2),
    Case("float64", retensored(lora(), lambda t: {k: v.double() for k, v in t.items()})),
    Case("dropout kept from training", lora(lora_dropout=0.3)),
    Case("a pickled file", pickled(lora())),
    Case("sharded", sharded(lora())),
    Case("adapter name in the keys", retensored(
        lora(), lambda t: {k.replace(".weight", ".default.weight"): v for k, v in t.items()})),
    Case("named adapter in a subdirectory", second_adapter),
    Case("converted from LoHa", from_loha, tolerance=1e-5),
    Case("dora", lora(use_dora=True), "DoRA"),
    Case("lora_bias", lora(lora_bias=True), "lora_bias"),
    Case("bias on all layers", lora(bias="all"), "bias='all'"),
    Case("bias of adapted layers", lora(bias="lora_only"), "bias='lora_only'"),
    Case("a trained head", lora(modules_to_save=["head"]), "head.(weight|bias)"),
    Case("expert parameters", edited(lora(), target_parameters=["experts.w1"]), "target_parameters"),
    Case("trained tokens", edited(lora(), trainable_token_indices=[1, 2]), "trainable_token_indices"),
    Case("another method", edited(lora(), peft_type="IA3"), "peft_type is 'IA3'"),
    Case("a rank that the tensors do not have", edited(lora(), r=7), "its tensors have rank 3"),
    Case("one factor missing", retensored(lora(), lambda t: dict(list(t.items())[1:])), "is missing"),
    Case("kohya", kohya),
    Case("kohya without alpha", lambda root: kohya(root, alpha=None)),
    Case("old diffusers names", old_diffusers),
    Case("kohya with LoHa layers",
         lambda root: kohya(root, extra={"lora_te_x.hada_w1_a": torch.ones(1)}), "is not plain LoRA"),
]  # fmt: skip


def test_there_are_fifty():
    assert len({case.name for case in CASES}) == len(CASES) == 50


def truth(source: Path) -> dict[str, torch.Tensor]:
    if source.is_dir():
        return peft_deltas(source)
    adapter = component(read_diffusers(source, base_modules={}), "text_encoder")
    tensors, deltas = load_file(source), {}
    for module in adapter.modules:
        flat = f"lora_te_{module.replace('.', '_')}"
        if f"{flat}.lora_up.weight" not in tensors:  # old diffusers names: the reader is compared with kohya's test
            deltas[module] = dense(adapter.modules[module].factors(torch.float64))
            continue
        up, down = tensors[f"{flat}.lora_up.weight"].double(), tensors[f"{flat}.lora_down.weight"].double()
        deltas[module] = float(tensors.get(f"{flat}.alpha", torch.tensor(3.0))) / 3 * (up @ down)
    return deltas


def opened(source: Path):
    if source.is_dir():
        return read_adapter(source)
    return component(read_diffusers(source, base_modules={}), "text_encoder")


def blend(source: Path, root: Path) -> Path:
    plain = lora()(root / "plain")
    adapters = [opened(source), read_adapter(plain)]
    write_adapter(blend_exact(adapters, [0.7, -0.4], base_model_name="base", revision=None), root / "out")
    return plain


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_adapter_blends_to_its_true_delta_or_is_refused_by_name(tmp_path, case):
    source = case.make(tmp_path)
    if case.refused is not None:
        with pytest.raises(InvalidInput, match=case.refused) as refused:
            blend(source, tmp_path)
        assert all(problem.remedy for problem in refused.value.problems)
        assert not (tmp_path / "out").exists()
        return
    plain = blend(source, tmp_path)
    wanted = {module: 0.7 * delta for module, delta in truth(source).items()}
    for module, delta in truth(plain).items():
        wanted[module] = wanted.get(module, torch.zeros_like(delta)) - 0.4 * delta
    assert relative_error(peft_deltas(tmp_path / "out"), wanted) < case.tolerance


def test_heads_are_combined_where_the_weights_sum_to_one(tmp_path):
    sources = [lora(modules_to_save=["head"])(tmp_path / str(i)) for i in range(2)]
    path = sources[1] / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({key: value + 1 if "head" in key else value for key, value in tensors.items()}, path)
    adapters = [read_adapter(source) for source in sources]
    write_adapter(blend_exact(adapters, [1.5, -0.5], base_model_name="b", revision=None), tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(fresh_model(), str(tmp_path / "out"))
    wanted = 1.5 * load_file(sources[0] / "adapter_model.safetensors")["base_model.model.head.weight"]
    wanted = wanted - 0.5 * load_file(path)["base_model.model.head.weight"]
    assert torch.allclose(model.base_model.model.head.modules_to_save["default"].weight, wanted, atol=1e-6)


def test_a_head_that_only_one_adapter_has_is_refused(tmp_path):
    adapters = [read_adapter(retensored(lora(), head)(tmp_path / "1")), read_adapter(lora()(tmp_path / "2"))]
    with pytest.raises(InvalidInput, match=r"it lacks the whole parameter head\.weight"):
        blend_exact(adapters, [0.5, 0.5], base_model_name="b", revision=None)
