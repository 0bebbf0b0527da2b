"""The family of errors that a person may see, and the one exception that stops a job.

Each message is a sentence in three parts: what is wrong, what was expected, what to do. Anything that is not
of this family is a bug and keeps its traceback.
"""

from __future__ import annotations


class CTCError(Exception):
    """The base of every error whose message is meant for the person at the window or the terminal."""


class SpecimenError(CTCError, ValueError):
    """A file that cannot be read as one specimen or a stack of them."""


class UnreachableError(SpecimenError):
    """A file that the system did not give just now, such as on a disk that is away: it may be sound."""


class ManifestError(CTCError, ValueError):
    """A table of specimens that cannot be used; the message names the line."""


class JournalError(CTCError):
    """A label that could not be put on the disk, or a step of labelling that is not possible."""


class LockedError(JournalError):
    """A table that another window is labelling; the message says who."""


class SettingsError(CTCError, ValueError):
    """Settings that cannot work, alone or with these specimens."""


class ClassifierError(CTCError, ValueError):
    """A classifier file that cannot be loaded, or a classifier that does not fit these specimens."""


class PredictionsError(CTCError, ValueError):
    """A table of predictions that cannot be read, written or used."""


class TrainingError(CTCError):
    """A training run that went wrong while it ran, with the likely cause."""


class StoppedEarlyError(TrainingError):
    """A training run that a person stopped before there was anything to keep."""


class PlaceError(CTCError):
    """A place where work should run that cannot be reached or used, or that vanished."""


class JobError(CTCError):
    """A computation that failed for a technical reason, such as too little memory."""


class Stopped(Exception):
    """Thrown into a job at its next yield when a person asks it to stop; the job ends with what it has."""
