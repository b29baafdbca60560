"""The segmentation example: strokes on pages under uneven light, found by a small real SAM."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, SamModel

from tasks.blending.peft_files import read_adapter
from tasks.examples.building import Member
from tasks.examples.digits.data import read_digits
from tasks.examples.segmentation import members
from tasks.examples.segmentation.build import plan_of
from tasks.examples.segmentation.pages import EDGE, INSIDE, LIBRARY, SIDE, Light, masks, pages, seen
from tasks.files import digest_tree
from tests.examples.quiet import one_thread

SHORT = members.Effort(base=3, adapter=2)
MADE = Member(LIBRARY[1].name, f"library/{LIBRARY[1].name}", 1001)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and one member: what worker processes make of each is the same."""
    directory = tmp_path_factory.mktemp("segmentation")
    with one_thread():
        members.make_base(directory, 0, SHORT.base)
        members.make_member(directory, MADE, 0, SHORT.adapter)
    return directory


def ink(count: int) -> torch.Tensor:
    return pages(read_digits(0)[0], count, generator=torch.Generator().manual_seed(0))


def test_the_targets_lie_inside_of_the_library_or_beyond_it_and_never_in_it():
    ramps, stripes = [light.ramp for light in LIBRARY], [light.stripe for light in LIBRARY]
    assert not set(LIBRARY) & {*INSIDE, *EDGE}
    for light in INSIDE:
        assert min(ramps) <= light.ramp <= max(ramps)
        assert min(stripes) <= light.stripe <= max(stripes)
    for light in EDGE:
        assert abs(light.ramp) > max(ramps) or light.stripe > max(stripes)


def test_no_light_leaves_the_files_grey_range():
    for light in (*LIBRARY, *INSIDE, *EDGE):
        grey = seen(ink(20), light, generator=torch.Generator().manual_seed(0))
        assert float(((grey == 0) | (grey == 1)).float().mean()) < 0.002


def test_the_mask_is_the_ink_whatever_the_light():
    page = ink(5)
    assert 0.05 < float(masks(page).float().mean()) < 0.4
    dark = seen(page, Light(0.0, 0.0), generator=torch.Generator().manual_seed(0))
    assert float(dark[masks(page)].mean()) > float(dark[~masks(page)].mean()) + 0.1


def test_training_shows_the_model_what_its_processor_makes_of_the_file(project: Path):
    grey = seen(ink(1), LIBRARY[0], generator=torch.Generator().manual_seed(0))
    page = Image.fromarray((grey[0].numpy() * 255).round().astype(np.uint8)).convert("RGB")
    processor = AutoImageProcessor.from_pretrained(project / "base")
    processed = processor(images=[page], return_tensors="pt")["pixel_values"]
    step = 1 / 255 / 0.1  # one grey level of the file, in model input
    torch.testing.assert_close(processed, members.model_input(grey), atol=step, rtol=0)


def test_a_members_files_are_read_by_the_real_classes(project: Path):
    SamModel.from_pretrained(project / "base")
    folder = MADE.within(project)
    assert read_adapter(folder / "adapter").modules
    assert pq.read_schema(folder / "samples.parquet").names == ["image"]
    table = pq.read_table(folder / "evaluation.parquet")
    assert table.column_names == ["image", "mask"]
    assert Image.open(io.BytesIO(table["mask"][0].as_py())).size == (SIDE, SIDE)


def test_a_member_made_again_has_the_same_bytes(project: Path, tmp_path: Path):
    (tmp_path / "base").symlink_to(project / "base")
    with one_thread():
        members.make_member(tmp_path, MADE, 0, SHORT.adapter)
    assert digest_tree(MADE.within(tmp_path)) == digest_tree(MADE.within(project))


def test_the_plan_names_every_light_once():
    plan = plan_of(SHORT)
    assert plan.references == tuple(light.name for light in LIBRARY)
    assert len({*plan.references, *plan.targets}) == len(LIBRARY) + len(INSIDE) + len(EDGE)
    assert plan.settings["family"] == "segmentation"
