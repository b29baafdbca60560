"""The synthesis example: coloured shapes in drawing styles, by a small pipeline of Stable Diffusion's parts."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline

from tasks.blending.peft_files import read_adapter
from tasks.evaluation.models.diffusion import image_side
from tasks.examples.building import Member
from tasks.examples.synthesis import members
from tasks.examples.synthesis.build import plan_of
from tasks.examples.synthesis.pictures import PLAIN, REFERENCES, SIDE, SINGLES, TARGETS, Style, both, draw
from tasks.files import digest_tree
from tests.examples.quiet import one_thread

SHORT = members.Effort(autoencoder=2, base=2, adapter=2)
MADE = Member("outline", "library/outline", 1002)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline and one member: what worker processes make of each is the same."""
    directory = tmp_path_factory.mktemp("synthesis")
    with one_thread():
        members.make_base(directory, 0, SHORT)
        members.make_member(directory, MADE, 0, SHORT)
    return directory


def picture(style: Style, seed: int = 0) -> np.ndarray:
    return draw(style, np.random.default_rng(seed))[0]


def test_a_style_changes_the_picture_and_never_the_caption():
    for style in (*SINGLES, *TARGETS):
        assert np.abs(picture(style) - picture(PLAIN)).mean() > 0.01, style.name
        assert draw(style, np.random.default_rng(0))[1] == draw(PLAIN, np.random.default_rng(0))[1]


def test_styles_do_what_they_are_called():
    dark, outline, grey, small, _ = SINGLES
    assert picture(dark).mean() < 0.5 < picture(PLAIN).mean()
    np.testing.assert_allclose(picture(grey)[..., 0], picture(grey)[..., 1])
    covered = [(picture(style) < 0.99).any(axis=-1).mean() for style in (PLAIN, outline, small)]
    assert covered[0] > covered[1]
    assert covered[0] > covered[2]


def test_two_styles_at_once_have_the_marks_of_both():
    dark_grey = picture(both(SINGLES[0], SINGLES[2]))
    np.testing.assert_allclose(dark_grey[..., 0], dark_grey[..., 1])
    assert dark_grey.mean() < 0.5


def test_the_plan_has_all_pairs_of_styles():
    plan = plan_of(SHORT)
    assert plan.references == tuple(style.name for style in REFERENCES)
    assert len(set(plan.targets)) == 10
    assert plan.settings["family"] == "diffusion"


def test_a_members_files_are_read_by_the_real_classes(project: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(project / "base")
    assert image_side(pipeline) == SIDE
    assert pipeline.image_encoder is not None  # prototypes are made with it
    folder = MADE.within(project)
    assert read_adapter(folder / "adapter").modules
    assert pq.read_schema(folder / "samples.parquet").names == ["image"]
    assert pq.read_table(folder / "evaluation.parquet").column_names == ["image", "text"]


def test_the_tokenizer_has_a_token_for_every_word_of_a_caption(project: Path):
    tokenizer = StableDiffusionPipeline.from_pretrained(project / "base").tokenizer
    ids = tokenizer("a red circle")["input_ids"]
    assert len(ids) == 3 + 2
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_the_autoencoders_latents_have_about_unit_variance(project: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(project / "base")
    pixels = torch.stack(
        [torch.from_numpy(picture(PLAIN, seed) * 2 - 1).float().permute(2, 0, 1) for seed in range(32)]
    )
    with torch.no_grad():
        latents = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
    assert float(latents.std()) == pytest.approx(1.0, abs=0.3)


def test_a_member_made_again_has_the_same_bytes(project: Path, tmp_path: Path):
    (tmp_path / "base").symlink_to(project / "base")
    with one_thread():
        members.make_member(tmp_path, MADE, 0, SHORT)
    assert digest_tree(MADE.within(tmp_path)) == digest_tree(MADE.within(project))
