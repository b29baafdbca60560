"""Every known defect of PEFT's own combination, ours being right there; and where PEFT is right, equality."""

import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel

from tasks.blending.exact import blend_exact
from tasks.blending.memory import blend_adapters
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.blending.profiles import Compact
from tasks.blending.recompression import Exact, ToRank
from tasks.files import InvalidInput
from tests.blending.models import fresh_model, peft_deltas, relative_error, save_random_adapter, weighted_sum

WEIGHTS = [0.7, -0.3]


def saved(root: Path, *configs: LoraConfig) -> list[Path]:
    return [save_random_adapter(root / str(i), config, seed=i) for i, config in enumerate(configs)]


def peft_combined(directories: list[Path], weights: list[float], how: str, **options) -> dict[str, torch.Tensor]:
    """Deltas of PEFT's own add_weighted_adapter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(fresh_model(), str(directories[0]), adapter_name="0")
        for i, directory in enumerate(directories[1:], start=1):
            model.load_adapter(str(directory), adapter_name=str(i))
        names = [str(i) for i in range(len(directories))]
        model.add_weighted_adapter(names, weights, "blend", combination_type=how, **options)
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight("blend").detach().double()
        for name, layer in model.named_modules()
        if hasattr(layer, "get_delta_weight") and "blend" in (*layer.lora_A, *layer.lora_embedding_A)
    }


def ours(directories: list[Path], out: Path, weights: list[float]) -> dict[str, torch.Tensor]:
    blend = blend_exact([read_adapter(path) for path in directories], weights, base_model_name="b", revision=None)
    write_adapter(blend, out)
    return peft_deltas(out)


def lora(**options) -> LoraConfig:
    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **options})


def test_where_peft_is_right_the_two_agree(tmp_path):
    directories = saved(tmp_path, lora(), lora(r=3, lora_alpha=5))
    assert relative_error(ours(directories, tmp_path / "o", WEIGHTS), peft_combined(directories, WEIGHTS, "cat")) < 1e-6
    truncated = blend_adapters([read_adapter(path) for path in directories], WEIGHTS, ToRank(2), Compact(),
                               base_model_name="b", revision=None, device=torch.device("cpu"))  # fmt: skip
    write_adapter(truncated, tmp_path / "t")
    theirs = peft_combined(directories, WEIGHTS, "svd", svd_rank=2)
    assert relative_error(peft_deltas(tmp_path / "t"), theirs) < 1e-5


def test_linear_adds_cross_terms_in_peft_and_ours_has_none(tmp_path):  # peft#3004
    directories = saved(tmp_path, lora(), lora())
    wanted = weighted_sum(directories, [0.7, 0.3])
    assert relative_error(peft_combined(directories, [0.7, 0.3], "linear"), wanted) > 0.3
    assert relative_error(ours(directories, tmp_path / "o", [0.7, 0.3]), wanted) < 1e-6


def test_rank_stabilised_adapters_are_overscaled_in_peft_and_right_in_ours(tmp_path):  # peft#3449
    directories = saved(tmp_path, lora(use_rslora=True), lora(use_rslora=True))
    wanted = weighted_sum(directories, WEIGHTS)
    assert relative_error(peft_combined(directories, WEIGHTS, "cat"), wanted) > 0.5
    assert relative_error(ours(directories, tmp_path / "o", WEIGHTS), wanted) < 1e-6


def test_different_ranks_stop_pefts_linear_and_not_ours(tmp_path):  # peft#3737
    directories = saved(tmp_path, lora(r=2), lora(r=4))
    with pytest.raises(ValueError, match="must have the same r"):
        peft_combined(directories, WEIGHTS, "linear")
    wanted = weighted_sum(directories, WEIGHTS)
    assert relative_error(ours(directories, tmp_path / "o", WEIGHTS), wanted) < 1e-6


@pytest.mark.parametrize("compact", [False, True])
def test_rank_patterns_survive_saving_in_ours(tmp_path, compact):  # peft#3737: PEFT's result fails to load
    pattern = {"layers.0.q_proj": 2, "layers.1.down_proj": 3}
    directories = saved(tmp_path, lora(rank_pattern=pattern), lora(rank_pattern=pattern))
    adapters = [read_adapter(path) for path in directories]
    found = ours(directories, tmp_path / "o", WEIGHTS)
    if compact:
        blend = blend_adapters(adapters, WEIGHTS, Exact(), Compact(), base_model_name="b", revision=None,
                               device=torch.device("cpu"))  # fmt: skip
        assert len(blend.config["rank_pattern"]) == 2
        write_adapter(blend, tmp_path / "c")
        found = peft_deltas(tmp_path / "c")
    assert relative_error(found, weighted_sum(directories, WEIGHTS)) < 1e-6


@pytest.mark.parametrize("module", ["conv1", "conv3"])
def test_convolutions_of_one_and_three_dimensions_are_truncated(tmp_path, module):  # peft#3769
    directories = saved(tmp_path, lora(target_modules=[module]), lora(target_modules=[module]))
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        peft_combined(directories, WEIGHTS, "svd", svd_rank=2)
    blend = blend_adapters([read_adapter(path) for path in directories], WEIGHTS, ToRank(2), Compact(),
                           base_model_name="b", revision=None, device=torch.device("cpu"))  # fmt: skip
    write_adapter(blend, tmp_path / "o")
    wanted = weighted_sum(directories, WEIGHTS)[module].flatten(1)
    best = torch.linalg.svdvals(wanted)[2:].norm()
    assert float((peft_deltas(tmp_path / "o")[module].flatten(1) - wanted).norm()) == pytest.approx(
        float(best), rel=1e-4
    )


def test_lists_and_regular_expressions_of_targets_can_be_mixed(tmp_path):  # peft#1045
    directories = saved(tmp_path, lora(), lora(target_modules=r".*\.q_proj"))
    with pytest.raises(ValueError, match="target_modules"):
        peft_combined(directories, WEIGHTS, "cat")
    wanted = weighted_sum(directories, WEIGHTS)
    assert relative_error(ours(directories, tmp_path / "o", WEIGHTS), wanted) < 1e-6


def test_dora_and_biased_factors_are_silently_wrong_in_peft_and_refused_by_ours(tmp_path):  # peft#3761
    for options, words in (({"use_dora": True}, "DoRA"), ({"lora_bias": True}, "lora_bias")):
        directory = save_random_adapter(tmp_path / words, lora(**options), seed=0)
        with pytest.raises(InvalidInput, match=words):
            read_adapter(directory)


def test_an_existing_name_is_no_reason_to_do_nothing(tmp_path):
    directories = saved(tmp_path, lora(), lora())
    first = ours(directories, tmp_path / "o1", [1.0, 0.0])
    second = ours(directories, tmp_path / "o2", [0.0, 1.0])
    assert relative_error(first, second) > 0.5


def test_an_adapter_of_weight_zero_adds_no_rank_as_it_does_in_peft(tmp_path):
    directories = saved(tmp_path, lora(), lora())
    adapters = [read_adapter(path) for path in directories]
    assert blend_exact(adapters, [1.0, 0.0], base_model_name="b", revision=None).rank == 4


def test_bfloat16_sources_are_summed_in_float32_and_rounded_once(tmp_path):
    config = lora(lora_alpha=7)
    directories = [save_random_adapter(tmp_path / str(i), config, seed=i, dtype=torch.bfloat16) for i in range(2)]
    blend = blend_exact([read_adapter(path) for path in directories], WEIGHTS, base_model_name="b", revision=None)
    write_adapter(blend, tmp_path / "o")
    # PEFT widens bfloat16 factors to float32 when it loads them: both sides start from the same numbers, and a scale of
    # 7 / 4 or a weight of 0.7 applied in bfloat16 would show as 1e-3.
    assert relative_error(peft_deltas(tmp_path / "o"), weighted_sum(directories, WEIGHTS)) < 1e-6
    assert all(tensor.dtype == torch.float32 for tensor in blend.tensors.values())


def test_a_blend_can_be_hot_swapped(tmp_path):
    from peft.utils.hotswap import check_hotswap_configs_compatible

    directories = saved(tmp_path, lora(lora_dropout=0.1, use_rslora=True), lora())
    configs = []
    for i, weights in enumerate(([1.0, 0.0], [0.4, 0.6])):
        ours(directories, tmp_path / f"o{i}", weights)
        configs.append(LoraConfig.from_pretrained(str(tmp_path / f"o{i}")))
    check_hotswap_configs_compatible(*configs)
