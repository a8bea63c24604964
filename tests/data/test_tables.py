"""Tables from files to checked columns; and each way in which a file, a row, a column or a label can be wrong, in one line."""

import csv
import gzip
import json
import tracemalloc

import numpy as np
import pytest

from zoo.data import open_for_evaluation
from zoo.data.sources.tables.gathering import Columns, choose_columns, is_table, read_rows, read_table
from zoo.errors import ConfigError, DataError, UnknownName, ZooError
from zoo.types import Kind, Labels

REVIEWS = "text,label\nI loved it,pos\nit was bad,neg\nso so film,pos\nawful waste of time,neg\n"


@pytest.fixture
def make_file(tmp_path):
    """`make_file("a.csv", content)` writes text or bytes."""

    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.fixture
def make_parquet(tmp_path):
    """`make_parquet({"text": [...]})` writes a Parquet file."""

    def make(columns, **options):
        import pyarrow
        from pyarrow import parquet

        path = tmp_path / "table.parquet"
        parquet.write_table(columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns), path, **options)
        return path

    return make


def read(path, *, task=None, max_unreadable=0.01, **columns):
    return read_table(path, Columns(**columns), task=task, max_unreadable=max_unreadable)


def refused(path, match, kind=DataError, **options):
    """Assert that a table is refused in one line which names its file."""
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def left_out(path, line, **options):
    """Assert that just one row is left out, for this reason, and that one such row is too many by default."""
    table = read(path, max_unreadable=0.5, **options)
    assert table.unreadable == [f"{path.name}, {line}"]
    assert any(line in notice and "1 rows cannot be read" in notice for notice in table.notices)
    with pytest.raises(DataError, match=r"1 of \d+ rows cannot be read, more than --max-unreadable 1.00%") as caught:
        read(path, **options)
    assert line in str(caught.value)
    return table


def test_a_plain_table(make_file):
    table = read(make_file("reviews.csv", REVIEWS), text=("text",), label=("label",))
    assert (table.kind, table.task, table.names) == (Kind.TEXT, "classification", ("neg", "pos"))
    assert table.inputs[0].tolist() == ["I loved it", "it was bad", "so so film", "awful waste of time"]
    assert table.inputs[0].dtype == np.dtypes.StringDType()
    assert table.labels.tolist() == [1, 0, 1, 0]
    assert table.labels.dtype == table.numbers.dtype == np.int64
    assert table.numbers.tolist() == [1, 2, 3, 4]
    assert (len(table), table.splits, table.notices, table.unreadable) == (4, None, [], [])


ENCODED = {
    "a.csv": REVIEWS.encode("utf-8-sig"),
    "b.csv": REVIEWS.encode("utf-16"),
    "c.csv": REVIEWS.replace("\n", "\r\n").encode(),
    "d.csv": REVIEWS.replace(",", ";").encode(),
    "e.csv": REVIEWS.replace(",", "\t").encode(),
    "f.tsv": REVIEWS.replace(",", "\t").encode(),
    "g.tsv": REVIEWS.encode(),
    "h.csv": REVIEWS.replace(",", "|").encode(),
    "i.csv.gz": gzip.compress(REVIEWS.encode(), mtime=0),
    "j.CSV": REVIEWS.replace("text,label", " text , label").encode(),
    "k.csv": REVIEWS.removesuffix("\n").encode(),
}


@pytest.mark.parametrize("name", ENCODED)
def test_every_way_to_write_it_reads_the_same(make_file, name):
    table = read(make_file(name, ENCODED[name]))
    assert table.inputs[0].tolist() == [line.split(",")[0] for line in REVIEWS.splitlines()[1:]]
    assert [table.names[one] for one in table.labels] == ["pos", "neg", "pos", "neg"]
    assert table.numbers.tolist() == [1, 2, 3, 4]


def test_formats_agree(make_file, make_parquet):
    rows = [{"text": "un café", "label": "a"}, {"text": 'with "quotes", and\nlines', "label": "b"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    paths = [
        make_file("a.jsonl", lines),
        make_file("a.ndjson.gz", gzip.compress(lines.encode(), mtime=0)),
        make_file("a.json", json.dumps(rows)),
    ]
    paths.append(make_parquet({"text": [row["text"] for row in rows], "label": ["a", "b"]}))
    paths.append(make_file("a.csv", 'text,label\nun café,a\n"with ""quotes"", and\nlines",b\n'))
    for path in paths:
        assert is_table(path)
        assert list(read_rows(path)) == [(1, rows[0]), (2, rows[1])]
        assert list(read_rows(path, ["label"])) == [(1, {"label": "a"}), (2, {"label": "b"})]


def test_row_numbers(make_file):
    path = make_file("a.csv", '\ntext,label\n"two\nlines",x\n\nthree words here,y\n')
    assert [number for number, _ in read_rows(path)] == [1, 3]
    path = make_file("a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "label": 2}\n')
    assert [number for number, _ in read_rows(path)] == [1, 3]


def test_long_fields_and_plain_quotation_marks(make_file):
    long = "word " * 60_000
    assert read(make_file("a.csv", f"text,label\n{long},x\nshort one,y\n")).inputs[0][0] == long
    plain = make_file("a.tsv", 'text\tlabel\n"Hello there, he said\tx\nthe "end" of it\ty\n')
    assert read(plain).inputs[0].tolist() == ['"Hello there, he said', 'the "end" of it']
    quoted = make_file("b.tsv", 'text\tlabel\n"Hello\nthere"\tx\n"the ""end"""\ty\n')
    assert read(quoted).inputs[0].tolist() == ["Hello\nthere", 'the "end"']


@pytest.mark.parametrize(
    ("name", "line"), [("a.csv", "some words of a text,x\n"), ("a.jsonl", '{"text": "some words", "label": "x"}\n')]
)
def test_constant_memory(make_file, name, line):
    def peak(count):
        path = make_file(name, "text,label\n" * name.endswith("csv") + line * count)
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_rows(path)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(100_000) < 1.1 * peak(50_000)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", "", "an empty file"),
        ("a.jsonl", "\n \n", "an empty file"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.json", "[]", "no rows"),
        ("a.csv", "text,text\na b c,x\n", "two columns are called 'text'"),
        ("a.csv", ",,\na b c,x,y\n", "the header is empty"),
        ("a.csv", "text;label\na, well; b;x\nb;c;d;y\nc;z\n", "one column, whose name 'text;label' contains ';'"),
        ("a.csv", REVIEWS.split("\n", 1)[1], "first line seems to be data"),
        ("a.csv", REVIEWS + '"never closed,pos\nanother one,neg\n', "line 6: a quotation mark is opened here and never closed"),
        ("a.csv", REVIEWS.encode("utf-16-le"), "NUL bytes in the first line"),
        ("a.csv", REVIEWS.encode("utf-16")[:-1], "begins as UTF-16 and does not go on so"),
        (
            "a.csv",
            REVIEWS.replace("text", "téxt").encode("latin-1"),
            r"header: not UTF-8 \(byte 0xe9\); as cp1252 it reads 'téxt",
        ),
        ("a.csv.gz", gzip.compress(REVIEWS.encode(), mtime=0)[:-12], "compressed file is damaged or cut off"),
        ("a.csv.gz", REVIEWS, "Not a gzipped file"),
        ("a.xlsx", "PK", "not a table that can be read; save it as one of .csv"),
        ("a.parquet.gz", "PK", "not a table that can be read"),
        ("a.json", '[{"text": "a", "label": 1},', "line 1: not JSON"),
        ("a.json", '{"text": "a"}', "expected a list of objects, found a dict"),
        ("a.json", '{"text": "a"}\n{"text": "b"}\n', "one object a line is called .jsonl"),
        ("a.json", "[" * 100_000, "too many brackets"),
        ("a.jsonl", '[{"text": "a"},\n{"text": "b"}]\n', "row 1: not JSON: .* one list of objects is called .json"),
        ("a.parquet", "", "not Parquet"),
        ("a.parquet", REVIEWS, "cut off, damaged, or not Parquet"),
    ],
)
def test_files_that_cannot_be_read(make_file, name, content, match):
    refused(make_file(name, content), match)


def test_places_that_cannot_be_read(tmp_path):
    refused(tmp_path / "nowhere.csv", "No such file")
    refused(tmp_path / "nowhere.parquet", "No such file")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "a folder without Parquet files")


def test_parquet_cut_off_or_damaged(make_parquet):
    path = make_parquet(
        {"text": [f"text number {index}" for index in range(5000)], "label": ["x", "y"] * 2500}, row_group_size=1000
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    refused(path, "cut off, damaged, or not Parquet")
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + b"\xff" * 2000 + whole[middle + 2000 :])
    refused(path, r"cut off, damaged, or not Parquet after row \d,\d\d\d")


@pytest.mark.parametrize(
    ("added", "line"),
    [
        ("a,b,pos\n", "row 5: number of fields 3, in the header 2; is a ',' in a text not quoted?"),
        ("a text alone\n", "row 5: number of fields 1, in the header 2"),
        ('"say "hi" to him",pos\n', "row 5: a quotation mark within a quoted field (line 6); write it twice"),
        ("a\0b,pos\n", "row 5: a NUL character; remove it"),
        ("  ,pos\n", "row 5: text is empty"),
        ("a fine film,\n", "row 5: label is empty"),
        ("a fine film,NaN\n", "row 5: label is 'NaN', which stands for no label here"),
        ("\na fine film,null\n", "row 6: label is 'null', which stands for no label here"),
    ],
)
def test_rows_of_csv_that_are_left_out(make_file, added, line):
    table = left_out(make_file("reviews.csv", REVIEWS + added), line)
    assert table.numbers.tolist() == [1, 2, 3, 4]


def test_bytes_that_are_not_utf8(make_file):
    path = make_file("reviews.csv", REVIEWS.encode() + "un café noir,pos\n".encode("latin-1"))
    reason = "not UTF-8 (byte 0xe9); as cp1252 it reads 'un café noir,pos': convert the file, iconv -f cp1252 -t utf-8"
    left_out(path, f"row 5: {reason}")


@pytest.mark.parametrize(
    ("added", "line"),
    [
        ("{broken", "row 4: not JSON: Expecting property name enclosed in double quotes at character 2"),
        ("[1, 2]", "row 4: a list, expected an object such as {'text': ..., 'label': ...}"),
        ('{"text": null, "label": "x"}', "row 4: text is empty"),
        ('{"text": NaN, "label": "x"}', "row 4: text is empty"),
        ('{"text": "a", "label": null}', "row 4: label is empty"),
        ('{"text": "a"}', "row 4: label is empty"),
        ('{"text": ["a"], "label": "x"}', "row 4: text holds a list, expected a text"),
        ('{"text": "a", "label": {"is": "x"}}', "row 4: label holds a dict, expected one label"),
        ('{"text": "\\ud800", "label": "x"}', r"row 4: half of a surrogate pair (\ud800) is not a character; remove it"),
    ],
)
def test_rows_of_json_lines_that_are_left_out(make_file, added, line):
    path = make_file("a.jsonl", f'{{"text": "q w", "label": "x"}}\n\n{{"text": "e", "label": "y"}}\n{added}\n')
    assert left_out(path, line).numbers.tolist() == [1, 3]


def test_share_of_rows_left_out(make_file):
    rows = "".join(f"a text of number {index},{'xy'[index % 2]}\n" for index in range(99))
    assert len(read(make_file("a.csv", f"text,label\n{rows},x\n"))) == 99
    refused(
        make_file("a.csv", f"text,label\n{rows},x\n,y\n"), "2 of 101 rows cannot be read.*row 100: text is empty; a.csv, row 101"
    )
    refused(make_file("a.csv", "text,label\n,x\n,y\n"), "no row can be read", max_unreadable=1, text=("text",))


def test_columns_are_guessed_and_said(make_file):
    table = read(make_file("a.csv", "id,Review,Sentiment\n1,hello you there,x\n2,bye bye baby,y\n"))
    assert (table.columns.inputs, table.columns.labels) == (("Review",), ("Sentiment",))
    assert table.notices[0] == "columns guessed: text 'Review', label 'Sentiment' (--text, --label name others)"
    table = read(make_file("a.csv", "foo,bar\na,hello you there\nb,bye bye baby\nb,bye now baby\na,hello again you\n"))
    assert (table.columns.inputs, table.columns.labels) == (("bar",), ("foo",))
    table = read(make_file("a.csv", "premise,hypothesis,label\na b,c d,x\na b,d e,y\n"))
    assert [column.tolist() for column in table.inputs] == [["a b", "a b"], ["c d", "d e"]]
    path = make_file("a.csv", "key,words\n1,hello you there\n2,bye bye baby\n")
    assert choose_columns(path, Columns(), labelled=False).inputs == ("words",)


@pytest.mark.parametrize(
    ("header", "options", "kind", "match"),
    [
        ("text,label", {"label": ("lable",)}, UnknownName, "no column 'lable'; did you mean 'label'.*: text, label"),
        ("text,label", {"text": ("txet",)}, UnknownName, "no column 'txet'; did you mean 'text'"),
        ("text,label", {"split": "fold"}, UnknownName, "no column 'fold'"),
        ("text,label", {"text": ("text",), "label": ("text",)}, ConfigError, "'text' cannot be input and label at once"),
        ("text,label", {"text": ("text",), "image": "text"}, ConfigError, "--text and --image"),
        ("text,label", {"text": ("text", "text")}, ConfigError, "two different ones for pairs"),
        ("text,foo", {}, ConfigError, "which column holds the labels"),
        ("text,class,topic", {}, ConfigError, "say --label class or --label topic"),
        ("text,body,label", {}, ConfigError, "say --text text or --text body"),
        ("number,label", {}, ConfigError, "which column is the input"),
        ("number,body,label", {"text": ("number",)}, ConfigError, r"'number' holds numbers, not texts; .*it could be 'body'"),
    ],
)
def test_columns_that_cannot_be_told(make_file, header, options, kind, match):
    names = header.split(",")
    rows = (",".join(str(index) if name == "number" else f"{name} of the {index}" for name in names) for index in range(4))
    path = make_file("a.csv", "\n".join((header, *rows)))
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", Kind.IMAGE), (".WAV", Kind.AUDIO)])
def test_paths_are_not_taken_for_texts(make_file, tmp_path, suffix, kind):
    (tmp_path / "some files").mkdir()
    for index in range(4):
        (tmp_path / f"some files/{index}{suffix}").touch()
    rows = "".join(f"some files/{index}{suffix},{'xy'[index % 2]}\n" for index in range(4))
    path = make_file("a.csv", f"text,label\n{rows}")
    table = read(path)
    assert (table.kind, table.inputs[0][3]) == (kind, f"some files/3{suffix}")
    assert read(path, **{str(kind): "text"}).kind is kind
    with pytest.raises(ConfigError, match=f"'text' holds paths of {kind.nouns}, not texts; use --{kind} text"):
        read(path, text=("text",))
    left_out(
        make_file("b.csv", f"path,label\n{rows}none{suffix},x\n"),
        f"row 5: none{suffix}: no such file (paths are relative to the table)",
    )
    left_out(
        make_file("b.csv", f"path,label\n{rows}some files,x\n"), "row 5: some files: not a file (paths are relative to the table)"
    )
    both = make_file("c.csv", "path,text,label\n" + rows.replace(",", ",a caption of it,"))
    with pytest.raises(ConfigError, match=f"say --{kind} path or --text text"):
        read(both)
    for wanted, name in ((kind, "path"), (Kind.TEXT, "text")):
        assert read_table(both, Columns(), kind=wanted).columns.inputs == (name,)


def test_absolute_paths_and_addresses(make_file, tmp_path):
    (tmp_path / "0.png").touch()
    path = make_file("a.csv", f"image,label\n{tmp_path}/0.png,x\n0.png,y\nhttps://example.org/a.png,x\n")
    line = "row 3: https://example.org/a.png: a web address; nothing is fetched: download the file and give its path"
    assert len(left_out(path, line)) == 2


def test_labels_are_normalised(make_file):
    path = make_file("a.csv", "text,label\nsome a,café\nsome b,cafe\u0301 \nsome c, thé\n")
    assert read(path).names == ("café", "thé")
    path = make_file("a.jsonl", '{"text": "a", "label": 10}\n{"text": "b", "label": 2.0}\n{"text": "c", "label": "2"}\n')
    table = read(path)
    assert (table.names, table.labels.tolist()) == (("2", "10"), [1, 0, 0])


def test_labels_that_differ_in_case_or_spaces(make_file):
    notices = read(make_file("a.csv", REVIEWS + "a fine film,Pos\nanother fine film,p os\n")).notices
    assert any("'pos' and 'Pos' differ in case or spaces alone" in line for line in notices)


def test_labels_that_may_be_none(make_file):
    table = read(make_file("a.csv", REVIEWS + "a fine film,None\n"))
    assert "None" in table.names
    assert any("the label 'None' is taken as a class" in line for line in table.notices)


def test_one_label_only(make_file, tmp_path):
    refused(make_file("a.csv", "text,label\na b,x\nb c,x\n"), r"one label only \(x\)")
    refused(make_file("a.csv", "text,score\na b,1.5\nb c,1.50\n"), "score is 1.5 in every row")
    refused(make_file("a.csv", "text,a,b\na b,1,0\nb c,1,0\n"), "every row has the same labels", label=("a", "b"))


def test_repeated_rows(make_file):
    path = make_file("a.csv", REVIEWS + "I loved it,pos\nit was bad,pos\nI loved it,pos\nit was bad,pos\n")
    notices = read(path).notices
    pairs = "; ".join(f"a.csv, row {late} = a.csv, row {early}" for late, early in ((5, 1), (7, 1), (8, 6)))
    assert f"3 rows repeat an earlier one with the same label: {pairs}" in notices
    assert "1 rows repeat the texts of an earlier one with another label: a.csv, row 2 ('neg') = a.csv, row 6 ('pos')" in notices


def test_repeated_pairs_are_equal_in_both_texts(make_file):
    rows = "a b,c d,x\na b,d e,y\nd e,a b,x\na b,d e,y\n"
    notices = read(make_file("a.csv", f"text1,text2,label\n{rows}")).notices
    assert [line for line in notices if "repeat" in line] == [
        "1 rows repeat an earlier one with the same label: a.csv, row 4 = a.csv, row 2"
    ]


def test_numbers_are_regression_and_said(make_file):
    path = make_file("a.csv", "text,score\na b,1.5\nb c,2\nc d,-3e-1\n")
    table = read(path)
    assert (table.task, table.names, table.labels.dtype) == ("regression", ("score",), np.float64)
    assert table.labels.tolist() == [[1.5], [2.0], [-0.3]]
    assert any("score holds numbers: regression (--task classification" in line for line in table.notices)
    table = read(path, task="classification")
    assert (table.task, table.names) == ("classification", ("1.5", "2", "-3e-1"))


@pytest.mark.parametrize(
    ("classes", "rows", "task"), [(5, 40, "classification"), (30, 100, "classification"), (30, 50, "regression")]
)
def test_whole_numbers(make_file, classes, rows, task):
    path = make_file("a.csv", "text,label\n" + "".join(f"text {index},{index % classes}\n" for index in range(rows)))
    table = read(path)
    assert table.task == task
    assert any("--task" in line for line in table.notices) == (classes > 20)
    assert read(path, task="regression").labels[7].tolist() == [7 % classes]
    assert len(read(path, task="classification").names) == classes


def test_text_in_a_column_of_numbers(make_file):
    rows = "".join(f"text {index},{index}.5\n" for index in range(50))
    left_out(
        make_file("a.csv", f"text,score\n{rows}the last,high\n"), "row 51: score is 'high', expected a number", task="regression"
    )
    assert read(make_file("a.csv", f"text,score\n{rows}the last,inf\n"), max_unreadable=0.1).task == "regression"
    refused(make_file("a.csv", "text;score\na b;1,5\nb c;2,5\n"), "row 1: score is '1,5', expected a number .a decimal comma")
    refused(make_file("a.csv", REVIEWS), "row 1: label is 'pos', expected a number", task="regression")


def test_columns_of_flags_are_multilabel(make_file):
    path = make_file("a.csv", "text,b,a\nq w,0,1\ne r,1,0\nt y,1.0,True\n")
    table = read(path, label=("b", "a"))
    assert (table.task, table.names, table.labels.dtype) == ("multilabel", ("b", "a"), np.int8)
    assert table.labels.tolist() == [[0, 1], [1, 0], [1, 1]]
    with pytest.raises(ConfigError, match="several columns are multilabel or regression"):
        read(path, label=("a", "b"), task="classification")
    left_out(
        make_file("b.csv", "text,b,a\nq w,0,1\ne r,1,0\nt y,2,1\n"),
        "row 3: b is '2', expected 0 or 1",
        label=("b", "a"),
        task="multilabel",
    )
    left_out(make_file("b.csv", "text,b,a\nq w,0,1\ne r,1,0\nt y,,1\n"), "row 3: b is empty", label=("b", "a"))


def test_columns_of_numbers_are_regression(make_file):
    path = make_file("a.csv", "text,x,y\nq w,0.5,1\ne r,1,2\nt y,4,0\n")
    table = read(path, label=("x", "y"))
    assert (table.task, table.names) == ("regression", ("x", "y"))
    assert table.labels.tolist() == [[0.5, 1], [1, 2], [4, 0]]
    assert any("regression with 2 outputs" in line for line in table.notices)


def test_lists_and_delimiters_are_multilabel(make_file, make_parquet):
    paths = [
        make_file("a.csv", "text,label\nq w,b| a\ne r,b\nt y,\n"),
        make_file(
            "a.jsonl", '{"text": "q w", "label": ["b", "a"]}\n{"text": "e r", "label": "b"}\n{"text": "t y", "label": []}\n'
        ),
        make_parquet({"text": ["q w", "e r", "t y"], "label": [["b", "a"], ["b"], []]}),
    ]
    for path in paths:
        table = read(path, delimiter="|")
        assert (table.task, table.names, table.labels.tolist()) == ("multilabel", ("a", "b"), [[1, 1], [0, 1], [0, 0]])
        assert "label is empty in 1 rows: taken as none of the labels" in table.notices
        with pytest.raises(ConfigError, match="several labels each; that is multilabel"):
            read(path, delimiter="|", task="classification")
    assert any("--label-delimiter '|'" in line for line in read(make_file("a.csv", "text,label\nq w,a|b\ne r,b|c\n")).notices)
    with pytest.raises(ConfigError, match="each row has one label; multilabel takes several columns"):
        read(make_file("a.csv", REVIEWS), task="multilabel")
    refused(make_file("a.jsonl", '{"text": "q w", "label": ["x", "x"]}\n'), "label has 'x' twice; give each label once")
    table = read(make_file("a.jsonl", '{"text": "q w", "label": [0, 1, 0]}\n{"text": "q r", "label": [0, 1, 1]}\n'))
    assert (table.task, table.names, table.labels.tolist()) == ("multilabel", ("0", "1", "2"), [[0, 1, 0], [0, 1, 1]])


def test_classes_of_the_datasets_library_have_their_names(make_parquet):
    import pyarrow

    known = {"names": ["neg", "pos"], "_type": "ClassLabel"}  # as `datasets.Dataset.to_parquet` writes them
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": known, "tags": {"feature": known, "_type": "List"}}
    table = pyarrow.table({"text": ["a b", "c d", "e f"], "label": [1, 0, -1], "tags": [[0, 1], [], [1]]})
    path = make_parquet(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}))
    with pytest.raises(ConfigError, match="--label label or --label tags"):
        read(path)
    assert read(path, label=("tags",)).labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    found = left_out(path, "row 3: label is empty", label=("label",))
    assert (found.names, found.labels.tolist()) == (("neg", "pos"), [1, 0])
    path = make_parquet(table.replace_schema_metadata({"huggingface": "{}"}))
    assert read(path, label=("label",)).names == ("0", "1", "-1")


def test_unknown_task(make_file):
    with pytest.raises(UnknownName, match="no task 'regresion'; did you mean 'regression'"):
        read(make_file("a.csv", REVIEWS), task="regresion")


def test_split_column(make_file):
    path = make_file("a.csv", "text,label,Split\nq w,a,train\ne r,b,Validation\nt y,b, test\nu i,a,dev\n")
    assert read(path).splits.tolist() == ["train", "val", "test", "val"]
    other = make_file("b.csv", "text,label,split\nq w,a,one\ne r,b,two\n")
    assert read(other).splits is None
    left_out(
        make_file("c.csv", "text,label,part\nq w,a,train\ne r,b,val\nt y,b,tset\n"),
        "row 3: part is 'tset', expected train, val or test",
        split="part",
    )


def test_messages_have_one_line_whatever_is_in_the_file(make_file):
    path = make_file("a.csv", '"te\nxt",label\nhello you there,"a\nb"\nhello you there,c\n,c\n')
    table = read(path, text=("te\nxt",), label=("label",), max_unreadable=0.5)
    assert not any("\n" in line for line in (*table.notices, *table.unreadable))
    assert len(table.notices) == 2
    with pytest.raises(ZooError) as caught:
        read(path, text=("text",), label=("label",))
    assert "\n" not in str(caught.value)


def test_many_rows_against_the_csv_module(make_file, tmp_path):
    rng = np.random.default_rng(0)
    words = ["naïve", "a,b", 'a "word"', "two\nlines", "plain", "日本語", "end;", "tab\there"]
    rows = [(" ".join(rng.choice(words, 3)), str(rng.choice(["x", "y", "z"]))) for _ in range(20_000)]
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    table = read(path)
    assert table.inputs[0].tolist() == [text for text, _ in rows]
    assert [table.names[index] for index in table.labels] == [label for _, label in rows]
    distinct, texts = len(set(rows)), len({text for text, _ in rows})
    assert any(f"{len(rows) - distinct:,} rows repeat an earlier one with the same label" in line for line in table.notices)
    assert any(f"{distinct - texts:,} rows repeat the texts" in line for line in table.notices)


def parts(words):
    rows = [f"a text of number {index},{'xy'[index % 2]},{words[index // 2 % len(words)]}" for index in range(24)]
    return "\n".join(["text,label,split", *rows, ""])


def test_a_column_of_splits_with_other_words(make_file):
    table = read(make_file("a.csv", parts(["train", "Training", "dev", "hold-out", "test"])))
    assert sorted(set(table.splits.tolist())) == ["test", "train", "val"]
    assert any("'dev' and 'hold-out' both mean val" in line for line in table.notices)
    refused(make_file("a.csv", parts(["train", "extra"])), "the column 'split' holds 'extra' beside names of sets")
    table = read(make_file("a.csv", parts(["0", "1", "2"])))
    assert table.splits is None
    assert any("the column 'split' is not used, as it holds '0', '1', '2'" in line for line in table.notices)


def test_a_test_set_without_labels_is_left_out(make_file):
    for nothing in ("", "-1"):
        rows = "".join(f"a text of number {index},{nothing},test\n" for index in range(40, 50))
        table = read(make_file("a.csv", parts(["train", "val"]) + rows))
        assert (len(table), table.names, table.unreadable) == (24, ("x", "y"), [])
        assert "test is left out: none of its 10 rows has a label" in table.notices


def test_data_of_one_class_can_be_evaluated(make_file):
    rows = make_file("a.csv", "text,label\n" + "".join(f"a text of number {index},x\n" for index in range(8)))
    samples, _ = open_for_evaluation(rows, Labels(("w", "x")), kind=Kind.TEXT)
    assert samples.targets.tolist() == [1] * 8
    samples, _ = open_for_evaluation([("a text", "x")] * 3, Labels(("w", "x")), kind=Kind.TEXT)
    assert samples.targets.tolist() == [1] * 3
