"""What the process that local workers are forked from imports: slow, wanted by every worker, and without a thread.

A process with threads is not safe to fork, and pyarrow starts one at import; it is quick, and each worker's own matter.
"""

import gc
import importlib

MODULES = ("distributed.nanny", "torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto")

gc.disable()  # it would go through all that is there, again and again, for garbage that imports do not make
for name in MODULES:
    importlib.import_module(name)
gc.freeze()  # nor does a worker's collection write to these pages, so that all workers go on sharing them
gc.enable()
