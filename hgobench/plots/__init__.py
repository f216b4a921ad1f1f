"""Pictures of results, as charts of the one page model: `hgobench.plot`.

`axes` says what an axis can be, `cells` which cells a picture is of and how they are divided into
panels, rows and points; `curves`, `final` and `ranks` draw the kinds; `picture` is what is
returned. Their statistics are those of boards.
"""

from .picture import KINDS, Picture, check, picture, plot

__all__ = ["KINDS", "Picture", "check", "picture", "plot"]
