"""The heads: what turns features into one number a class. Each module here has one, its `HEAD`; its name is the module's.

A factory takes `(in_features, num_outputs)` and gives a module from `[B, in_features]` to `[B, num_outputs]`. One with
`takes_tokens = True` gets the features before pooling, `[B, T, in_features]`. Last layers start at zero, so that the first loss
is ln(num_outputs) whatever the features (BiT, arxiv.org/abs/1912.11370): a cheap check of everything before them.
"""
