"""Training by the program, and the module as a program."""

import contextlib
import doctest
import importlib.util
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import fixtures
import twotower
import twotower.__main__ as command


class Training(unittest.TestCase):
    def test_a_run_and_its_progress(self):
        told, out = [], fixtures.scratch() / "told"
        run = twotower.train(fixtures.data(), out, model="history", seed=5, threads=1,
                             set={"epochs": 3, "item_id_embedding_dim": 8, "normalize": True}, progress=told.append)
        self.assertEqual((run.folder, run.epochs, run.monitor), (str(out), 3, "recall@20"))
        self.assertEqual(run.measures["recall@20"], max(p.metrics["valid"]["recall@20"] for p in told if p.metrics))
        self.assertIsNone(run.warning)
        batches = [p for p in told if p.batch]
        self.assertEqual((batches[0].epoch, batches[0].epochs, batches[0].batch), (1, 3, 1))
        self.assertGreater(batches[0].examples_per_second, 0)
        ends = [p for p in told if p.metrics]
        self.assertEqual([(p.epoch, p.metrics["epoch"]) for p in ends], [(1, 1), (2, 2), (3, 3)])
        self.assertAlmostEqual(ends[0].loss, ends[0].metrics["loss"]["total"], places=3)
        self.assertRegex(str(ends[0]), r"^epoch 1  loss \d+\.\d+  recall@20 \(valid\) \d\.\d+  best so far$")
        self.assertIn("normalize = true", (out / "config.toml").read_text())
        with run.open() as model:
            self.assertEqual(model.dimension, 8)
            self.assertEqual(len(model.recommend("u0").ids[0]), 10)

    def test_what_stops_it_leaves_a_run_to_resume(self):
        out = fixtures.scratch() / "stopped"
        settings = dict(model="history", set={"epochs": 4, "item_id_embedding_dim": 8})

        def stop(progress):
            if progress.epoch == 3:
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            twotower.train(fixtures.data(), out, progress=stop, **settings)
        told = []
        run = twotower.train(fixtures.data(), out, resume=True, progress=told.append, **settings)
        self.assertRegex(str(told[0]), r"^resuming after epoch [123]$")
        self.assertEqual((told[0].epoch, run.epochs), (None, 4))

    def test_an_exception_ends_the_program(self):
        script, ended = fixtures.scratch() / "slow", fixtures.scratch() / "ended"
        script.write_text(f"#!/bin/sh\necho a line >&2\nsleep 2\ntouch {ended}\n")
        script.chmod(0o755)

        def fail(line):
            raise ZeroDivisionError(line)

        with mock.patch.dict(os.environ, TWOTOWER_PROGRAM=str(script)):
            with self.assertRaisesRegex(ZeroDivisionError, "a line"):
                twotower.run_program("train", progress=fail)
        self.assertFalse(ended.exists())

    def test_its_mistakes_are_lines(self):
        with self.assertRaises(twotower.ProgramError) as caught:
            twotower.train(fixtures.scratch() / "nowhere", fixtures.scratch() / "out")
        self.assertEqual(caught.exception.exit_status, 2)
        self.assertRegex(str(caught.exception), r"^\[dataset .*nowhere.*\] .*")
        self.assertNotIn("\n", str(caught.exception))
        for wrong in (dict(set={"epohcs": 3}), dict(model="best"), dict(config=fixtures.scratch() / "no.toml"),
                      dict(ranker_pairs=[fixtures.scratch() / "no.csv"]), dict(threads=-1)):
            with self.assertRaises(RuntimeError):
                twotower.train(fixtures.data(), fixtures.scratch() / "out", **wrong)
        self.assertFalse((fixtures.scratch() / "out/bundle.safetensors").exists())

    def test_the_program_is_found_or_missed(self):
        with mock.patch.dict(os.environ, TWOTOWER_PROGRAM="/nowhere/twotower"):
            with self.assertRaisesRegex(twotower.ProgramError, "^.twotower. /nowhere/twotower cannot be started: No"):
                twotower.run_program("--version")
        folder = os.path.dirname(os.environ["TWOTOWER_PROGRAM"])
        with mock.patch.dict(os.environ, TWOTOWER_PROGRAM="", PATH=folder):
            self.assertRegex(twotower.run_program("--version"), r"^\d+\.\d+\.\d+\n$")
        with mock.patch.dict(os.environ, TWOTOWER_PROGRAM="", PATH="/nowhere"):
            with self.assertRaisesRegex(twotower.ProgramError, "not on the PATH; install it .*, or set TWOTOWER_P"):
                twotower.run_program("--version")

    def test_a_program_that_a_signal_ends(self):
        script = fixtures.scratch() / "killed"
        script.write_text("#!/bin/sh\nkill -9 $$\n")
        script.chmod(0o755)
        with mock.patch.dict(os.environ, TWOTOWER_PROGRAM=str(script)):
            with self.assertRaisesRegex(twotower.ProgramError, r"^\[twotower train\] was ended by SIGKILL$") as caught:
                twotower.run_program("train")
        self.assertEqual(caught.exception.exit_status, -9)

    def test_what_it_prints_may_be_large(self):
        users = [text for u in range(fixtures.USERS) for text in ("--user", f"u{u}")]
        printed = twotower.run_program("retrieve", "--run", fixtures.run().folder, "--json", "-k", 100, *users)
        self.assertGreater(len(printed), 1 << 17)  # more than a pipe holds


class Command(unittest.TestCase):
    def said(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command.main([str(argument) for argument in arguments])
        return status, out.getvalue(), err.getvalue()

    def test_demo_and_what_the_documents_say_of_it(self):
        source = pathlib.Path(os.environ["TWOTOWER_SOURCE"])
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            done = subprocess.run([sys.executable, "-m", "twotower", "demo", "--out", "demo"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"^u0(\ti\d+ -?\d\.\d{3}){5}\n")
            self.assertEqual(len(done.stdout.splitlines()), 4)
            self.assertIn("epoch 3  loss", done.stderr)
            for document in ("README.md", "docs/python.md"):
                failed, tried = doctest.testfile(str(source / document), module_relative=False,
                                                 optionflags=doctest.ELLIPSIS)
                self.assertEqual(failed, 0)
                self.assertGreater(tried, 2)

    def test_recommend(self):
        status, out, _ = self.said("recommend", fixtures.bundle(), "u0", "u1", "-k", 2)
        self.assertEqual(status, 0)
        self.assertRegex(out, r"^u0(\tThe \d+th -?\d\.\d{3}){2}\nu1(\tThe \d+th -?\d\.\d{3}){2}\n$")
        status, out, err = self.said("recommend", fixtures.bundle(), "who")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))


class Package(unittest.TestCase):
    @unittest.skipUnless(all(map(importlib.util.find_spec, ("pip", "setuptools", "wheel"))), "there is no pip")
    def test_pip_installs_it(self):
        scratch = fixtures.scratch()
        shutil.copytree(pathlib.Path(os.environ["TWOTOWER_SOURCE"]) / "models/retrieval/python", scratch / "source")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
                        "--no-index", "--disable-pip-version-check", "--root-user-action=ignore", "--target",
                        scratch / "site", scratch / "source"],
                       check=True)
        names = lambda folder: {path.name for path in folder.iterdir() if path.suffix in (".py", ".typed")}
        self.assertEqual(names(scratch / "site/twotower"), names(scratch / "source/twotower"))
        code = "import sys, twotower; print(twotower.__file__, twotower.open(sys.argv[1]).recommend('u0', k=1).ids[0])"
        done = subprocess.run([sys.executable, "-c", code, fixtures.bundle()], text=True, check=True, cwd=scratch,
                              stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(scratch / "site")})
        self.assertRegex(done.stdout, rf"^{re.escape(str(scratch))}/site/twotower/__init__\.py \['i\d+'\]\n$")


if __name__ == "__main__":
    unittest.main()
