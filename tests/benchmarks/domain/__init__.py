"""Leave-one-task-out on real multi-task data: the parts of `python -m tests.benchmarks.domains`."""
