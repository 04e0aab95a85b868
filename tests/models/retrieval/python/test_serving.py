"""What a model answers, and what it refuses."""

import json
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import unittest

import fixtures
import numpy as np
import twotower
from twotower import User, Item, searching


def setUpModule():
    global model, light
    model = twotower.open(fixtures.bundle())
    light = fixtures.run("light").open()


def tearDownModule():
    model.close()
    light.close()


def genre(item):
    return fixtures.GENRES[int(item[1:]) % 3]


class Recommending(unittest.TestCase):
    def test_it_is_what_the_program_says(self):
        for run in (fixtures.run(), fixtures.run("light")):
            users = ["u0", "u7", "u149"]
            listed = json.loads(twotower.run_program("retrieve", "--run", run.folder, "--json", "-k", 5,
                                                     *[text for user in users for text in ("--user", user)]))
            with run.open() as opened:
                found = opened.recommend(users, k=5)
            for hits, expected in zip(found, listed):
                self.assertEqual([hit.id for hit in hits], [item["item"] for item in expected["items"]])
                self.assertEqual([hit.title for hit in hits], [item["title"] for item in expected["items"]])
                np.testing.assert_allclose([hit.score for hit in hits], [item["score"] for item in expected["items"]],
                                           rtol=1e-4)

    def test_the_shape_of_results(self):
        found = model.recommend(["u0", "u1"], k=4)
        self.assertEqual((len(found), found.scores.shape, found.scores.dtype), (2, (2, 4), np.float32))
        self.assertEqual(found.counts.tolist(), [4, 4])
        self.assertEqual(found.ids[1], [hit.id for hit in found[1]])
        self.assertEqual(found.titles[1], [hit.title for hit in found[-1]])
        self.assertEqual([len(hits) for hits in found], [4, 4])
        self.assertEqual(found[:1], [found[0]])
        self.assertRaises(IndexError, lambda: found[2])
        self.assertEqual(repr(found), "<twotower.Results of 2 queries, 8 items>")
        self.assertTrue((np.diff(found.scores) <= 0).all())
        none = model.recommend([], k=3)
        self.assertEqual((len(none), none.ids, none.scores.shape), (0, [], (0, 3)))

    def test_one_user_or_several_of_any_kind(self):
        one = model.recommend("u3", k=3).ids
        self.assertEqual(one, model.recommend(["u3"], k=3).ids)
        self.assertEqual(one, model.recommend(User("u3"), k=3).ids)
        self.assertEqual(one, model.recommend((user for user in ("u3",)), k=3).ids)
        self.assertEqual(one, model.recommend(np.array(["u3"]), k=3).ids)
        self.assertRaisesRegex(TypeError, "a user is an id .*not a int", model.recommend, [3])

    def test_users_in_words(self):
        user = User(features={"age": 31, "town": "x"}, history=["i9", "i3", "gone"])
        found = model.recommend(user, k=fixtures.ITEMS)
        self.assertEqual((found.unknown_items, found.unknown_values), (1, 0))
        self.assertEqual(len(found.ids[0]), fixtures.ITEMS - 2)  # what is in the history was seen
        self.assertNotIn("i9", found.ids[0])
        everything = model.recommend(user, k=fixtures.ITEMS, include_seen=True)
        self.assertIn("i9", everything.ids[0])
        fewer = model.recommend(User(history=["i9"], exclude=["i3", "i4"]), k=fixtures.ITEMS)
        self.assertEqual(set(everything.ids[0]) - set(fewer.ids[0]), {"i9", "i3", "i4"})
        same = model.recommend(User(features={"age": "31", "town": ["x"], }, history=("i9", "i3")), k=5)
        self.assertEqual(same.ids[0], found.ids[0][:5])
        self.assertEqual(model.recommend(User(features={"age": None}), k=5).ids, model.recommend(User(), k=5).ids)
        self.assertEqual(model.recommend(User(features={"age": "old", "town": "z"})).unknown_values, 2)

    def test_filters(self):
        found = model.recommend(User(), k=200, where={"genre": ["Drama", "Ölfilm"]})
        self.assertEqual({genre(item) for item in found.ids[0]}, {"Drama", "Ölfilm"})
        self.assertEqual((found.counts.tolist(), found.scores.shape), ([80], (1, 80)))  # k is what is left
        uneven = model.recommend([User(), User(exclude=["i0", "i2"])], k=200, where={"genre": ["Drama", "Ölfilm"]})
        self.assertEqual((uneven.counts.tolist(), [len(ids) for ids in uneven.ids]), ([80, 78], [80, 78]))
        self.assertTrue(np.isneginf(uneven.scores[1, 78:]).all())
        both = model.recommend(User(), k=200, where={"genre": "Drama", "title": ["The 3th", "The 1th"]})
        self.assertEqual(both.ids, [["i3"]])
        self.assertEqual(set(model.recommend(User(), allow=["i1", "i2", "nope"], exclude=["i2"]).ids[0]), {"i1"})
        self.assertEqual(model.recommend(User(), allow=[]).counts.tolist(), [0])
        self.assertEqual(len(model.recommend(User(), k=200, where={}, exclude="i5").ids[0]), 119)
        with model.filter(where={"genre": "Long"}) as long:
            for _ in range(2):
                self.assertEqual({int(i[1:]) % 4 for i in model.recommend(["u0", "u1"], filter=long).ids[1]}, {0})
            self.assertRaisesRegex(twotower.ArgumentError, "not both", model.recommend, "u0", filter=long, allow=["i1"])
            self.assertRaisesRegex(twotower.HandleError, "another model", light.recommend, "u0", filter=long)
        self.assertRaisesRegex(twotower.HandleError, "closed", model.recommend, "u0", filter=long)
        self.assertRaisesRegex(TypeError, "made by Model.filter", model.recommend, "u0", filter={"genre": "x"})

    def test_light_ranker(self):
        self.assertEqual(light.info.candidates, 30)
        self.assertNotEqual(light.recommend("u0").scores.tolist(), light.recommend("u0", rerank=False).scores.tolist())
        self.assertEqual(len(light.recommend("u0", k=40, candidates=50).ids[0]), 40)
        self.assertRaisesRegex(twotower.ArgumentError, "candidates", light.recommend, "u0", k=40)
        self.assertRaisesRegex(twotower.UnsupportedError, "candidates", model.recommend, "u0", candidates=5)

    def test_sessions_of_any_number_of_threads_answer_the_same(self):
        users = [f"u{u}" for u in range(fixtures.USERS)]
        expected = model.recommend(users)
        for threads in (1, 2, 5):
            with model.session(threads=threads) as session:
                found = session.recommend(users)
            self.assertEqual(found.ids, expected.ids)
            self.assertEqual(found.scores.tobytes(), expected.scores.tobytes())
        with twotower.open(fixtures.bundle(), threads=2) as opened:
            self.assertEqual(opened.recommend(users).ids, expected.ids)


class Vectors(unittest.TestCase):
    def test_search_finds_what_the_products_say(self):
        items = [f"i{i}" for i in range(fixtures.ITEMS)]
        table, users = model.embed_items(items), model.embed_users(["u0", "u1"])
        self.assertEqual((table.shape, table.dtype), ((fixtures.ITEMS, model.dimension), np.float32))
        found = model.search(users, k=7, exclude=["i0"])
        scores = users @ table.T
        scores[:, 0] = -np.inf
        best = np.argsort(-scores, axis=1)[:, :7]
        self.assertEqual(found.ids, [[items[i] for i in row] for row in best])
        np.testing.assert_allclose(found.scores, np.take_along_axis(scores, best, 1), rtol=1e-5)

    def test_arrays_are_passed_as_they_are(self):
        good = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)
        for array in (good, good[2:5], good[1], good.reshape(-1)[16:48].reshape(2, 16)):
            self.assertTrue(np.shares_memory(searching.as_vectors(array, 16), array))
        expected = model.search(good, k=3).ids
        for other in (good.astype(np.float64), good.tolist(), np.asfortranarray(good), good.astype(">f4"),
                      good[:, ::-1].copy()[:, ::-1]):
            self.assertEqual(model.search(other, k=3).ids, expected)
        self.assertEqual(model.search(good[::2], k=3).ids, expected[::2])
        seen = []
        lib, real = searching.c.native(), searching.c.native().tt_search
        lib.tt_search = lambda session, address, *rest: seen.append(address) or real(session, address, *rest)
        try:
            model.search(good[2:], k=3)
        finally:
            lib.tt_search = real
        self.assertEqual(seen, [good[2:].ctypes.data])

    def test_vectors_go_into_the_callers_memory(self):
        users = ["u0", "u1", "u2"]
        expected = model.embed_users(users)
        table = np.full((5, 16), 7, np.float32)
        part = table[1:4]
        self.assertIs(model.embed_users(users, out=part), part)
        np.testing.assert_array_equal(table[1:4], expected)
        self.assertTrue((table[[0, 4]] == 7).all())
        mapped = np.memmap(fixtures.scratch() / "vectors.f32", np.float32, "w+", shape=(3, 16))
        self.assertIs(model.embed_users(users, mapped), mapped)
        np.testing.assert_array_equal(mapped, expected)
        np.testing.assert_array_equal(model.embed_items("i4", out=np.empty((1, 16), np.float32)),
                                      model.embed_items(["i4"]))

    def test_buffers_that_do_not_fit_are_refused(self):
        read_only = np.empty((1, 16), np.float32)
        read_only.flags.writeable = False
        unaligned = np.frombuffer(bytearray(65), np.uint8)[1:].view(np.float32).reshape(1, 16)
        for out in (np.empty((1, 16)), np.empty((2, 16), np.float32), np.empty(16, np.float32), read_only, unaligned,
                    np.empty((1, 32), np.float32)[:, ::2], np.empty((1, 16), ">f4"), [[0.0] * 16]):
            with self.assertRaisesRegex(twotower.ArgumentError, r"^\[out\]"):
                model.embed_users("u0", out=out)

    def test_vectors_that_cannot_be_are_refused(self):
        good = np.zeros(16, np.float32)
        for bad in (np.nan, np.inf, -np.inf, 1e300):
            with np.errstate(over="ignore"), self.assertRaisesRegex(twotower.ArgumentError, "must be finite"):
                model.search(np.where(np.arange(16) == 3, bad, 0.0))
        for shape in ((15,), (2, 17), (1, 1, 16), ()):
            with self.assertRaisesRegex(twotower.ArgumentError, r"the model wants \[n, 16\]"):
                model.search(np.zeros(shape, np.float32))
        for kind in (complex, object, "U3"):
            self.assertRaises(TypeError, model.search, good.astype(kind))
        self.assertEqual(len(model.search(np.zeros((0, 16), np.float32))), 0)

    def test_scores_are_those_of_recommend(self):
        for opened in (model, light):
            found = opened.recommend(["u4", "u5"], k=6)
            np.testing.assert_allclose(opened.score("u4", found.ids[0]), found.scores[0], rtol=1e-5)
            flat = found.ids[0] + found.ids[1]
            pairs = opened.score(["u4", "u5"], flat, user_of=[0] * 6 + [1] * 6)
            np.testing.assert_allclose(pairs, found.scores.reshape(-1), rtol=1e-5)
            two = opened.score(["u4", "u5"], [found.ids[0][0], found.ids[1][0]])
            np.testing.assert_allclose(two, found.scores[:, 0], rtol=1e-5)
        with self.assertRaises(twotower.ArgumentError):
            model.score(["u4", "u5"], ["i1", "i2", "i3"])
        for user_of in ([0, 2], [-1, 0], [0], [0.0, 1.0]):
            with self.assertRaises(twotower.ArgumentError):
                model.score(["u4", "u5"], ["i1", "i2"], user_of=user_of)
        with self.assertRaisesRegex(twotower.NotFoundError, "nope"):
            model.score("u4", ["nope"])


class Changing(unittest.TestCase):
    def test_items_come_change_and_go(self):
        told = []
        with twotower.open(fixtures.bundle(), log=lambda level, text: told.append((level, text))) as opened:
            self.assertEqual(opened.add({"n1": {"year": 1996, "genre": ["Drama", "Long"]},
                                         "n2": {"genre": "no such"}}), 1)
            opened.add([Item("n3", {"year": 2001})])
            self.assertEqual((opened.info.items, opened.info.items_available), (123, 123))
            found = opened.recommend("u0", allow=["n1", "n2", "n3"])
            self.assertEqual(set(found.ids[0]), {"n1", "n2", "n3"})
            self.assertEqual(set(opened.recommend("u0", allow=["n1", "n2"], where={"genre": "Long"}).ids[0]), {"n1"})
            described = opened.embed_items(Item(features={"year": 1996, "genre": "Drama|Long"}))
            np.testing.assert_allclose(described, opened.embed_items("n1"), rtol=1e-5)
            opened.replace(Item("n1", {"year": 1950}))
            self.assertFalse(np.allclose(described, opened.embed_items("n1")))
            opened.set_available(["n1", "i7"], False)
            self.assertEqual(opened.recommend("u0", allow=["n1", "i7"]).counts[0], 0)
            self.assertEqual((opened.info.items, opened.info.items_available), (123, 121))
            self.assertEqual(opened.score("u0", "n1").shape, (1,))
            opened.set_available("i7", True)
            opened.remove(["n2", "i1"])
            with self.assertRaises(twotower.ExistsError):
                opened.add(Item("n3"))
            for change in (opened.remove, lambda id: opened.replace(Item(id)),
                           lambda id: opened.set_available(id, True)):
                with self.assertRaisesRegex(KeyError, '"n2"'):
                    change("n2")
            with self.assertRaisesRegex(twotower.NotFoundError, "year"):
                opened.add({"n9": {"yaer": 1}})
            path = fixtures.scratch() / "saved.safetensors"
            opened.save(path)
            expected = opened.recommend("u5", k=150)
        with twotower.open(path, verify=True) as again:
            self.assertEqual(again.info.items, 121)
            self.assertEqual(again.recommend("u5", k=150).ids, expected.ids)
        self.assertEqual({level for level, _ in told}, {logging.INFO})
        self.assertRegex(told[0][1], r"^\[bundle .*\] is open: 120 items, 150 users$")
        self.assertGreater(len(told), 6)
        with twotower.open(fixtures.bundle()) as opened:  # the bundle itself is as it was
            self.assertEqual(opened.info.items, 120)


class Refusing(unittest.TestCase):
    def test_what_is_not_there(self):
        with self.assertRaisesRegex(KeyError, r'there is no user "nobody"') as caught:
            model.recommend("nobody")
        self.assertIsInstance(caught.exception, twotower.NotFoundError)
        self.assertEqual(caught.exception.status, twotower.Status.NOT_FOUND)
        self.assertTrue(str(caught.exception).startswith("[tt_recommend] "))
        for wrong in ({"where": {"gerne": "x"}}, {"where": {"genre": "x"}}):
            self.assertRaises(twotower.NotFoundError, model.recommend, "u0", **wrong)
        self.assertRaises(twotower.NotFoundError, model.recommend, User(features={"shoe": 43}))
        with twotower.open(fixtures.without_users()) as nobody:
            self.assertEqual(nobody.info.users, 0)
            self.assertRaises(NotImplementedError, nobody.recommend, "u0")
            self.assertEqual(len(nobody.recommend(User(features={"age": 30})).ids[0]), 10)

    def test_numbers(self):
        for k in (0, -1, 2**64, 2**70):
            self.assertRaises(ValueError, model.recommend, "u0", k=k)
        for k in (1.5, None, "3", float("nan")):
            self.assertRaises(TypeError, model.recommend, "u0", k=k)
        self.assertEqual(model.recommend(User(), k=2**63).counts[0], fixtures.ITEMS)
        self.assertEqual(model.recommend(User(), k=np.int64(2)).counts[0], 2)
        for threads in (-1, 1025, 2**32 + 1, 2**64 - 1):
            self.assertRaises(twotower.ArgumentError, model.session, threads)

    def test_texts(self):
        for call in (lambda: model.recommend("u\0"), lambda: model.recommend(User(history=["i\0"])),
                     lambda: model.recommend(User(features={"age\0": 1})), lambda: model.remove(["i1\0"]),
                     lambda: model.recommend("\ud800"), lambda: twotower.open("a\0b"),
                     lambda: model.filter(where={"genre": "a\0"}), lambda: model.save("x\0")):
            self.assertRaises(twotower.ArgumentError, call)
        for call in (lambda: model.recommend(b"u0"), lambda: model.recommend(User(history=[3])),
                     lambda: model.remove([1]), lambda: model.recommend(User(7)), lambda: twotower.open(3.5),
                     lambda: model.embed_items([User()]), lambda: twotower.open(None)):
            self.assertRaises(TypeError, call)
        self.assertRaises(twotower.NotFoundError, model.recommend, "\udcff")  # a byte that is no UTF-8
        self.assertRaises(twotower.ArgumentError, model.add, {"\udcff": {}})
        self.assertRaises(twotower.ArgumentError, model.recommend, User("u0", {"age": 3}))

    def test_files(self):
        missing = fixtures.scratch() / "missing.safetensors"
        with self.assertRaisesRegex(FileNotFoundError, "cannot be opened: .*; check the path"):
            twotower.open(missing)
        with self.assertRaises(twotower.FileError) as caught:
            twotower.open(fixtures.scratch())
        self.assertNotIsInstance(caught.exception, FileNotFoundError)
        self.assertIsInstance(caught.exception, OSError)
        self.assertRaises(FileNotFoundError, model.save, fixtures.scratch() / "no/such/folder")
        with self.assertRaises(twotower.FileError) as caught:
            model.save(fixtures.scratch())
        self.assertNotIsInstance(caught.exception, FileNotFoundError)
        damaged = bytearray(pathlib.Path(fixtures.bundle()).read_bytes())
        for content in (b"", b"x", bytes(damaged[:1000]), bytes(damaged[:-1])):
            self.assertRaises(twotower.CorruptError, twotower.open, content)
        damaged[-1] ^= 1
        self.assertRaises(twotower.CorruptError, twotower.open, damaged, verify=True)

    def test_errors_go_between_processes(self):
        for error in (twotower.NotFoundError("[x] y"), twotower.FileMissingError("[x] y"),
                      twotower.ProgramError("[x] y", 2), twotower.errors.error_of(99, "[x] y")):
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again), again.__dict__), (type(error), "[x] y", error.__dict__))


class Example(unittest.TestCase):
    def test_it_says_what_the_one_in_c_says(self):
        script = pathlib.Path(os.environ["TWOTOWER_SOURCE"]) / "docs/examples/recommend.py"
        for arguments in (["--user", "u3"], ["age=25", "town=x", "--history", "i5", "i81", "gone"], ["--user", "who"]):
            said = [subprocess.run([*program, fixtures.bundle(), *arguments], text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
                    for program in ([sys.executable, script], [os.environ["TWOTOWER_SERVE_C"]])]
            self.assertEqual(said[0].stdout, said[1].stdout)
            self.assertEqual(said[0].stderr, said[1].stderr)
            self.assertEqual(len(said[0].stdout.splitlines()), 0 if "who" in arguments else 10)


if __name__ == "__main__":
    unittest.main()
