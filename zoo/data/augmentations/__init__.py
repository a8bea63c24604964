"""How much training samples are varied, by name: a module each, with an `Augmentation` as `AUGMENTATION`."""
