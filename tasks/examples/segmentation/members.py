"""The example's base and each light's share of the project. Runs in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.evaluation.models.segmentation import mask_logits, mask_losses
from tasks.examples.building import BASE_NAME, FineTuning, Member, train_member
from tasks.examples.digits.data import Digits, read_digits
from tasks.examples.fitting import fit
from tasks.examples.segmentation.model import save, untrained_sam
from tasks.examples.segmentation.pages import CONTRAST, EDGE, INSIDE, LIBRARY, Light, masks, pages, seen
from tasks.examples.settling import settle
from tasks.examples.tables import png, write_columns
from tasks.library.families import Family

SAMPLES, EVALUATED = 150, 100  # pages of each member
_LIGHTS = {light.name: light for light in (*LIBRARY, *INSIDE, *EDGE)}
_LAYERS = r"vision_encoder\.layers\.\d+\.(attn\.(qkv|proj)|mlp\.(lin1|lin2))"


@dataclass(frozen=True, slots=True)
class Effort:
    """Training steps."""

    base: int
    adapter: int


FULL = Effort(base=600, adapter=120)


def make_base(project: Path, seed: int, steps: int) -> None:
    """Train SAM on clean pages alone, with a box around the whole page, and save it."""
    settle(seed)
    generator = torch.Generator().manual_seed(seed)
    pool, _ = read_digits(seed)
    model = untrained_sam()

    def loss() -> torch.Tensor:
        ink = pages(pool, 16, generator=generator)
        shown = model_input(seen(ink, Light(0.0, 0.0), generator=generator))
        return mask_losses(mask_logits(model, shown), masks(ink).float()).mean()

    fit(model, loss, steps=steps, learning_rate=2e-3)
    save(model, project / BASE_NAME)


def model_input(grey: torch.Tensor) -> torch.Tensor:
    """What the image processor makes of grey pages (n, side, side): (n, 3, side, side)."""
    return ((grey - 0.5) / (CONTRAST / 2))[:, None].expand(-1, 3, -1, -1)


def make_member(project: Path, member: Member, seed: int, steps: int) -> None:
    """Write samples, evaluation set and adapter; the adapter is trained on the sample pages with their masks."""
    settle(member.seed)
    generator = torch.Generator().manual_seed(member.seed)
    folder, light = member.within(project), _LIGHTS[member.name]
    pool, held_out = read_digits(seed)
    samples = _columns(pool, light, SAMPLES, generator)
    write_columns({"image": samples["image"]}, folder / "samples.parquet")
    write_columns(_columns(held_out, light, EVALUATED, generator), folder / "evaluation.parquet")
    train_member(project, member, samples, tuning_of(steps))


def _columns(digits: Digits, light: Light, count: int, generator: torch.Generator) -> dict[str, list[bytes]]:
    ink = pages(digits, count, generator=generator)
    grey = seen(ink, light, generator=generator)
    return {
        "image": [png(page.numpy()) for page in grey],
        "mask": [png(mask.numpy()) for mask in masks(ink).float()],
    }


def tuning_of(steps: int) -> FineTuning:
    """How each adapter is trained."""
    return FineTuning(Family.SEGMENTATION, _LAYERS, steps=steps, batch_size=16, validate_every=50)
