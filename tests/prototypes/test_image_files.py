"""Encoded images: through the model's own processor, a batch at a time, on all threads."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessorPil

from tasks.prototypes.compute import compute
from tasks.prototypes.encoders import vision
from tasks.prototypes.encoders.encoder import Modality
from tasks.prototypes.encoders.loading import resident_encoder
from tasks.prototypes.extraction import Job
from tasks.prototypes.reading import batches
from tasks.prototypes.settings import ExtractionSettings
from tasks.prototypes.statistics import Prototype
from tests.prototypes.models import random_pixels, save_model, save_pixels
from tests.prototypes.recipes import machine, recipe_for

TOKENS = 4  # of an image of 8 x 8 pixels in patches of 4 x 4


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A model for grey images of 8 x 8 pixels, with a processor that brings others to that size."""
    model = save_model("vit", tmp_path / "vit")
    options = {"size": {"height": 8, "width": 8}, "image_mean": [0.5], "image_std": [0.5]}
    ViTImageProcessorPil(**options).save_pretrained(model)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test puts its images."""
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def save_noise(folder: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(generator.integers(0, 255, (20, 20)).astype(np.uint8)).save(folder / f"{number:02d}.png")


def extract(model: Path, samples: str, **how: int) -> Prototype:
    settings = ExtractionSettings(recipe_for(model), replace(machine(), **how))
    (found,), failures = compute([Job("a", "d", samples)], settings)
    assert failures == ()
    return found


def test_image_files_go_through_the_models_own_processor(vit: Path, folder: Path, tmp_path: Path) -> None:
    """A uniformly grey image stays so under any resizing: 255 and 0 become 1 and -1 with mean .5 and deviation .5."""
    for name, grey in (("a.png", 255), ("b.png", 0)):
        Image.new("L", (20, 20), grey).save(folder / name)
    ready = torch.stack([torch.ones(1, 8, 8), -torch.ones(1, 8, 8)])
    expected = extract(vit, save_pixels(tmp_path / "p.parquet", ready))
    # float32 states of size one, summed in another order
    np.testing.assert_allclose(extract(vit, str(folder)).prototype, expected.prototype, rtol=0, atol=3e-6)


def test_a_file_that_is_no_image_is_named(vit: Path, folder: Path) -> None:
    save_noise(folder, 2)
    (folder / "c.png").write_bytes(b"no image")
    _, (failure,) = compute([Job("a", "d", str(folder))], ExtractionSettings(recipe_for(vit), machine()))
    assert "image 2 of its batch cannot be decoded" in failure.error


def test_images_without_a_processor_say_what_is_missing(folder: Path, tmp_path: Path) -> None:
    save_noise(folder, 2)
    model = save_model("vit", tmp_path / "bare")
    _, (failure,) = compute([Job("a", "d", str(folder))], ExtractionSettings(recipe_for(model), machine()))
    assert "the model has no image processor; give `pixel_values`" in failure.error


def test_images_are_decoded_a_batch_at_a_time(vit: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded, an image for SAM takes 12 MB: a window of a thousand of them would not fit into memory."""
    save_noise(folder, 40)
    decoded: list[int] = []
    decode = vision._decode
    monkeypatch.setattr(vision, "_decode", lambda file, channels: decoded.append(file.row) or decode(file, channels))
    before: list[int] = []  # each batch: images decoded until it was encoded
    encode = vision.VisionEncoder.encode
    monkeypatch.setattr(
        vision.VisionEncoder, "encode", lambda self, inputs: before.append(len(decoded)) or encode(self, inputs)
    )
    extract(vit, str(folder), token_budget=TOKENS, window_rows=1000)
    assert len(before) == 40
    # The first image once more, whose size plans the batches; four batches wait, and one is in the reader's hand.
    assert all(count <= 1 + (position + 1) + 4 + 1 for position, count in enumerate(before))
    assert sorted(decoded) == [0, *range(40)]


def test_samples_of_one_length_do_not_wait_for_a_full_window(vit: Path) -> None:
    read: list[int] = []

    def rows() -> Iterator[pa.RecordBatch]:
        for number in range(10):
            read.append(number)
            pixels = random_pixels("vit", 3, number).flatten(1).numpy()
            yield pa.RecordBatch.from_pydict({"pixel_values": pa.array(list(pixels), pa.list_(pa.float32()))})

    encoder = resident_encoder(recipe_for(vit), Modality.VISION, "cpu")
    how = machine(token_budget=5 * TOKENS, window_rows=1000)
    made = batches(rows(), lambda _: encoder, machine=how, first_position=0)
    next(made)
    assert read == [0, 1]  # six images make the first full batch of five
    positions = torch.cat([torch.tensor([0, 1, 2, 3, 4]), *(batch.positions for batch in made)])
    assert positions.tolist() == list(range(30))


def test_threads_change_nothing(vit: Path, folder: Path) -> None:
    save_noise(folder, 9)
    one, three = (extract(vit, str(folder), token_budget=5 * TOKENS, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.prototype, three.prototype)
    assert one.count == 9
