"""A site of boards: what folders of results hold, as pages that work from a disk."""

from .write import Site, write_site

__all__ = ["Site", "write_site"]
