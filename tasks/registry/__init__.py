"""The last room: MLflow runs, model versions and aliases, and the pictures people look at."""
