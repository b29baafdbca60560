"""Speed of prototype extraction against what one would write without it, on the report domain's length distribution.

`python -m tests.benchmarks.prototypes --json` prints one JSON object a line. Prototypes are made of a task's inputs, so
with TESSERAE_DATA the texts are the inputs of report.parquet, else letters of the same lengths (quantiles below).
Peers and ours run alternately in this process, on the number of threads that is printed; `error` is the largest
difference between the prototypes relative to their largest coordinate, `floor_s` the bare forward passes over ready
batches of equal lengths. sentence-transformers is a peer where the optional extra `bench` is installed.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModel, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, pipeline

from flows.settings import PrototypeSettings
from flows.work import TOKENS_AT_ONCE
from tasks.library.families import Family
from tasks.prototypes.compute import compute
from tasks.prototypes.encoders.encoder import Modality
from tasks.prototypes.encoders.loading import resident_encoder
from tasks.prototypes.extraction import Job
from tasks.prototypes.settings import ExtractionSettings, Machine
from tests.prototypes.recipes import recipe_for

TEXTS, BATCH, MAX_TOKENS, LAYERS = 200, 32, 512, 4
WINDOW_ROWS = PrototypeSettings().window_rows
# Characters of the inputs of report.parquet at 0, 5, 10, ..., 100 per cent.
CHARACTERS = [20, 29, 31, 34, 36, 38, 41, 43, 46, 49, 52, 57, 63, 71, 79, 115, 219, 343, 571, 1069, 8954]


def texts() -> list[str]:
    """A seeded mixture of the domain's texts, all tasks together in arrival order."""
    rng = np.random.default_rng(0)
    folder = os.environ.get("TESSERAE_DATA")
    if folder:
        column = pq.read_table(Path(folder) / "report.parquet", columns=["input"])["input"]
        return column.take(rng.permutation(len(column))[:TEXTS]).to_pylist()
    lengths = np.interp(rng.random(TEXTS) * (len(CHARACTERS) - 1), range(len(CHARACTERS)), CHARACTERS).astype(int)
    letters = np.array(list("etaoin shrdlu "))
    return ["".join(rng.choice(letters, length)) + "." for length in lengths]


def save_model(path: Path, sample: Sequence[str]) -> None:
    """A Llama of 3.2 million parameters besides its embeddings, with a byte-level BPE of the texts themselves."""
    words = ByteLevelBPETokenizer()
    words.train_from_iterator(sample, vocab_size=4096, special_tokens=["<pad>"], show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, pad_token="<pad>").save_pretrained(path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=4096, num_key_value_heads=4, **sizes)).save_pretrained(path)


def padded_loop(model: Any, tokenizer: Any, sample: Sequence[str], layer: int) -> np.ndarray:
    """(a): batches in arrival order, padded to their longest, every layer run, mean over tokens."""
    means = []
    for start in range(0, len(sample), BATCH):
        part = list(sample[start : start + BATCH])
        inputs = tokenizer(part, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            hidden = model(**inputs, output_hidden_states=layer != -1)
        hidden = hidden.last_hidden_state if layer == -1 else hidden.hidden_states[layer]
        mask = inputs["attention_mask"].unsqueeze(2)
        means.append((hidden * mask).sum(1) / mask.sum(1))
    return torch.cat(means).double().mean(0).numpy()


def by_pipeline(extractor: Any, sample: Sequence[str], batch_size: int) -> np.ndarray:
    """(b): transformers' feature-extraction pipeline, mean over the tokens of what it returns."""
    options = {"truncation": True, "max_length": MAX_TOKENS}
    features = extractor(list(sample), batch_size=batch_size, return_tensors=True, tokenize_kwargs=options)
    lengths = [len(ids) for ids in extractor.tokenizer(list(sample), **options)["input_ids"]]
    means = [found[0, :length].double().mean(0) for found, length in zip(features, lengths, strict=True)]
    return torch.stack(means).mean(0).numpy()


def sentence_transformer(folder: Path) -> Any:
    """(b) as well: sentence-transformers' mean over tokens. It comes from the optional extra `bench`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(str(folder), max_seq_length=MAX_TOKENS)
    return SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension(), "mean")], device="cpu")


def by_sentences(model: Any, sample: Sequence[str]) -> np.ndarray:
    """Its `encode`, which sorts by length, with its default batches of 32."""
    found: np.ndarray = model.encode(list(sample), show_progress_bar=False).astype(np.float64).mean(axis=0)
    return found


def ours(settings: ExtractionSettings, samples: str) -> np.ndarray:
    """Extraction as a worker does it: from the file to the prototype."""
    ((found,), failures) = compute([Job("a", "d", samples)], settings)
    assert not failures, failures
    return found.prototype.astype(np.float64)


def floor(settings: ExtractionSettings, sample: Sequence[str]) -> Callable[[], None]:
    """Forward passes alone: inputs ready, texts of equal length together, nothing read, pooled or added up."""
    recipe = replace(settings.recipe, sampling=None, description=None)
    encoder = resident_encoder(recipe, Modality.TEXT, "cpu")
    items = encoder.read(pa.RecordBatch.from_pydict({"text": list(sample)}))
    by_length: dict[int, list[Any]] = {}
    for item in items:
        by_length.setdefault(item.length, []).append(item)
    ready = [encoder.collate(group) for group in by_length.values()]

    def run() -> None:
        with torch.inference_mode():
            for inputs in ready:
                encoder.encode(inputs)

    return run


def alternate(runs: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds and last result of each, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            results[name] = run()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}, results


def cases(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """The text cases."""
    sample = texts()
    save_model(folder / "model", sample)
    samples = str(folder / "samples.parquet")
    pq.write_table(pa.table({"text": sample}), samples)
    model = AutoModel.from_pretrained(folder / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    extractor = pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
    lines = []
    for layer in (-1, LAYERS // 2):
        recipe = replace(recipe_for(folder / "model", family=Family.CAUSAL_LM, layers=(layer,)), max_tokens=MAX_TOKENS)
        settings = ExtractionSettings(
            recipe, Machine("cpu", torch.get_num_threads(), TOKENS_AT_ONCE["cpu"], WINDOW_ROWS)
        )
        runs: dict[str, Callable[[], Any]] = {
            "ours": lambda settings=settings: ours(settings, samples),
            "padded loop": lambda layer=layer: padded_loop(model, tokenizer, sample, layer),
        }
        if layer == -1:
            runs["pipeline, batches of 32"] = lambda: by_pipeline(extractor, sample, BATCH)
            runs["pipeline, one by one"] = lambda: by_pipeline(extractor, sample, 1)
            if find_spec("sentence_transformers") is not None:
                sentences = sentence_transformer(folder / "model")
                runs["sentence-transformers, batches of 32"] = lambda model=sentences: by_sentences(model, sample)
        runs["floor"] = floor(settings, sample)
        seconds, results = alternate(runs, repeats)
        lines += [
            line(f"texts, layer {layer}", peer, seconds, results) for peer in runs if peer not in ("ours", "floor")
        ]
    return lines


def line(case: str, peer: str, seconds: dict[str, float], results: dict[str, Any]) -> dict[str, Any]:
    """One output line of the contract."""
    error = np.abs(results["ours"] - results[peer]).max() / np.abs(results[peer]).max()
    return {
        "case": case,
        "ours_s": round(seconds["ours"], 3),
        "peer": peer,
        "peer_s": round(seconds[peer], 3),
        "ratio": round(seconds[peer] / seconds["ours"], 2),
        "floor_s": round(seconds["floor"], 3),
        "error": float(error),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        for found in cases(Path(folder), arguments.repeats):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
