"""One module for each family: the base model it adapts, the labelled rows it reads, and the loss of single rows."""
