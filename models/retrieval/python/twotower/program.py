"""Training, by the program twotower."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union

from ._library import installed
from .errors import ProgramError
from .model import Log, Model

Path = Union[str, "os.PathLike[str]"]


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the program said just now. What it did not say is None."""

    text: str  #: its line; str() of a Progress is this, so that progress=print does
    epoch: int | None = None
    epochs: int | None = None
    batch: int | None = None
    batches: int | None = None
    loss: float | None = None
    examples_per_second: float | None = None
    #: At an epoch's end, its line of metrics.jsonl: steps, seconds, loss, and under "valid" what it measured.
    metrics: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run's folder, and what its training came to."""

    folder: str
    epochs: int
    best_epoch: int
    steps: int
    seconds: float
    parameters: int
    loss: float
    monitor: str  #: what picked the best epoch
    measures: Mapping[str, Any]  #: of the best epoch, on the validation split
    warning: str | None

    @property
    def bundle(self) -> str:
        """The path of what serves."""
        return os.path.join(self.folder, "bundle.safetensors")

    def open(self, *, verify: bool = False, threads: int = 1, log: Log | None = None) -> Model:
        """The bundle, opened as twotower.open() does."""
        return Model(self.bundle, verify=verify, threads=threads, log=log)


def _program() -> str:
    given = os.environ.get("TWOTOWER_PROGRAM")
    if given:
        return given
    found = installed("bin/twotower") or shutil.which("twotower")
    if not found:
        raise ProgramError("[twotower] the program is not on the PATH; install it (meson install), or set "
                           "TWOTOWER_PROGRAM to it")
    return found


def _text(argument: object) -> str:
    return os.fsdecode(argument) if isinstance(argument, os.PathLike) else str(argument)


def run_program(*arguments: object, progress: Callable[[str], object] | None = None) -> str:
    """Runs `twotower ARGUMENTS` and returns what it prints: run_program("import", "recbole", "--inter", path, ...).

    The program is TWOTOWER_PROGRAM, the one that was installed with this package, or the one on the PATH. progress gets
    each line that it tells on the way; an exception there, or Ctrl-C, ends it. Raises ProgramError with the line that
    it ends on.
    """
    command = [_program(), *map(_text, arguments)]
    last = ""
    with tempfile.TemporaryFile() as printed:  # a pipe that nobody reads meanwhile could be full
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.PIPE,
                                       text=True, encoding="utf-8", errors="replace")
        except OSError as error:
            raise ProgramError(f"[twotower] {command[0]} cannot be started: {error.strerror}; set TWOTOWER_PROGRAM to "
                               "the program") from None
        with process:
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    line = line.rstrip("\n")
                    last = line or last
                    if progress is not None:
                        progress(line)
                process.wait()
            except BaseException:
                process.terminate()
                raise
        if process.returncode < 0:
            last = f"[twotower {_text(arguments[0]) if arguments else ''}] was ended by " \
                   f"{signal.Signals(-process.returncode).name}"
        if process.returncode != 0:
            raise ProgramError(last, process.returncode)
        printed.seek(0)
        return printed.read().decode("utf-8", "replace")


def simulate(out: Path, **options: object) -> str:
    """Makes a dataset whose truth is known: simulate("data", users=500, items=300). Returns its folder.

    options are those of `twotower simulate --help`, with _ for -.
    """
    flags = [text for name, value in options.items() for text in ("--" + name.replace("_", "-"), _text(value))]
    run_program("simulate", "--out", out, *flags)
    return _text(out)


_BATCH = re.compile(r"epoch (\d+)/(\d+)  batch (\d+)/(\d+)  loss (\S+)  (\S+) examples/s")
_EPOCH = re.compile(r"epoch (\d+)  loss (\S+)")


def _read(line: str, out: str) -> Progress:
    found = _BATCH.match(line)
    if found:
        epoch, epochs, batch, batches = map(int, found.groups()[:4])
        return Progress(line, epoch, epochs, batch, batches, float(found[5]), float(found[6]))
    found = _EPOCH.match(line)
    if not found:
        return Progress(line)
    metrics = None
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as lines:  # written before the line is told
        for record in map(json.loads, lines):
            if record["epoch"] == int(found[1]):
                metrics = record
    return Progress(line, epoch=int(found[1]), loss=float(found[2]), metrics=metrics)


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_setting, value)) + "]"
    return str(value)


def train(data: Path, out: Path, *, model: str = "base", config: Path | None = None,
          set: Mapping[str, object] | None = None, seed: int | None = None, threads: int | None = None,
          ranker_pairs: Iterable[Path] = (), resume: bool = False,
          progress: Callable[[Progress], object] | None = None) -> Run:
    """Trains a model on a dataset's folder, into the folder `out`, by `twotower train`.

    model: a rung of the ladder, "base" to "aligned". config: a TOML file. set: keys on top of it, such as
    {"epochs": 3, "learning_rate": 0.002}. progress: called with a Progress each time the program says something: at
    each epoch's end, and every 15 s on the way. resume: go on from the last checkpoint in `out`. Raises ProgramError
    with the program's line, and passes on what progress raises; resume=True goes on from there, too.
    """
    arguments: list[object] = ["train", "--json", "--data", data, "--out", out, "--model", model]
    if config is not None:
        arguments += ["--config", config]
    for key, value in (set or {}).items():
        arguments += ["--set", f"{key}={_setting(value)}"]
    if seed is not None:
        arguments += ["--seed", seed]
    if threads is not None:
        arguments += ["--threads", threads]
    for pairs in ranker_pairs:
        arguments += ["--ranker-pairs", pairs]
    if resume:
        arguments.append("--resume")
    folder = _text(out)
    tell = None if progress is None else lambda line: progress(_read(line, folder))
    done = json.loads(run_program(*arguments, progress=tell))
    return Run(folder, done["epochs"], done["best_epoch"], done["steps"], done["seconds"], done["parameters"],
               done["loss"], done["monitor"], done["valid"], done.get("warning"))
