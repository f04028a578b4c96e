"""Refusals of the pool of numbers."""

from __future__ import annotations

from infra.kit.problems import Conflict, NotFound, TooLarge


class NumberNotInPool(NotFound):
    """The pool does not have this number."""

    code = "number_not_in_pool"


class NumberInQuarantine(Conflict):
    """Another tenant had the number a short while ago: people still call it for them."""

    code = "number_in_quarantine"


class NumberInUse(Conflict):
    """A tenant has the number."""

    code = "number_in_use"


class ImportTooLarge(TooLarge):
    """A file of numbers has more rows than are taken at once."""

    code = "import_too_large"
