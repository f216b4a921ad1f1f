"""The laws that components of every kind obey, for this project's and for your own.

    hgobench test mypkg.mymod:MyRule

or, in a test suite of your own::

    from hgobench.testing import check
    check("mypkg.mymod:MyRule")

says which kind it is and checks the laws of that kind, one module each. A component whose
definition contradicts a law says so in its `exempt`: a mapping from the law's name to the reason.
"""

from .attacks import view
from .kinds import KINDS, Kind, check, kind_of, try_named
from .laws import Verdict

__all__ = ["KINDS", "Kind", "Verdict", "check", "kind_of", "try_named", "view"]
