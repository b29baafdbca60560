"""One module for each model family: which model it loads, what it reads, and what it measures."""
