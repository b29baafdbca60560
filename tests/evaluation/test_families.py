"""Segmentation, language and synthesis through the same evaluation: real classes, tiny configurations."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, SamModel

from tasks.evaluation.evaluate import Bootstrap, EvaluationJob, evaluate_target
from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.families import opener
from tasks.evaluation.limits import Limits
from tasks.evaluation.models import causal_lm, diffusion, segmentation
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tests.evaluation import tiny


def png(pixels: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def adapter(model: torch.nn.Module, targets: list[str] | str, directory: Path) -> Path:
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(directory, save_embedding_layers=False)
    return directory


def setting_of(family: Family, base: Path, table: dict, folder: Path) -> Setting:
    pq.write_table(pa.table(table), folder / "evaluation.parquet")
    return Setting(
        family,
        BaseModel("base", None, base, str(base)),
        str(folder / "evaluation.parquet"),
        device="cpu",
        batch_size=2,
        shown=2,
        limits=Limits(prompt=12, answer=5),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def sam(folder: Path) -> tuple[Setting, Path]:
    base = tiny.save_sam(folder / "sam")
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, size=(12, 20, 3)).astype(np.uint8) for _ in range(3)]
    masks = [image[..., 0] > 128 for image in images]
    table = {"image": [png(image) for image in images], "mask": [png(mask.astype(np.uint8) * 255) for mask in masks]}
    (folder / "s").mkdir()
    setting = setting_of(Family.SEGMENTATION, base, table, folder / "s")
    return setting, adapter(SamModel.from_pretrained(base), segmentation.ATTENTION, folder / "sam-adapter")


@pytest.fixture(scope="module")
def llama(folder: Path) -> tuple[Setting, Path]:
    base = tiny.save_llama(folder / "llama")
    table = {"text": [f"Finding: {text}." for text in tiny.TEXTS], "answer": tiny.TEXTS[::-1]}
    (folder / "l").mkdir()
    setting = setting_of(Family.CAUSAL_LM, base, table, folder / "l")
    return setting, adapter(AutoModelForCausalLM.from_pretrained(base), ["q_proj", "down_proj"], folder / "lm-adapter")


@pytest.fixture(scope="module")
def painter(folder: Path) -> tuple[Setting, Path]:
    base = tiny.save_diffusion(folder / "painter")
    generator = np.random.default_rng(0)
    images = [png(generator.integers(0, 255, size=(16, 16, 3)).astype(np.uint8)) for _ in range(3)]
    (folder / "d").mkdir()
    setting = setting_of(Family.DIFFUSION, base, {"image": images, "text": ["a cat", "a dog", "a bee"]}, folder / "d")
    unet = StableDiffusionPipeline.from_pretrained(base).unet
    return setting, adapter(unet, diffusion.ATTENTION, folder / "painter-adapter")


@pytest.fixture(params=["sam", "llama", "painter"])
def domain(request: pytest.FixtureRequest) -> tuple[Setting, Path]:
    return request.getfixturevalue(request.param)


def scores(setting: Setting, adapter_path: Path):
    return evaluate_target(
        EvaluationJob(
            target="target",
            setting=setting,
            adapters=(adapter_path,),
            weights={"base": (0.0,), "l1": (1.0,)},
            whole={"ceiling": adapter_path},
            controlled="l1",
            draws=1,
            bootstrap=Bootstrap(resamples=50, level=0.95, seed=0),
        )
    )


def test_every_method_is_scored_and_the_adapter_makes_a_difference(domain):
    found = scores(*domain)
    assert set(found.scores) == {"base", "l1", "random", "permuted", "ceiling"}
    assert found.scores["l1"] == found.scores["ceiling"]
    assert found.values["base"][found.primary].tolist() != found.values["l1"][found.primary].tolist()
    assert len(found.shown) == 2
    assert set(found.shown[0].answers) == set(found.scores)


def test_measuring_twice_gives_the_same_values(domain):
    setting, _ = domain
    examiner = open_examiner(setting)
    first, second = examiner.examine(examiner.base), examiner.examine(examiner.base)
    for metric in examiner.metrics:
        np.testing.assert_array_equal(first.values[metric.name], second.values[metric.name])


def test_the_batch_size_does_not_change_a_value(domain):
    setting, _ = domain
    import dataclasses

    first = open_examiner(setting)
    second = open_examiner(dataclasses.replace(setting, batch_size=1))
    for metric in first.metrics:
        expected = first.examine(first.base).values[metric.name]
        np.testing.assert_allclose(second.examine(second.base).values[metric.name], expected, rtol=1e-4)


def test_an_answers_loss_is_the_models_own_mean_over_the_answer(llama):
    setting, _ = llama
    model, tokenizer = causal_lm.load_language_model(setting.base.path, "cpu")
    pairs = causal_lm.tokenise_pairs(tokenizer, ["Finding"], ["heart is large"], limits=setting.limits)
    with torch.no_grad():
        ours = causal_lm.answer_losses(model, pairs)
        theirs = model(input_ids=pairs.ids, attention_mask=pairs.mask, labels=pairs.labels).loss
    assert float(ours[0]) == pytest.approx(float(theirs), rel=1e-5)


def test_a_long_prompt_keeps_its_end_and_a_long_answer_its_beginning(llama):
    tokenizer = AutoTokenizer.from_pretrained(llama[0].base.path)
    limits = Limits(prompt=2, answer=3)
    pairs = causal_lm.tokenise_pairs(tokenizer, ["zqxjkb"], ["qzxjkv"], limits=limits)
    assert tokenizer.decode(pairs.ids[0]) == "<s>kbqzx</s>"
    assert pairs.labels[0].tolist()[:3] == [-100] * 3
    with pytest.raises(ValueError, match="answer 0 has no token"):
        causal_lm.tokenise_pairs(tokenizer, ["a"], [""], limits=limits)


def test_padding_of_other_rows_changes_no_answer(llama):
    setting, _ = llama
    model, tokenizer = causal_lm.load_language_model(setting.base.path, "cpu")
    how = {"limits": setting.limits, "device": torch.device("cpu")}
    alone = [causal_lm.greedy_answers(model, tokenizer, [text], **how)[0] for text in ("x", tiny.TEXTS[1])]
    assert causal_lm.greedy_answers(model, tokenizer, ["x", tiny.TEXTS[1]], **how) == alone


def test_a_mask_goes_into_sams_frame_and_back_to_its_own_size():
    mask = torch.zeros(12, 20)
    mask[:, :10] = 1
    framed = segmentation.into_frame(mask, 40)
    assert framed.shape == (40, 40)
    assert (framed[24:] == -1).all()
    assert (framed[:24, :20] == 1).all()
    back = segmentation.out_of_frame(framed * 2 - 1, (12, 20)) > 0
    assert torch.equal(back, mask.bool())


def test_a_framed_image_has_the_size_that_sams_processor_gives_it():
    from transformers import SamImageProcessor

    processor = SamImageProcessor(size={"longest_edge": 32}, pad_size={"height": 32, "width": 32})
    for height, width in ((12, 20), (20, 12), (31, 17), (64, 50)):
        image = Image.fromarray(np.full((height, width, 3), 200, np.uint8))
        sizes = processor(images=[image], return_tensors="pt")["reshaped_input_sizes"][0].tolist()
        assert tuple(sizes) == segmentation.framed_size(height, width, 32)


def test_the_mask_loss_ignores_padding_and_falls_with_a_better_mask():
    truth = segmentation.into_frame(torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2), 4)[None]
    good = torch.where(truth == 1, 4.0, -4.0)
    wild = torch.where(truth == -1, 9.0, good)
    assert torch.equal(segmentation.mask_losses(good, truth), segmentation.mask_losses(wild, truth))
    assert segmentation.mask_losses(good, truth) < segmentation.mask_losses(-good, truth)


def test_noise_loss_is_zero_for_a_model_that_knows_the_noise(painter):
    setting, _ = painter
    pipeline = diffusion.load_pipeline(setting.base.path, "cpu")
    noise = torch.randn(2, 4, 8, 8)
    latents = diffusion.Latents(torch.randn(2, 4, 8, 8), torch.zeros(2, 8, 16))

    class Knows(torch.nn.Module):
        def forward(self, noisy, steps, encoder_hidden_states):
            from types import SimpleNamespace

            return SimpleNamespace(sample=noise)

    steps = torch.tensor([3, 70])
    losses = diffusion.noise_losses(Knows(), pipeline.scheduler, latents, noise=noise, steps=steps)
    assert losses.tolist() == [0.0, 0.0]
    with torch.no_grad():
        real = diffusion.noise_losses(pipeline.unet, pipeline.scheduler, latents, noise=noise, steps=steps)
        noisy = pipeline.scheduler.add_noise(latents.values, noise, steps)
        predicted = pipeline.unet(noisy, steps, encoder_hidden_states=latents.condition).sample
    expected = [float(functional.mse_loss(predicted[row], noise[row])) for row in range(2)]
    assert real.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", Family)
def test_every_family_has_an_examiner_and_a_learner(family: Family):
    assert callable(opener("tasks.evaluation.examiners", family))
    assert callable(opener("tasks.training.learners", family))
