"""What training may change: one folder a strategy, which is all that is special about it.

`__init__.py` holds the form of the strategy, a subclass of `zoo.strategy.Strategy`, without torch; `applying.py` does it to a backbone and
gives the Plan. A folder here is a strategy: nothing else names it.
"""
