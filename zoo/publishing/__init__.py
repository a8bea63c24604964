"""From a measured model to something that others can use: figures, the card, and where they go."""
