"""A pretrained backbone made into a model for other classes: heads, strategies, what is frozen, and how the result is kept."""
