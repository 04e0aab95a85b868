"""The package is what twotower.h says, and is annotated and described to its last function."""

import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing
import unittest

import fixtures
import twotower
from twotower import _library

SOURCE = pathlib.Path(os.environ["TWOTOWER_SOURCE"])
HEADER = SOURCE / "models/retrieval/c_api/twotower.h"
PACKAGE = os.path.dirname(twotower.__file__)
STRUCTS = {"tt_open_options": _library.OpenOptions, "tt_info": _library.Info, "tt_feature": _library.Feature,
           "tt_user": _library.User, "tt_item": _library.Item, "tt_condition": _library.Condition,
           "tt_filter_options": _library.FilterOptions, "tt_session_options": _library.SessionOptions,
           "tt_results": _library.Results, "tt_query_options": _library.QueryOptions}


class Header(unittest.TestCase):
    def setUp(self):
        self.header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)

    def test_every_function_is_bound(self):
        functions = re.findall(r"TT_API[\w\s*]*?\b(tt_\w+)\(([^)]*)\)", self.header)
        self.assertEqual({name for name, _ in functions}, set(_library.FUNCTIONS))
        for name, arguments in functions:
            count = 0 if arguments.strip() == "void" else arguments.count(",") + 1
            self.assertEqual(len(_library.FUNCTIONS[name][1]), count, name)

    def test_every_error_has_its_class(self):
        numbers = dict(re.findall(r"TT_(?:ERROR_)?(\w+) = (\d+)", self.header.split("enum {")[1].split("}")[0]))
        self.assertEqual({name: int(number) for name, number in numbers.items()},
                         {status.name: status.value for status in twotower.Status})
        for status in list(twotower.Status)[1:]:
            error = twotower.errors.error_of(status, "[x] y")
            self.assertIsNot(type(error), twotower.Error)
            self.assertEqual((error.status, str(error)), (status, "[x] y"))
        later = twotower.errors.error_of(99, "[x] y")
        self.assertEqual((type(later), later.status), (twotower.Error, 99))

    def test_structs_lie_in_memory_as_in_c(self):
        named = re.findall(r"typedef struct (tt_\w+) {", self.header)
        self.assertEqual(set(named), set(STRUCTS))
        lines, expected = [], []
        for name, struct in STRUCTS.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            expected.append(f"{name} {_library.ctypes.sizeof(struct)}")
            for field, _ in struct._fields_:
                lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), '
                             f'sizeof((({name}*)0)->{field}));')
                at = getattr(struct, field)
                expected.append(f"{name}.{field} {at.offset} {at.size}")
        program = fixtures.scratch() / "layout"
        source = f'#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{ {" ".join(lines)} return 0; }}\n'
        subprocess.run(["cc", "-x", "c", "-", "-o", program], input=source, text=True, check=True)
        printed = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertEqual(printed.splitlines(), expected)


class Surface(unittest.TestCase):
    def functions(self):
        for name in twotower.__all__:
            thing = getattr(twotower, name)
            if inspect.isfunction(thing):
                yield name, thing
            elif inspect.isclass(thing):
                self.assertTrue(thing.__doc__, name)
                for member in dir(thing):
                    function = inspect.getattr_static(thing, member)
                    if isinstance(function, property):
                        function = function.fget
                    if inspect.isfunction(function) and function.__code__.co_filename.startswith(PACKAGE):
                        yield f"{name}.{member}", function

    def test_all_is_annotated_and_described(self):
        seen = 0
        for name, function in self.functions():
            seen += 1
            if not name.split(".")[-1].startswith("_"):
                self.assertTrue(function.__doc__, name)
            hints = inspect.get_annotations(function)
            wanted = [p for p in inspect.signature(function).parameters if p != "self"] + ["return"]
            self.assertEqual([w for w in wanted if w not in hints], [], name)
            typing.get_type_hints(function)  # they name what is there
        self.assertGreater(seen, 50)
        self.assertTrue((pathlib.Path(PACKAGE) / "py.typed").exists())

    @unittest.skipUnless(shutil.which("mypy"), "there is no mypy")
    def test_mypy_agrees(self):
        said = subprocess.run(["mypy", "--strict", "--cache-dir", fixtures.scratch() / "mypy", "--python-executable",
                               sys.executable, pathlib.Path(twotower.__file__).parent], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(said.returncode, 0, said.stdout)

    def test_versions_agree(self):
        project = (SOURCE / "models/retrieval/python/pyproject.toml").read_text()
        self.assertIn(f'version = "{twotower.__version__}"', project)
        self.assertEqual(_library.native().tt_version_string().decode(), twotower.__version__)
        self.assertIn(f"version: '{twotower.__version__}'", (SOURCE / "meson.build").read_text())


class Finding(unittest.TestCase):
    """The library, each time by a new interpreter."""

    def said(self, code, **environment):
        done = subprocess.run([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **environment}, cwd=fixtures.scratch())
        self.assertEqual(done.stderr, "")
        return done.stdout.strip()

    OPEN = "import twotower\ntry: print(twotower.open('nowhere'))\nexcept {} as error: print(error)"

    def test_importing_needs_no_library(self):
        self.assertEqual(self.said("import twotower; print(1)", TWOTOWER_LIBRARY="/nowhere"), "1")

    def test_a_library_that_is_not_there_is_one_line(self):
        said = self.said(self.OPEN.format("ImportError"), TWOTOWER_LIBRARY="/nowhere.so")
        self.assertRegex(said, r"^\[twotower\] libtwotower-c\.so\.0 cannot be loaded: /nowhere\.so: .*; install the "
                               r"library \(meson install\), or set TWOTOWER_LIBRARY to the file or its folder$")

    def test_the_loader_finds_it(self):
        folder = os.environ["TWOTOWER_LIBRARY"]
        said = self.said(self.OPEN.format("FileNotFoundError"), TWOTOWER_LIBRARY="", LD_LIBRARY_PATH=folder)
        self.assertIn("[bundle nowhere] cannot be opened", said)

    def test_a_copy_in_the_package_is_found_first(self):
        folder = fixtures.scratch() / "copied"
        shutil.copytree(pathlib.Path(twotower.__file__).parent, folder / "twotower")
        shutil.copy(pathlib.Path(os.environ["TWOTOWER_LIBRARY"]) / _library.SONAME, folder / "twotower")
        said = self.said("import twotower._library as l; print(l.native()._name)", TWOTOWER_LIBRARY="",
                         PYTHONPATH=str(folder))
        self.assertEqual(said, str(folder / "twotower" / _library.SONAME))

    def test_another_version_is_refused(self):
        other = fixtures.scratch() / "other.so"
        subprocess.run(["cc", "-x", "c", "-", "-shared", "-fPIC", "-o", other], text=True, check=True,
                       input="int tt_version_number(void) { return 200; }")
        said = self.said(self.OPEN.format("twotower.LibraryError"), TWOTOWER_LIBRARY=str(other))
        self.assertEqual(said, f"[twotower] {other} is version 0.2, this package is for 0.1; install the two together")

    def test_a_library_without_a_function_is_refused(self):
        other = fixtures.scratch() / "lacking.so"
        subprocess.run(["cc", "-x", "c", "-", "-shared", "-fPIC", "-o", other], text=True, check=True,
                       input="int tt_version_number(void) { return 100; }")
        said = self.said(self.OPEN.format("twotower.LibraryError"), TWOTOWER_LIBRARY=str(other))
        self.assertIn(f"{other} has no tt_version_string", said)


if __name__ == "__main__":
    unittest.main()
