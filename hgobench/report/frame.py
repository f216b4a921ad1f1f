"""The frame of every page: one file with its style, pictures and data inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

from .writers import html as escape

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; }
.note { border-left: 4px solid #b58900; padding: .25rem 1rem; background: #fdf6e3; }
.wide { overflow-x: auto; }
.yes { color: #1a7f37; } .no { color: #b42318; }
details { margin: 1rem 0; } code, pre { font-size: .85rem; } pre { overflow-x: auto; }
footer { color: #666; font-size: .85rem; margin-top: 3rem; }
"""


def html(title: str, body: str) -> str:
    """Return a page."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}: hgobench</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>{escape(title)}</h1>{body}</body></html>
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    """Return a table; `numbers` says which columns are numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="number"' if number else "" for number in numbers]
        each = zip(cells, kinds, strict=True)
        return "<tr>" + "".join(f"<{tag}{kind}>{escape(c)}</{tag}>" for c, kind in each) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><thead>{row(header, 'th')}</thead><tbody>{body}</tbody></table>"


def download(name: str, text: str, label: str) -> str:
    """Return a link to a file that is inside the page."""
    data = base64.b64encode(text.encode()).decode()
    return f'<a download="{escape(name)}" href="data:text/csv;base64,{data}">{escape(label)}</a>'


def svg(draw: Callable[[], Any], name: str) -> str:
    """Return what draws a matplotlib figure as SVG without its XML header, the same every time."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        draw().savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
