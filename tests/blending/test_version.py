"""The version of the blending code stands for its outputs: what is digested with it must not change under it."""

import torch

import tasks.blending
from tasks.blending.factors import Layout
from tasks.blending.library_module import LibraryModule
from tasks.blending.module_blend import blend_module
from tasks.blending.recompression import Exact, ToRank
from tasks.files import digest_value


def test_outputs_belong_to_the_version():
    # Two adapters of rank one whose sum is diag(3, 1): stacked as given, and truncated to 3 e1 e1^T, so that every
    # number can be checked by hand. Rounded, as the last bits are the platform's.
    module = LibraryModule(
        name="m", a=torch.eye(2, 3), b=torch.tensor([[6.0, 0.0], [0.0, -2.0]]), rows={"x": range(1), "y": range(1, 2)}
    )
    weights = {"x": 0.5, "y": -0.5}
    exact, truncated = (blend_module(module, [weights], how)[0] for how in (Exact(), ToRank(1)))
    outputs = {
        "exact": [exact[0].a.tolist(), exact[0].b.tolist()],
        "delta of rank one": [[round(x, 4) + 0.0 for x in row] for row in (truncated[0].b @ truncated[0].a).tolist()],
        "lost": round(truncated[1].lost_energy, 6),
        "shares": {name: round(share, 6) for name, share in exact[1].shares.items()},
        "keys": Layout((2,), 3, (), embedding=False).suffixes,
    }
    assert outputs["delta of rank one"] == [[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert outputs["lost"] == 0.1  # 1 of 9 + 1
    assert outputs["shares"] == {"x": 0.75, "y": 0.25}
    assert (tasks.blending.VERSION, digest_value(outputs)) == ("1", "d5e4f3553ab446ec4507fe40f805e08e")
