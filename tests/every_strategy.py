"""Every strategy that there is, with an argument that suits small networks; those that insert modules come last, lora the very last."""

from zoo.strategy import forms, parse

_SMALL = {"partial": "partial:1", "lora": "lora:2", "gradual": "gradual:0.5"}
STRATEGIES = tuple(
    str(parse(_SMALL.get(kind, kind))) for kind, form in sorted(forms().items(), key=lambda item: (item[1].adapter, item[0]))
)
