"""Positions: on which line of a TOML document each key stands. The standard library's parser does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KeyPath = tuple[str | int, ...]
"""Where a value stands in the tree: `("targets", 2, "scripts", 0)`."""

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<text>\"{3}(?:\\[\s\S]|[^\\])*?\"{3}(?!\")
             | '{3}[\s\S]*?'{3}(?!')
             | "(?:\\.|[^"\\\n])*"
             | '[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\[\]{}=,.\#"']+)
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END = _Token("newline", "", 0)


def positions(document: str) -> Mapping[KeyPath, int]:
    """Map every table, key and list element of a TOML document to its line, counted from 1.

    The document has to be valid: `tomllib` has read it before. Nothing is read from a broken one.
    """
    return _Walk(document).lines


def _tokens(document: str) -> Iterator[_Token]:
    line = 1
    for found in _TOKEN.finditer(document):
        kind, text = found.lastgroup or "", found[0]
        if kind != "blank":
            yield _Token(kind, text, line)
        line += text.count("\n")


def _unquoted(token: _Token) -> str:
    if token.kind != "text":
        return token.text
    if token.text[0] == "'":
        return token.text[1:-1]
    return _ESCAPE.sub(
        lambda found: (
            chr(int(found[1] or found[2], 16)) if not found[3] else _ESCAPED.get(found[3], found[3])
        ),
        token.text[1:-1],
    )


class _Walk:
    """One walk over the tokens, from the first line to the last."""

    def __init__(self, document: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens = _tokens(document)
        self._token = next(self._tokens, _END)
        self._elements: dict[KeyPath, int] = {}
        table: KeyPath = ()
        while self._token is not _END:
            if self._token.kind == "newline":
                self._advance()
            elif self._token.text == "[" and self._token.kind == "mark":
                table = self._header()
            else:
                self._pair(table)

    def _advance(self) -> _Token:
        token, self._token = self._token, next(self._tokens, _END)
        return token

    def _at(self, mark: str) -> bool:
        return self._token.kind == "mark" and self._token.text == mark

    def _skip(self, *marks: str) -> None:
        while self._token is not _END and (
            self._token.kind == "newline" or (self._token.kind == "mark" and self._token.text in marks)
        ):
            self._advance()

    def _key(self) -> list[str]:
        parts = [_unquoted(self._advance())]
        while self._at("."):
            self._advance()
            parts.append(_unquoted(self._advance()))
        return parts

    def _header(self) -> KeyPath:
        line = self._advance().line
        is_list = self._at("[")
        if is_list:
            self._advance()
        *parents, last = self._key()
        self._skip_line()
        path = self._below((), parents)
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
        path = (*path, last)
        if is_list:
            self.lines.setdefault(path, line)
            self._elements[path] = self._elements.get(path, -1) + 1
        if path in self._elements:
            path = (*path, self._elements[path])
        self.lines.setdefault(path, line)
        return path

    def _below(self, path: KeyPath, parts: list[str]) -> KeyPath:
        """Follow keys down; where a key names a list of tables, its last element is meant."""
        for part in parts:
            path = (*path, part)
            if path in self._elements:
                path = (*path, self._elements[path])
        return path

    def _skip_line(self) -> None:
        while self._token is not _END and self._token.kind != "newline":
            self._advance()

    def _pair(self, table: KeyPath) -> None:
        line = self._token.line
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._advance()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._at("["):
            self._advance()
            self._skip()
            index = 0
            while self._token is not _END and not self._at("]"):
                self.lines[(*path, index)] = self._token.line
                self._value((*path, index))
                self._skip(",")
                index += 1
            self._advance()
        elif self._at("{"):
            self._advance()
            self._skip()
            while self._token is not _END and not self._at("}"):
                self._pair(path)
                self._skip(",")
            self._advance()
        else:
            while (
                self._token is not _END
                and self._token.kind != "newline"
                and not (self._token.kind == "mark" and self._token.text in ",]}")
            ):
                self._advance()
