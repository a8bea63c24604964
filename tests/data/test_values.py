"""Values to predict that numbers of a computer cannot hold, by row and before training; columns of one name."""

import numpy as np
import pandas as pd
import pytest

from zoo.config import build
from zoo.data import from_datasets, open_splits
from zoo.errors import DataError


def table(tmp_path, values):
    rows = "\n".join(f"text {index} here,{value!r}" for index, value in enumerate(values))
    (tmp_path / "t.csv").write_text(f"text,value\n{rows}\n")
    return build({"data": str(tmp_path / "t.csv"), "label": "value", "task": "regression", "max_unreadable": 0.0, "cache": "off"})


def test_a_value_beyond_what_can_be_squared_is_refused_by_row(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv, row 18: value is '1e\+200'"):
        open_splits(table(tmp_path, [*np.arange(17.0).tolist(), 1e200, *np.arange(20.0, 40.0).tolist()]))


def test_values_that_float32_cannot_tell_apart_are_refused_by_name(tmp_path):
    values = [*np.linspace(0, 1, 60).tolist(), 1e30]
    with pytest.raises(DataError, match=r"t\.csv, row 61: value is 1e\+30, so far from the others that float32 cannot tell"):
        open_splits(table(tmp_path, values).replace(val_fraction=0.05, test_fraction=0.0, seed=1))
    assert len(open_splits(table(tmp_path, [1.7e9 + value for value in values[:-1]])).train) > 30


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[f"text {index}", index % 2, 1 - index % 2] for index in range(20)], columns=["text", "label", "label"])
    with pytest.raises(DataError, match="label"):
        from_datasets(frame)


def test_names_that_are_numbers_of_thousands_of_digits_are_refused():
    with pytest.raises(DataError, match="a number of thousands of digits; give a text"):
        from_datasets([("a", 0), ("b", 1), ("c", 0), ("d", 1)], label_names=["x", 10**5000])
