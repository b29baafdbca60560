"""Where an adapter comes from: a PEFT directory, an image model's file, or the Hub; one text names any of them.

path/to/adapter                  a PEFT directory
path/to/lora.safetensors         a kohya or diffusers file; `#unet` behind it cuts one component out
hub:owner/name@<commit>          a PEFT directory on the Hub, pinned
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.blending.adapter import Adapter
from tasks.blending.base_weights import module_names
from tasks.blending.diffusers_files import component, read_diffusers
from tasks.blending.dora import read_dora
from tasks.blending.hub import fetch_adapter, is_hub_address
from tasks.blending.kohya_names import flattened
from tasks.blending.peft_files import read_adapter, read_config
from tasks.blending.recompression import ToEnergy
from tasks.blending.safetensors_file import TensorRef


@dataclass(frozen=True, slots=True)
class Opened:
    """An adapter, the file or directory whose bytes identify it, and what a DoRA conversion lost per module."""

    adapter: Adapter
    path: Path
    converted: Mapping[str, float]


def open_source(text: str, *, base: Mapping[str, TensorRef] | None, dora_energy: float) -> Opened:
    """Open the adapter that `text` names; its tensors stay on disk.

    With the `base` weights DoRA adapters are converted, keeping `dora_energy` of each module's squared norm, and kohya
    names are resolved by the base model's modules. Raises InvalidInput as the readers do.
    """
    path = fetch_adapter(text) if is_hub_address(text) else Path(text)
    place, _, part = text.rpartition("#")
    if place.endswith(".safetensors") or path.suffix == ".safetensors":
        path = Path(place) if place else path
        names = flattened(module_names(base)) if base is not None else {}
        whole = read_diffusers(path, base_modules=names, name=text)
        return Opened(component(whole, part) if place else whole, path, {})
    if base is not None and _is_dora(path):
        found = read_dora(path, base, ToEnergy(dora_energy), name=text)
        return Opened(found.adapter, path, found.lost_energy)
    return Opened(read_adapter(path, name=text), path, {})


def _is_dora(directory: Path) -> bool:
    raw = read_config(directory)
    return isinstance(raw, dict) and bool(raw.get("use_dora"))
