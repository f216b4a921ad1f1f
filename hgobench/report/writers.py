"""Text in each format, escaped: whatever a name contains, it is shown as text.

Names come from plug-ins, suites and stores of any source. Every cell, heading and note that users
see goes through here. First, characters that a terminal or an editor would act on instead of
showing (control characters, line ends, escape sequences, marks that change the direction of text)
are written as in a Python string: ``\\x1b``, ``\\n``, ``\\u202e``. Then each format escapes the
characters with a meaning in it. JSON has rules of its own.
"""

from __future__ import annotations

import csv
import html as _html
import io
import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from types import MappingProxyType
from typing import Literal

from rich.cells import cell_len
from tabulate import tabulate

Form = Literal["table", "markdown", "latex"]

WIDE = "--wide shows all"
LEAST = 20  # characters of a wrapped column; if one would be narrower, rows are stacked


class Written(str):
    """A text that is written in its format already, and not escaped again."""

    __slots__ = ()


def visible(text: object) -> str:
    """Return a text in one line, with unprintable characters as in a Python string.

    >>> print(visible("a\\x1b[31m\\nb"))
    a\\x1b[31m\\nb
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def lines(text: object) -> str:
    """Return a text as `visible` does, with its line ends kept."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


_MARKDOWN = re.compile(
    r"""[\\`|$]            # escapes, code, the next cell, formulas
    |[*~](?=\S)            # emphasis and deleted text: never opened before a space
    |(?<![^\W_])_          # emphasis: never opened within a word
    |\](?=[\[(:])          # the end of a link's text
    |<(?=[A-Za-z/!?])      # a tag
    |&(?=\#?\w+;)          # an entity""",
    re.VERBOSE,
)


def markdown(text: object) -> str:
    """Return a text escaped for Markdown, for a cell or a heading.

    >>> print(markdown("a|b <img> `c`"))
    a\\|b \\<img> \\`c\\`
    """
    if isinstance(text, Written):
        return text
    return _MARKDOWN.sub(r"\\\g<0>", visible(text))


def paragraph(text: object) -> str:
    """Return a text as a paragraph of Markdown: it begins no heading, list or rule."""
    escaped = re.sub(r"^(\s*)([#*+\-=>])", r"\1\\\2", markdown(text))
    return re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)


def code(text: object) -> str:
    """Return a text as a Markdown code span."""
    shown = visible(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence, space = "`" * (longest + 1), " " * ("`" in shown[:1] + shown[-1:])
    return f"{fence}{space}{shown}{space}{fence}"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    '"': r'\string"',  # with babel it may be a command
}  # fmt: skip


def latex(text: object) -> str:
    """Return a text escaped for LaTeX.

    >>> print(latex("50 % of $x_1$"))
    50 \\% of \\$x\\_1\\$
    """
    if isinstance(text, Written):
        return text
    return "".join(_LATEX.get(c, c) for c in visible(text)).replace("--", "-{}-")


def comment(text: object) -> str:
    """Return a text as a LaTeX comment, in one line."""
    return f"% {visible(text)}"


def html(text: object) -> str:
    """Return a text escaped for HTML, for an element or a quoted attribute."""
    return _html.escape(visible(text))


def json_text(data: object) -> str:
    """Return data as JSON in one line that is the same text in a script of a page.

    >>> print(json_text({"rule": "</script>"}))
    {"rule":"\\u003c/script\\u003e"}
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def script(function: str, *data: object) -> str:
    """Return a script that calls a function with data, which stays data whatever it contains.

    >>> print(script("hgobench.data", "a.js", ["<b>"]), end="")
    hgobench.data("a.js",["\\u003cb\\u003e"]);
    """
    return f"{function}({','.join(map(json_text, data))});\n"


def plotted(text: object) -> str:
    """Return a text escaped for matplotlib: no formulas, and no label that a legend leaves out."""
    shown = visible(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV, a line each; None is an empty field, numbers have all their digits.

    Spreadsheets take a field that begins with one of ``= + - @`` for a formula; such text, unless
    it is a number, gets an apostrophe before it.

    >>> csv_text([["=cmd()", "-1.5", -1.5]])
    "'=cmd(),-1.5,-1.5\\n"
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_field(cell) for cell in row] for row in rows)
    return out.getvalue()


def _field(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = visible(cell)
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@＝＋－＠") and not _number(text) else text


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Layout:
    """How a table of text is fitted to a terminal.

    A table that is wider than the terminal loses columns from the right, as far as `wrap`. If those
    are still too wide, text is wrapped, in columns of at least `LEAST` characters; if that is not
    enough, further columns are left out, as far as `keep`; and if that is not, the rows are
    stacked, with a line per cell.

    Attributes:
        width: columns of the terminal; None: unlimited.
        keep: number of columns, from the left, that are never left out; None: all.
        wrap: number of columns, from the left, whose text is wrapped before one of them is left
            out; None: `keep`.
        hint: how to see all; it follows the names of the columns that are left out.
    """

    width: int | None = None
    keep: int | None = None
    hint: str = WIDE
    wrap: int | None = None

    def text(self, text: object) -> str:
        """Return a line of text, folded if it is wider; its further lines are indented."""
        return "\n".join(folded(visible(text), self.width, indent="  "))


UNLIMITED = Layout()


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    form: Form = "table",
    *,
    right: Collection[int] = (),
    layout: Layout = UNLIMITED,
    most: Mapping[int, int] = MappingProxyType({}),
) -> str:
    """Write a table.

    Args:
        header: the columns' names.
        rows: their cells; None: empty.
        form: text for a terminal, Markdown or LaTeX (booktabs).
        right: positions of the columns that are aligned to the right: numbers.
        layout: the width of a table of text.
        most: column to its maximum width in a table of text, in characters.
    """
    names = [str(name) for name in header]
    cells = [
        ["" if cell is None else cell if isinstance(cell, Written) else str(cell) for cell in row]
        for row in rows
    ]
    align = ["right" if i in right else "left" for i in range(len(names))]
    if form == "latex":
        return _latex_table(names, cells, align)
    if form == "markdown":
        return _markdown_table(names, cells, align)
    return _fitted(names, cells, align, layout, most)


def _markdown_table(names: list[str], cells: list[list[str]], align: list[str]) -> str:
    return str(
        tabulate(
            [list(map(markdown, row)) for row in cells],
            list(map(markdown, names)),
            tablefmt="github",
            disable_numparse=True,
            colalign=align if cells else None,
        )
    )


def _text_table(
    names: list[list[str]], cells: list[list[list[str]]], align: list[str], widths: list[int]
) -> str:
    """Write a table whose cells are lists of lines; a character may take two columns."""

    def row(texts: list[list[str]]) -> list[str]:
        lines = []
        for fragments in zip_longest(*texts, fillvalue=""):
            padded = [
                " " * (wide - cell_len(text)) + text
                if side == "right"
                else text + " " * (wide - cell_len(text))
                for text, side, wide in zip(fragments, align, widths, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        return lines

    rule = "  ".join("-" * wide for wide in widths)
    return "\n".join([*row(names), rule, *(line for texts in cells for line in row(texts))])


def _latex_table(names: list[str], cells: list[list[str]], align: list[str]) -> str:
    def line(row: list[str]) -> str:
        text = " & ".join(map(latex, row))
        return ("{}" if text[:1] in ("[", "*") else "") + text + r" \\"  # no option of \\ before

    columns = "".join(side[0] for side in align)
    body = [r"\midrule", *map(line, cells)] if cells else []
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(names),
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _fitted(
    names: list[str],
    cells: list[list[str]],
    align: list[str],
    layout: Layout,
    most: Mapping[int, int],
) -> str:
    names = [visible(name) for name in names]
    cells = [[visible(cell) for cell in row] for row in cells]
    widths = [
        min(max(map(cell_len, column)), most.get(i, sys.maxsize))
        for i, column in enumerate(zip(names, *cells, strict=True))
    ]
    width = layout.width or sys.maxsize
    count = len(names)
    keep = count if layout.keep is None else min(layout.keep, count)
    wrap = keep if layout.wrap is None else max(keep, min(layout.wrap, count))
    whole = (n for n in range(count, wrap, -1) if _total(widths[:n]) <= width)
    counts = range(next(whole, wrap), keep - 1, -1)
    wrapping = (n for n in counts if _wrapped_widths(widths[:n], align[:n], width))
    count = next(wrapping, wrap)  # if none, a row is stacked, and has room for `wrap` of them
    left_out = names[count:]
    names, align, widths = names[:count], align[:count], widths[:count]
    cells = [row[:count] for row in cells]
    wrapped = _wrapped_widths(widths, align, width)
    if wrapped is None:
        shown = stacked(names, cells, width)
    else:

        def row(texts: list[str]) -> list[list[str]]:
            pairs = zip(texts, wrapped, strict=True)
            return [folded(text, wide) for text, wide in pairs]

        shown = _text_table(row(names), [row(texts) for texts in cells], align, wrapped)
    if not left_out:
        return shown
    many = f"{len(left_out)} column{'s' * (len(left_out) > 1)} left out"
    note = f"{many} ({', '.join(left_out)}); {layout.hint}"
    return "\n".join([shown, *folded(note, width)])


def fits(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None) -> bool:
    """Return whether a table of text fits into a width; None: any width."""
    if width is None:
        return True
    widths = [max(cell_len(visible(c)) for c in col) for col in zip(header, *rows, strict=True)]
    return _total(widths) <= width


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _wrapped_widths(widths: list[int], align: list[str], width: int) -> list[int] | None:
    """Return the widths with columns of text cut to one maximum; None: that would be too narrow."""
    if _total(widths) <= width:
        return widths
    text = [wide for wide, side in zip(widths, align, strict=True) if side == "left"]
    room = width - _total(widths) + sum(text)
    for maximum in range(min(room, max(text, default=0)), LEAST - 1, -1):
        if sum(min(wide, maximum) for wide in text) <= room:
            return [
                min(wide, maximum) if side == "left" else wide
                for wide, side in zip(widths, align, strict=True)
            ]
    return None


def stacked(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> str:
    """Return a table with a line per cell: the first names its row, the others are below it."""
    blocks = []
    for first, *further in cells:
        block = folded(first, width)
        for name, cell in zip(names[1:], further, strict=True):
            if cell:
                line = f"{name}: {cell}" if name else cell
                block += folded(f"  {line}", width, indent="    ")
        blocks.append("\n".join(block))
    return "\n".join(blocks)


def folded(text: str, width: int | None, indent: str = "") -> list[str]:
    """Return a text in lines of at most `width` columns; all lines but the first are indented."""
    if width is None or cell_len(text) <= width:
        return [text]
    wide = cell_len(text) > len(text)  # characters of two columns: as if all were
    maximum = max(width // 2 if wide else width, len(indent) + 1)
    return wrap(
        text, maximum, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False
    ) or [""]
