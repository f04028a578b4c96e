"""Refusals of papers. What is wrong with a file says where in it (`offset_bytes`), as far as there is one place."""

from __future__ import annotations

from infra.kit.problems import Conflict, Forbidden, InvalidInput, NotFound, TooLarge, Unexpected


class PaperUnknown(NotFound):
    """There is no such paper for this caller."""

    code = "paper_not_found"


class PaperTooLarge(TooLarge):
    """The file is longer than a paper may be."""

    code = "paper_too_large"


class PaperUnreadable(InvalidInput):
    """The file is none of the kinds that papers come in: an executable, an archive, a text."""

    code = "paper_type_refused"
    title = "A paper is a PDF, a PNG or a JPEG"


class PaperTypeDiffers(InvalidInput):
    """The file is of another type than its sender says."""

    code = "paper_type_differs"


class PaperDamaged(InvalidInput):
    """The file begins like a paper but does not hold together."""

    code = "paper_damaged"


class PaperAmbiguous(InvalidInput):
    """The file is something else as well: another reader would take it for an archive, a page, a program."""

    code = "paper_polyglot"


class PaperSwells(InvalidInput):
    """The file unpacks to far more than a scanned page has."""

    code = "paper_decompression_bomb"


class PaperActs(InvalidInput):
    """A PDF that runs scripts, starts programs or carries files."""

    code = "paper_active_content"


class PaperLocked(InvalidInput):
    """A PDF with a password cannot be reviewed."""

    code = "paper_encrypted"


class PaperRefused(InvalidInput):
    """What is said of a paper is not acceptable; `field` names it."""

    code = "paper_refused"


class PaperDecided(Conflict):
    """The paper was accepted, refused or withdrawn already."""

    code = "paper_decided"


class PaperErased(Conflict):
    """The file was erased; only what it was is known."""

    code = "paper_erased"


class LinkRefused(Forbidden):
    """The link has expired, or is none of ours."""

    code = "paper_link_refused"
    title = "This link opens nothing"


class PaperLost(Unexpected):
    """The storage does not have the file, or has something else in its place."""

    code = "paper_lost"
