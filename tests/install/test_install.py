"""The installed libraries, as projects that embed them use them.

test_install.py SOURCE BUILD COMPILER onednn|"no onednn" INTERNAL_HEADERS [UNITTEST'S ARGUMENTS]

The build is installed once, under a scratch folder whose path nobody has been told: packages must find their own place.
"""

import concurrent.futures
import fnmatch
import glob
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
COMPILER = sys.argv[3].split() + ["-std=c++20"]
HAS_ONEDNN = sys.argv[4] == "onednn"
INTERNAL = sys.argv[5]
EXAMPLES = SOURCE / "docs/examples"
LIBRARIES = ("twotower", "twotower-train")
os.environ.pop("MALLOC_PERTURB_", None)  # Meson's, for the programs that it tests; it slows compilers down
scratch = None  # a folder for all that follows
prefix = libdir = None
expected = None  # what train_and_serve says of user u0: a line an item


def run(*command, env=None, cwd=None, check=True):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **(env or {})}, cwd=cwd)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\nexit status {done.returncode}\n{done.stdout}")
    return done.stdout


def flags(*arguments):
    return run("pkg-config", *arguments, env={"PKG_CONFIG_PATH": libdir / "pkgconfig"}).split()


def items(served):
    return [line.split("\t")[:2] for line in served.splitlines()]


def served_by(program):
    return items(run(program, scratch / "world/run/bundle.safetensors", "--user", "u0",
                     env={"LD_LIBRARY_PATH": libdir}))


def setUpModule():
    global scratch, prefix, libdir, expected
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="twotower_install_"))
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", scratch / "root")
    libdir = next((scratch / "root").rglob("libtwotower.a")).parent
    prefix = next((scratch / "root").rglob("include/twotower")).parents[1]
    program = scratch / "train_and_serve"
    run(*COMPILER, EXAMPLES / "train_and_serve.cc", *flags("--cflags", "--libs", "twotower-train"), "-o", program)
    (scratch / "world").mkdir()
    out = run(program, scratch / "world", env={"LD_LIBRARY_PATH": libdir})
    expected = [line for line in items(out) if len(line) == 2][-10:]


def tearDownModule():
    shutil.rmtree(scratch)


class Headers(unittest.TestCase):
    def test_each_is_public_or_known_to_be_internal(self):
        lines = [line for line in pathlib.Path(INTERNAL).read_text().splitlines() if not line.startswith("#")]
        internal = lambda name: any(fnmatch.fnmatch(name, pattern) for pattern in lines)
        for room in ("tensor", "autograd", "layers", "models", "train"):
            for path in (SOURCE / room).rglob("*.h"):
                name = path.relative_to(SOURCE).as_posix()
                installed = (prefix / "include/twotower" / name).exists()
                self.assertNotEqual(installed, internal(name), f"{name}: install it, or list it in {INTERNAL}")

    @unittest.skipUnless(HAS_ONEDNN, "the headers are the same; the build with oneDNN compiles them")
    def test_each_compiles_alone(self):
        include = prefix / "include"
        headers = sorted(path.relative_to(include) for path in include.rglob("*.h"))
        self.assertGreater(len(headers), 100)

        def compile_one(header):
            return run(*COMPILER, "-fsyntax-only", "-Wall", "-Wextra", "-Wno-psabi", "-Werror", "-I", include, "-include", header,
                       "-x", "c++", "/dev/null", check=False)

        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for header, said in zip(headers, pool.map(compile_one, headers)):
                self.assertEqual(said, "", header)


class Libraries(unittest.TestCase):
    def dynamic(self, name, tag):
        return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "-d", libdir / f"lib{name}.so"))

    def test_they_have_names_with_a_version(self):
        for name in LIBRARIES:
            [soname] = self.dynamic(name, "SONAME")
            self.assertRegex(soname, rf"^lib{name}\.so\.\d+$")
            self.assertTrue((libdir / soname).exists())

    def test_serving_needs_nothing_of_training(self):
        needed = " ".join(self.dynamic("twotower", "NEEDED"))
        self.assertIn("libc.so", needed)
        for library in ("csv", "toml", "train"):
            self.assertNotIn(library, needed)

    def test_they_export_our_names_alone(self):
        for name in LIBRARIES:
            lines = run("nm", "-D", "--defined-only", libdir / f"lib{name}.so").splitlines()
            symbols = [line.split()[-1].split("@")[0] for line in lines]
            self.assertGreater(len(symbols), 100)
            own = re.compile(r"_Z(T[ISVT]|Th\w+_|Tv\w+_)?N[KOR]*2tt|tt_|TWOTOWER_\d+$")
            self.assertEqual([s for s in symbols if not own.match(s)], [], name)
            # Kernels of one instruction set are reached through their dispatching side alone.
            self.assertEqual([s for s in symbols if re.search(r"2tt7kernels(6scalar|4avx2|6avx512)", s)], [], name)


class Consumers(unittest.TestCase):
    def test_train_and_serve(self):
        self.assertEqual(len(expected), 10)

    def test_plain_line(self):
        run(*COMPILER, EXAMPLES / "serve.cc", *flags("--cflags", "--libs", "twotower"), "-o", scratch / "plain")
        self.assertEqual(served_by(scratch / "plain"), expected)
        self.assertIn("libtwotower.so", run("ldd", scratch / "plain"))

    def test_plain_line_static(self):
        link = ["-Wl,--gc-sections", *flags("--static", "--cflags", "--libs", "twotower")]
        if HAS_ONEDNN:  # Debian has no static one, so that the library alone is taken as an archive
            link = ["-l:libtwotower.a" if flag == "-ltwotower" else flag for flag in link]
        else:
            link.append("-static")
        run(*COMPILER, EXAMPLES / "serve.cc", *link, "-o", scratch / "static")
        self.assertEqual(served_by(scratch / "static"), expected)
        self.assertNotIn("libtwotower", run("ldd", scratch / "static", check=False))

    def test_c(self):
        c = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", EXAMPLES / "serve.c"]
        run(*c, *flags("--cflags", "--libs", "twotower-c"), "-o", scratch / "serve_c")
        self.assertEqual(served_by(scratch / "serve_c"), expected)
        self.assertRegex(run("readelf", "-d", scratch / "serve_c"), r"NEEDED.*libtwotower-c\.so\.0")
        link = flags("--static", "--cflags", "--libs", "twotower")
        run(*c, *["-l:libtwotower.a" if flag == "-ltwotower" else flag for flag in link], "-o", scratch / "static_c")
        self.assertEqual(served_by(scratch / "static_c"), expected)
        symbols = run("nm", "-D", "--defined-only", libdir / "libtwotower-c.so").split()[2::3]
        self.assertEqual([s for s in symbols if not re.match(r"tt_\w+@@TWOTOWER_C_0$|TWOTOWER_C_0", s)], [])

    def test_engine_examples(self):
        for name in ("linear_regression", "classifier", "two_towers", "own_op"):
            with self.subTest(name):
                run(*COMPILER, "-O1", EXAMPLES / f"{name}.cc", *flags("--cflags", "--libs", "twotower-train"), "-o",
                    scratch / name)
                run(scratch / name, env={"LD_LIBRARY_PATH": libdir}, cwd=scratch)

    @unittest.skipUnless(shutil.which("cmake"), "there is no cmake")
    def test_cmake(self):
        out = scratch / "cmake"
        run("cmake", "-S", EXAMPLES / "cmake", "-B", out, "-DCMAKE_PREFIX_PATH=" + str(prefix),
            "-DCMAKE_CXX_COMPILER=" + COMPILER[-2])
        run("cmake", "--build", out)
        self.assertEqual(served_by(out / "serve"), expected)
        self.assertEqual(served_by(out / "serve_static"), expected)
        self.assertNotIn("libtwotower", run("ldd", out / "serve_static"))

    @unittest.skipUnless(shutil.which("cmake"), "there is no cmake")
    def test_cmake_of_c_alone(self):
        project = scratch / "cmake_c"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.18)\nproject(p C)\nfind_package(twotower REQUIRED COMPONENTS c)\n"
            f"add_executable(p {EXAMPLES}/serve.c)\ntarget_link_libraries(p twotower::c)\n")
        run("cmake", "-S", project, "-B", project / "b", "-DCMAKE_PREFIX_PATH=" + str(prefix))
        run("cmake", "--build", project / "b")
        self.assertEqual(served_by(project / "b/p"), expected)

    @unittest.skipUnless(shutil.which("cmake"), "there is no cmake")
    def test_cmake_components_and_versions(self):
        def configure(find):
            project = pathlib.Path(tempfile.mkdtemp(dir=scratch))
            (project / "CMakeLists.txt").write_text(
                "cmake_minimum_required(VERSION 3.18)\nproject(p CXX)\n" + find +
                f"\nadd_executable(p {EXAMPLES}/train_and_serve.cc)\ntarget_link_libraries(p twotower::train)\n")
            return run("cmake", "-S", project, "-B", project / "b", "-DCMAKE_PREFIX_PATH=" + str(prefix), check=False)

        self.assertNotIn("Error", configure("find_package(twotower REQUIRED COMPONENTS train)"))
        self.assertIn("has no component tensor", configure("find_package(twotower REQUIRED COMPONENTS tensor)"))
        self.assertIn('requested version "1000"', re.sub(r"\s+", " ", configure("find_package(twotower 1000 REQUIRED)")))

    def test_meson_installed(self):
        out = scratch / "meson"
        run("meson", "setup", EXAMPLES / "meson", out, env={"PKG_CONFIG_PATH": libdir / "pkgconfig"})
        run("ninja", "-C", out)
        self.assertEqual(served_by(out / "serve"), expected)

    def test_meson_subproject_is_the_library_alone(self):
        project, out = scratch / "project/meson", scratch / "subproject"
        shutil.copytree(EXAMPLES / "meson", project)
        shutil.copy(EXAMPLES / "serve.cc", project.parent)
        (project / "subprojects").mkdir()
        (project / "subprojects/twotower").symlink_to(SOURCE)
        run("meson", "setup", project, out, "--force-fallback-for=twotower", "-Dbuildtype=plain",
            "-Dtwotower:onednn=disabled")
        targets = json.loads(run("meson", "introspect", "--targets", out))
        programs = [t["name"] for t in targets if t["type"] == "executable"]
        self.assertEqual(programs, ["serve"])
        self.assertEqual(json.loads(run("meson", "introspect", "--tests", out)), [])
        self.assertNotIn("twotower-train", {t["name"] for t in targets})
        if not HAS_ONEDNN:  # in one of the two builds that test.sh makes: it compiles all that serves
            run("ninja", "-C", out, "serve")
            self.assertEqual([i for i, _ in served_by(out / "serve")], [i for i, _ in expected])


class Python(unittest.TestCase):
    @unittest.skipUnless(importlib.util.find_spec("numpy"), "there is no numpy")
    def test_the_package_finds_the_library_and_the_program_beside_it(self):
        [package] = (scratch / "root").rglob("twotower/__init__.py")
        script = f"""import sys, twotower
from twotower import _library
print(_library.native()._name, twotower.run_program("--version").strip() == twotower.__version__)
with twotower.open(sys.argv[1]) as model:
    for hit in model.recommend("u0", k=10)[0]: print(hit.id, f"{{hit.score:.4f}}", sep="\\t")"""
        said = run(sys.executable, "-c", script, scratch / "world/run/bundle.safetensors",
                   env={"PYTHONPATH": package.parents[1], "TWOTOWER_LIBRARY": "", "TWOTOWER_PROGRAM": "", "PATH": ""})
        first, *rest = said.splitlines()
        self.assertEqual(first, f"{libdir / 'libtwotower-c.so.0'} True")
        self.assertEqual(items("\n".join(rest)), expected)


class Manual(unittest.TestCase):
    def test_it_has_every_command_and_option_of_the_help(self):
        [page] = glob.glob(str(prefix / "**/man1/twotower.1"), recursive=True)
        text = pathlib.Path(page).read_text().replace("\\-", "-")
        program = prefix / "bin/twotower"
        commands = re.findall(r"^  (\w+) ", run(program, "--help").split("Subcommands:")[1], re.M)
        self.assertIn("train", commands)
        for command in commands:
            self.assertIn(f"\n.SS twotower {command}\n", text)
            section = text.split(f"\n.SS twotower {command}\n")[1].split("\n.SS ")[0]
            for option in re.findall(r"^  (--[\w-]+)", run(program, command, "--help"), re.M):
                self.assertRegex(section, rf"\n\.B {option}\b", f"{command} {option}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[6:], verbosity=2)
