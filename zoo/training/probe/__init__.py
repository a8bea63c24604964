"""The solved head: a linear layer on features at its optimum, chosen among many."""
