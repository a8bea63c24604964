"""People and programs read the same answer."""

import json
import math
from pathlib import Path

from zoo.cli.output import Output, cell, plain, table


def test_people_read_stdout(capsys):
    Output({"a": 1}, table([{"name": "x" * 300, "parameters_m": 1234567}]), "[bold]text[/bold]", notes=["a\nb"]).print(json=False)
    out, err = capsys.readouterr()
    assert "x" * 300 in out
    assert "parameters m" in out
    assert "1,234,567" in out
    assert "[bold]text[/bold]\n" in out
    assert err == "a\\nb\n"


def test_programs_read_the_last_line_of_stdout(capsys):
    Output({"a": math.nan, "path": Path("x"), "é": [math.inf, (1, 2.5)]}, "for people").print(json=True)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": None, "path": "x", "é": [None, [1, 2.5]]}
    assert err == "for people\n"


def test_cells():
    values = [None, True, 12345, 0.123456, 1e-7, 123456.7, math.nan, "a\tb\x1b[31m"]
    assert [cell(value) for value in values] == ["", "yes", "12,345", "0.1235", "1e-07", "123,457", "nan", "a\\tb\\x1b[31m"]


def test_a_name_with_undecodable_bytes_survives():
    assert cell("caf\udce9.jpg") == "caf\\udce9.jpg"
    assert plain({"x": "caf\udce9.jpg"}) == {"x": "caf\udce9.jpg"}
