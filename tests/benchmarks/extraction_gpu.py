"""Prototype extraction on a GPU against that card's own matrix-product rate, on models of the sizes that people use.

`python -m tests.benchmarks.extraction_gpu --json` makes two encoders with random weights in bfloat16, one in the shape
of Llama-3.1-8B and one in that of SAM's ViT-H, saves them as a user's would be, and times extraction as a worker does
it: from the samples' file to the prototype. Texts have the lengths of the report domain's inputs, or all the longest
length; images are PNG files of 1024 x 768 pixels. One JSON object a line: `share` is useful operations a second over
the rate of an 8192 x 8192 x 8192 bfloat16 product measured in the same process. Useful are those of the samples alone:
padding is not counted, nor is what a causal mask hides. `floor_s` is the forward passes alone over ready batches.
"""

import argparse
import io
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast, SamConfig, SamImageProcessor, SamModel

from flows.settings import PrototypeSettings
from flows.work import TOKENS_AT_ONCE
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tasks.prototypes.batching import plan_batches
from tasks.prototypes.compute import compute
from tasks.prototypes.encoders.encoder import Encoder, Item, Modality
from tasks.prototypes.encoders.loading import resident_encoder
from tasks.prototypes.extraction import Job
from tasks.prototypes.settings import ExtractionSettings, Machine, Pooling, Recipe
from tests.benchmarks.prototypes import texts
from tests.benchmarks.timing import alternate, seconds, until_done

MAX_TOKENS = 512
SIDES = (1024, 768)  # of the images, in pixels
PRODUCT = 8192  # rows and columns of the matrices whose product is the measure


@dataclass(frozen=True, slots=True)
class Case:
    """An encoder with samples for it, how many tokens go through it at once, and the operations they take."""

    name: str
    recipe: Recipe
    samples: str
    count: int
    token_budget: int
    operations: float


def product_rate(device: str, size: int) -> float:
    """Operations a second of a square bfloat16 matrix product on random numbers, the median of twenty."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = until_done(lambda: left @ right, device)
    product()
    return 2.0 * size**3 / median(seconds(product, clock=time.perf_counter) for _ in range(20))


def recipe_of(path: Path, family: Family, max_tokens: int) -> Recipe:
    base = BaseModel(path.name, None, path, str(path))
    return Recipe(base, base, family, Pooling.MEAN, (-1,), max_tokens, "bfloat16", False)


def randomise(model: torch.nn.Module) -> None:
    """Weights that keep the states' size: what overflows is refused."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            torch.nn.init.constant_(parameter, float("norm" in name and "bias" not in name))
        else:
            torch.nn.init.normal_(parameter, std=1.0 / math.sqrt(parameter[0].numel()))


def save_llama(path: Path, layers: int, sample: Sequence[str], device: str) -> LlamaConfig:
    """The shape of Llama-3.1-8B without its head; a byte-level BPE of the texts themselves."""
    words = ByteLevelBPETokenizer()
    words.train_from_iterator(sample, vocab_size=4096, special_tokens=["<pad>"], show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, pad_token="<pad>").save_pretrained(path)
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131_072,
        dtype="bfloat16",
    )
    with torch.device(device):
        model = LlamaModel(config).bfloat16()
    randomise(model)
    model.save_pretrained(path)
    return config


def llama_operations(config: LlamaConfig, lengths: Sequence[int]) -> float:
    """Two for each weight and token, and for attention four for each pair of a token with one before it and channel."""
    width = config.hidden_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    weights = config.num_hidden_layers * (2 * width**2 + 2 * width * keys + 3 * width * config.intermediate_size)
    pairs = sum(length * (length + 1) / 2 for length in lengths)
    return 2.0 * weights * sum(lengths) + 4.0 * config.num_hidden_layers * width * pairs


def text_cases(folder: Path, layers: int, repeat: int, budget: int, device: str) -> Iterator[Case]:
    """Short texts of the report domain's lengths, and texts of the greatest length alone."""
    sample = texts()
    config = save_llama(folder / "llama", layers, sample, device)
    recipe = recipe_of(folder / "llama", Family.CAUSAL_LM, MAX_TOKENS)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "llama")
    long = " ".join(sample)[: 8 * MAX_TOKENS]
    for name, chosen in (
        ("the report domain's lengths", sample * repeat),
        (f"{MAX_TOKENS} tokens", [long] * repeat * 10),
    ):
        path = folder / f"{len(chosen)}.parquet"
        pq.write_table(pa.table({"text": chosen}), path)
        ids = tokenizer(chosen, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        lengths = [len(row) for row in ids]
        yield Case(f"Llama-3.1-8B, {name}", recipe, str(path), len(chosen), budget, llama_operations(config, lengths))


def save_sam(path: Path, layers: int, device: str) -> SamModel:
    """The shape of SAM's ViT-H."""
    vision = {"hidden_size": 1280, "num_hidden_layers": layers, "num_attention_heads": 16, "mlp_dim": 5120}
    vision |= {"global_attn_indexes": [7, 15, 23, 31]}
    with torch.device(device):
        model = SamModel(SamConfig(vision_config=vision)).bfloat16()
    randomise(model)
    model.save_pretrained(path)
    SamImageProcessor().save_pretrained(path)
    return model


def image_case(folder: Path, layers: int, count: int, budget: int, device: str) -> Case:
    """Smooth images with some noise, as PNG files are of photographs."""
    encoder = save_sam(folder / "sam", layers, device).vision_encoder
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        encoder(torch.zeros(1, 3, 1024, 1024, dtype=torch.bfloat16, device=device))
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 255, size=(24, 32, 3)).astype(np.uint8)).resize(SIDES)
        noisy = np.asarray(coarse) + generator.integers(0, 8, size=(*SIDES[::-1], 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    path = folder / "images.parquet"
    pq.write_table(pa.table({"image": files}), path)
    recipe = recipe_of(folder / "sam", Family.SEGMENTATION, MAX_TOKENS)
    operations = float(count * counted.get_total_flops())
    return Case("SAM ViT-H, PNG files of 1024 x 768", recipe, str(path), count, budget, operations)


def batches_of(case: Case, encoder: Encoder) -> list[list[Item]]:
    """The samples as extraction puts them together."""
    items = [item for part in pq.read_table(case.samples).to_batches() for item in encoder.read(part)]
    plans = plan_batches([item.length for item in items], token_budget=case.token_budget)
    return [[items[row] for row in plan] for plan in plans]


def measured(case: Case, rate: float, device: str, threads: int, repeats: int) -> dict[str, Any]:
    """One output line."""
    machine = Machine(device, threads, case.token_budget, PrototypeSettings().window_rows)
    modality = Modality.TEXT if case.recipe.family is Family.CAUSAL_LM else Modality.VISION
    encoder = resident_encoder(replace(case.recipe, sampling=None, description=None), modality, device)
    batches = batches_of(case, encoder)
    ready = [{name: value.to(device) for name, value in encoder.collate(part).items()} for part in batches]

    def floor() -> None:
        with torch.inference_mode():
            for inputs in ready:
                encoder.encode(inputs)

    def ours() -> None:
        _, failures = compute([Job("a", "d", case.samples)], ExtractionSettings(case.recipe, machine))
        assert not failures, failures

    both = (until_done(work, device) for work in (ours, floor))
    ours_s, floor_s = alternate(*both, runs=repeats, ours_items=1, peer_items=1, clock=time.perf_counter)
    return {
        "case": case.name,
        "ours_s": round(ours_s, 3),
        "floor_s": round(floor_s, 3),
        "samples_a_second": round(case.count / ours_s, 1),
        "token_budget": case.token_budget,
        "tflops": round(case.operations / ours_s / 1e12, 1),
        "product_tflops": round(rate / 1e12, 1),
        "share": round(case.operations / ours_s / rate, 3),
        "floor_share": round(case.operations / floor_s / rate, 3),
    }


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=32, help="of both models; less to try it elsewhere")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--texts", type=int, default=20, help="hundreds of texts, roughly")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--text-tokens", type=int, nargs="+", default=[TOKENS_AT_ONCE["cuda"]])
    parser.add_argument("--image-tokens", type=int, nargs="+", default=[TOKENS_AT_ONCE["cuda"]])
    parser.add_argument("--folder", type=Path, help="where 18 GB of models are written and removed again")
    parser.add_argument("--product", type=int, default=PRODUCT)
    asked = parser.parse_args()
    rate = product_rate(asked.device, asked.product)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        cases = [*text_cases(Path(folder), asked.layers, asked.texts, 0, asked.device)]
        cases = [replace(case, token_budget=budget) for case in cases for budget in asked.text_tokens]
        image = image_case(Path(folder), asked.layers, asked.images, 0, asked.device)
        cases += [replace(image, token_budget=budget) for budget in asked.image_tokens]
        for case in cases:
            print(json.dumps(measured(case, rate, asked.device, asked.threads, asked.repeats)), flush=True)


if __name__ == "__main__":
    main()
