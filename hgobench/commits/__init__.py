"""What a project's commits cost and lose: asv, set up for a project of git's that has hgobench."""

from .asv import call
from .gate import Verdict, gate
from .project import Project, project

__all__ = ["Project", "Verdict", "call", "gate", "project"]
