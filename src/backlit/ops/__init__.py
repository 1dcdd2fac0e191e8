"""What can be computed. One definition per operation, one file per family."""

from . import methods  # noqa: F401
