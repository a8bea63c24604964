"""`zoo data inspect`, as it is typed."""

import shutil

import pytest


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "films.csv"
    path.write_text('body,stars,note\nGood film!,good,x\ngood film,bad,y\nA dull one,bad,z\n"",good,w\nFine [b]work[/b],good,v\n')
    return path


def test_inspect_prints_what_it_finds_and_writes_a_page(zoo_cli, table, tmp_path):
    ran = zoo_cli("data", "inspect", str(table), "--text", "body", "--label", "stars")
    assert ran.status == 0, ran.err
    assert "4 texts, classification" in ran.out
    assert (
        "! 2 texts are nearly the same with different labels, in one group: films.csv, row 1 (good) = films.csv, row 2 (bad)"
        in ran.out
    )
    assert "! 1 texts cannot be read" in ran.out
    assert ran.out.rstrip().endswith("page: films-report.html")
    page = (tmp_path / "work" / "films-report.html").read_text()
    assert "Fine [b]work[/b]" in page
    assert "films.csv, row 2" in page


def test_json_has_everything(zoo_cli, table, tmp_path):
    page = tmp_path / "own.html"
    words = ("data", "inspect", str(table), "--text", "body", "--label", "stars", "--out", str(page), "--json")
    values = zoo_cli(*words).json
    assert values["counts"] == {"all": {"bad": 2, "good": 2}}
    assert [sample["name"] for sample in values["near"][0]["samples"]] == ["films.csv, row 1", "films.csv, row 2"]
    assert values["page"] == str(page)
    assert page.is_file()
    shutil.copy(table, page)
    assert "is not a data report" in zoo_cli(*words).refused()


def test_mistakes(zoo_cli, table):
    assert "no such folder" in zoo_cli("data", "inspect", "nothing").refused()
    assert (
        "resnet5"
        in zoo_cli("data", "inspect", str(table), "--label", "stars", "--text", "body", "--backbone", "resnet5").refused()
    )
