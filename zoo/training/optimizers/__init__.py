"""The optimisers: a module each with a function `OPTIMIZER(groups, config, *, fused)`, which gives a `torch.optim.Optimizer`.

`groups` are those of `zoo.training.optim.parameter_groups`, `fused` says that all tensors are on a GPU. Its state is kept in checkpoints as
tensors by the names of parameters, so that it has to hold tensors and numbers alone.
"""
