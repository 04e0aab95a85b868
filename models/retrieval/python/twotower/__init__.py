"""Two-tower retrieval: bundles served in this process by libtwotower-c, models trained by the program twotower.

    import twotower

    with twotower.open("bundle.safetensors") as model:
        for hit in model.recommend("196", k=10, where={"genre": ["Drama"]})[0]:
            print(hit.id, hit.score, hit.title)
"""

from .errors import (ArgumentError, BusyError, CorruptError, Error, ExistsError, FileError, FileMissingError,
                     HandleError, InternalError, LibraryError, NotFoundError, OutOfMemoryError, ProgramError, Status,
                     UnsupportedError)
from .inputs import Item, User
from .model import Info, Model, open
from .program import Progress, Run, run_program, simulate, train
from .results import Hit, Results
from .searching import Filter, Session

__version__ = "0.1.0"

__all__ = ["ArgumentError", "BusyError", "CorruptError", "Error", "ExistsError", "FileError", "FileMissingError",
           "Filter", "HandleError", "Hit", "Info", "InternalError", "Item", "LibraryError", "Model", "NotFoundError",
           "OutOfMemoryError", "ProgramError", "Progress", "Results", "Run", "Session", "Status", "UnsupportedError",
           "User", "open", "run_program", "simulate", "train"]
