"""What the process that local workers are forked from imports: slow, wanted by every worker, and without a thread.

A process with threads is not safe to fork, and pyarrow starts one at import; it is quick, and each worker's own matter.
"""

import distributed.nanny
import torch
import transformers.modeling_utils
import transformers.models.auto.modeling_auto

__all__ = ["distributed", "torch", "transformers"]
