"""One module for each kind of input; each turns sample rows into embeddings with the base model's own encoder."""
