"""Fuzzing the adapter reader: `python -m tests.benchmarks.fuzz_reader --count 100000`.

Every input is a sound adapter with something wrong: bytes of the header flipped, cut or repeated, declared shapes and
offsets beyond the file, hostile config values and patterns, shard names that are paths, damaged pickles. An input must
either be read, and then blend, or be refused by `InvalidInput`; anything else, a file outside the output directory, or
memory beyond the bound is a failure. One JSON object is printed at the end.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tasks.blending.diffusers_files import read_diffusers
from tasks.blending.exact import blend_exact
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.files import InvalidInput

MEMORY_MB = 200  # growth of peak memory over the whole run; a single believed shape would take gigabytes
SLOW_S = 5.0  # wall time of one input, generous for a busy machine

HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd", "/tmp/x", "\0",
    "a" * 5000, "(a+)+$", "(" * 50, "[", "a{9999999}", ".*.*.*.*.*", [], [1], ["../x"], {}, {"a": 1}, {"(a|a)*": 3},
    {"q": -1}, {"": ""},
)  # fmt: skip
CONFIG_KEYS = (
    "r", "lora_alpha", "peft_type", "rank_pattern", "alpha_pattern", "target_modules", "modules_to_save", "bias",
    "use_dora", "use_rslora", "init_lora_weights", "fan_in_fan_out", "base_model_name_or_path", "task_type",
)  # fmt: skip
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"], "base_model_name_or_path": "b"}
NAMES = ("base_model.model.l.0.q", "base_model.model.l.1.q")


def sound_file() -> bytes:
    """A small adapter file."""
    return save({f"{name}.lora_{part}.weight": torch.ones(2, 2) for name in NAMES for part in "AB"})


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensor bytes."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, tensors: bytes) -> bytes:
    """A file of a header and tensor bytes."""
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + tensors


def flipped(draw: random.Random, data: bytes) -> bytes:
    """Change, cut, repeat or insert bytes."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0 if place < len(changed):
                changed[place] = draw.randrange(256)
            case 1:
                del changed[place : place + draw.randrange(64)]
            case 2:
                changed[place:place] = changed[: draw.randrange(64)]
            case _:
                changed[place:place] = draw.randbytes(draw.randrange(16))
    return bytes(changed)


def header_mutated(draw: random.Random, data: bytes) -> bytes:
    """Hostile shapes, offsets, dtypes and names in a well-formed header."""
    header, tensors = split(data)
    name = draw.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    match draw.randrange(6):
        case 0:
            entry["shape"] = [
                draw.choice([0, 1, 2, -1, 2**20, 2**40, 2**62, 2**70, 1.5, None, "2"])
                for _ in range(draw.randint(0, 9))
            ]
        case 1:
            entry["data_offsets"] = [
                draw.choice([0, 8, -8, 16, 2**40, 2**63, None, "x"]) for _ in range(draw.randint(0, 3))
            ]
        case 2:
            entry["dtype"] = draw.choice(["F64", "F8_E4M3", "I64", "BOOL", "nonsense", None, 3, []])
        case 3:
            header[
                draw.choice(
                    [
                        "",
                        "x",
                        "../../x",
                        "base_model.model.",
                        "a" * 3000,
                        "base_model.model..lora_A.weight",
                        "base_model.model.l.0.q.lora_magnitude_vector",
                        "base_model.model.h.weight",
                    ]
                )
            ] = header.pop(name)
        case 4:
            header[draw.choice(list(header))] = draw.choice(HOSTILE[:12])
        case _:
            header["__metadata__"] = draw.choice([1, [], {"a": 1}, {"a": "b"}, "x", {"lora_adapter_metadata": "{"}])
    return joined(header, tensors)


def deep(draw: random.Random, data: bytes) -> bytes:
    """JSON nested beyond any recursion limit, or a length prefix that lies."""
    if draw.random() < 0.5:
        raw = b"[" * draw.choice([1000, 100_000]) + b"]" * 10
        return len(raw).to_bytes(8, "little") + raw
    return draw.choice([0, 1, 2**31, 2**63, 2**64 - 1]).to_bytes(8, "little") + data[8:]


def write_input(draw: random.Random, directory: Path, data: bytes) -> None:
    """One input: config and weights, at least one of them hostile."""
    config: Any = dict(CONFIG)
    kind = draw.randrange(8)
    if kind >= 5:
        for _ in range(draw.randint(1, 3)):
            config[draw.choice(CONFIG_KEYS)] = draw.choice(HOSTILE)
    text = json.dumps(config).encode()
    if kind == 7:
        text = flipped(draw, text)
    (directory / "adapter_config.json").write_bytes(text)
    mutations: list[Callable[[random.Random, bytes], bytes]] = [flipped, header_mutated, deep]
    content = mutations[draw.choice([0, 0, 1, 1, 1, 2])](draw, data) if kind < 6 else data
    match draw.randrange(12):
        case 0:
            (directory / "adapter_model.bin").write_bytes(
                draw.choice([content, b"PK\x03\x04" + content, b"\x80\x04" + content])
            )
        case 1:
            (directory / "a.safetensors").write_bytes(content)
            shard = draw.choice(["a.safetensors", "../a.safetensors", "/etc/passwd", "", ".", "\0", "b.safetensors", 3])
            index = {"weight_map": {f"{NAMES[0]}.lora_A.weight": shard, f"{NAMES[0]}.lora_B.weight": "a.safetensors"}}
            (directory / "adapter_model.safetensors.index.json").write_text(json.dumps(index))
        case _:
            (directory / "adapter_model.safetensors").write_bytes(content)


def attempt(directory: Path, out: Path) -> str:
    """Read and blend; the outcome as a word. Any other exception than InvalidInput goes through."""
    try:
        adapter = read_adapter(directory)
        blend = blend_exact([adapter], [0.5], base_model_name="b", revision=None)
        write_adapter(blend, out)
        return "blended"
    except InvalidInput as error:
        if not all(problem.item and problem.remedy for problem in error.problems):
            raise AssertionError(f"a refusal without item or remedy: {error}") from error
        return "refused"


def attempt_image(directory: Path) -> None:
    """The same bytes as an image model's file."""
    path = directory / "adapter_model.safetensors"
    if path.is_file():
        try:
            read_diffusers(path, base_modules={})
        except InvalidInput:
            return


def fuzz(count: int, *, seed: int) -> dict[str, Any]:
    """Run `count` inputs; outcomes, growth of peak memory and the slowest input. Raises on the first failure."""
    draw, data = random.Random(seed), sound_file()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    attempt_warm(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            outcome, seconds = one_input(draw, data, Path(folder), f"input {number} of seed {seed}")
        outcomes[outcome] += 1
        slowest = max(slowest, seconds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if grown > MEMORY_MB or slowest > SLOW_S:
        raise AssertionError(f"peak memory grew by {grown:.0f} MB, the slowest input took {slowest:.1f} s")
    return {"inputs": count, "seed": seed, **outcomes, "grown_mb": round(grown, 1), "slowest_s": round(slowest, 3)}


def one_input(draw: random.Random, data: bytes, root: Path, label: str) -> tuple[str, float]:
    """Write an input below `root`, try it, and check what it left behind; the outcome and its seconds."""
    (root / "in").mkdir()
    write_input(draw, root / "in", data)
    listed = sorted(os.listdir(root / "in"))
    start = time.perf_counter()
    try:
        outcome = attempt(root / "in", root / "out")
        attempt_image(root / "in")
    except Exception as error:
        kept = {path.name: path.read_bytes()[:2000] for path in (root / "in").iterdir()}
        raise AssertionError(f"{label} ended in {type(error).__name__}: {kept}") from error
    seconds = time.perf_counter() - start
    if sorted(os.listdir(root / "in")) != listed or not set(os.listdir(root)) <= {"in", "out"}:
        raise AssertionError(f"{label} left files outside its output directory")
    return outcome, seconds


def attempt_warm(data: bytes) -> None:
    """Blend the sound file once, so that libraries are loaded before memory is counted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "adapter_config.json").write_text(json.dumps(CONFIG))
        (root / "adapter_model.safetensors").write_bytes(data)
        if attempt(root, root / "out") != "blended":
            raise AssertionError("the sound adapter was refused")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    print(json.dumps({**fuzz(arguments.count, seed=arguments.seed), "seconds": round(time.perf_counter() - begun, 1)}))
