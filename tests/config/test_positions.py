from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.config.positions import KeyPath, positions

DOCUMENT = '''\
top = 1
"quoted key" = { inner = 2, deep = { x = [1,
  { y = 3 }] } }

[a]                     # [not.a.table]
b.c = "text with ] and # and = in it"
text = """
[[targets]]
fake = 1
"""
literal = \'\'\'
'quoted' = \'\'\'
date = 1979-05-27 07:32:00
list = [
  "one",  # a comment, with "quotes"
  'two',

  """th
ree""", 4.5,
]

[[targets]]
name = "first"
[[targets]]
scripts = ["api",
  "web"]
[targets.sub]
z = 1
[[targets.list]]
w = 1
[[targets.list]]
w = 2
["a.b".'c d']
\\u0065 = 0
'''.replace("\\u0065", '"\\u0065"')


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("quoted key",), 2),
        (("quoted key", "inner"), 2),
        (("quoted key", "deep", "x", 0), 2),
        (("quoted key", "deep", "x", 1, "y"), 3),
        (("a",), 5),
        (("a", "b"), 6),
        (("a", "b", "c"), 6),
        (("a", "text"), 7),
        (("a", "literal"), 11),
        (("a", "date"), 13),
        (("a", "list"), 14),
        (("a", "list", 0), 15),
        (("a", "list", 1), 16),
        (("a", "list", 2), 18),
        (("a", "list", 3), 19),
        (("targets",), 22),
        (("targets", 0), 22),
        (("targets", 0, "name"), 23),
        (("targets", 1), 24),
        (("targets", 1, "scripts", 0), 25),
        (("targets", 1, "scripts", 1), 26),
        (("targets", 1, "sub"), 27),
        (("targets", 1, "sub", "z"), 28),
        (("targets", 1, "list", 0, "w"), 30),
        (("targets", 1, "list", 1), 31),
        (("targets", 1, "list", 1, "w"), 32),
        (("a.b", "c d"), 33),
        (("a.b", "c d", "e"), 34),
    ],
)
def test_knows_the_line_of_every_key(path: KeyPath, line: int) -> None:
    assert positions(DOCUMENT)[path] == line


def every_path(value: object, path: KeyPath = ()) -> set[KeyPath]:
    paths = {path} if path else set()
    if isinstance(value, dict):
        return paths.union(*(every_path(inner, (*path, key)) for key, inner in value.items()))
    if isinstance(value, list):
        return paths.union(*(every_path(inner, (*path, index)) for index, inner in enumerate(value)))
    return paths


def test_finds_exactly_the_keys_that_the_parser_finds() -> None:
    assert positions(DOCUMENT).keys() == every_path(tomllib.loads(DOCUMENT))


def test_windows_line_ends_change_nothing() -> None:
    assert positions(DOCUMENT.replace("\n", "\r\n")) == positions(DOCUMENT)


SCALARS = st.sampled_from(
    ["1", "-2.5", "true", '"x"', "'#]'", '"""a\n[b]"""', "1979-05-27T07:32:00Z", "[]", "{}", '"\\""']
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # c\n".join(items) + "\n]"),
    max_leaves=6,
)
TABLES = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.sampled_from("klmn"), VALUES, max_size=3)), max_size=4
)


@given(TABLES)
def test_never_loses_the_thread_in_valid_documents(tables: list[tuple[bool, dict[str, str]]]) -> None:
    blocks = []
    for index, (is_list, pairs) in enumerate(tables):
        blocks.append("[[many]]" if is_list else f"[one.t{index}]")
        blocks += [f"{key} = {value}" for key, value in pairs.items()]
    document = "\n".join(blocks)
    found = positions(document)
    assert found.keys() == every_path(tomllib.loads(document))
    lines = document.split("\n")
    for path, line in found.items():
        if isinstance(path[-1], str) and path[-1] in "klmn":
            assert lines[line - 1].startswith(f"{path[-1]} =")
