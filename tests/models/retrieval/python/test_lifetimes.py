"""Memory, threads and processes: nothing goes away under what uses it."""

import copy
import ctypes
import gc
import mmap
import multiprocessing
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time
import unittest
import weakref

import fixtures
import numpy as np
import twotower
from twotower import User, _library, searching
from twotower._handle import guard


class Lifetimes(unittest.TestCase):
    def test_results_outlive_their_session_and_model(self):
        opened = twotower.open(fixtures.bundle())
        with opened.session() as session:
            first = session.recommend(["u0", "u1"], k=5)
            before = (first.ids, first.titles, first.scores.tolist())
            second = session.recommend(["u2"], k=9)
        opened.close()
        gc.collect()
        self.assertEqual((first.ids, first.titles, first.scores.tolist()), before)
        self.assertEqual(len(second.titles[0]), 9)  # decoded only now
        again = pickle.loads(pickle.dumps(second))
        self.assertEqual(again[0], second[0])

    def test_what_is_closed_is_refused(self):
        opened = twotower.open(fixtures.bundle())
        opened.recommend("u0")
        self.assertFalse(opened.closed)
        opened.close()
        opened.close()
        self.assertTrue(opened.closed)
        self.assertEqual(repr(opened), "<twotower.Model, closed>")
        for call in (lambda: opened.recommend("u0"), lambda: opened.info, lambda: opened.item_features, opened.session,
                     opened.filter, lambda: opened.add({}), lambda: opened.remove("i0"), lambda: opened.save("x"),
                     lambda: opened.search(np.zeros(16, np.float32)), lambda: opened.embed_users("u0")):
            with self.assertRaisesRegex(ValueError, r"^\[model\] it is closed; open another$") as caught:
                call()
            self.assertIsInstance(caught.exception, twotower.HandleError)
        with twotower.open(fixtures.bundle()) as opened, opened.session() as session:
            pass
        self.assertRaisesRegex(twotower.HandleError, r"^\[session\]", session.recommend, "u0")

    def test_sessions_and_filters_outlive_their_model(self):
        opened = twotower.open(fixtures.aligned_copy(fixtures.bundle()))
        expected = opened.recommend("u0", where={"genre": "Drama"}).ids
        session, drama = opened.session(), opened.filter(where={"genre": "Drama"})
        opened.close()
        del opened
        gc.collect()
        self.assertEqual(session.recommend("u0", filter=drama).ids, expected)

    def test_what_nobody_holds_is_closed(self):
        closed = []
        lib, real = _library.native(), {}
        for name in ("tt_model_close", "tt_session_close", "tt_filter_close"):
            real[name] = getattr(lib, name)
            setattr(lib, name, lambda handle, name=name: closed.append(name) or real[name](handle))
        try:
            opened = twotower.open(fixtures.bundle())
            opened.recommend("u0")
            kept = [opened.session(), opened.filter()]
            worker = threading.Thread(target=opened.recommend, args=["u0"])
            worker.start()
            worker.join()
            self.assertEqual(closed, ["tt_session_close"])  # the worker's own
            del kept, opened
            gc.collect()
        finally:
            for name, function in real.items():
                setattr(lib, name, function)
        self.assertEqual(sorted(closed), ["tt_filter_close", "tt_model_close"] + 3 * ["tt_session_close"])

    def test_a_bundle_in_memory_is_borrowed(self):
        with twotower.open(fixtures.bundle()) as opened:
            expected = opened.recommend("u0").ids
        content = pathlib.Path(fixtures.bundle()).read_bytes()
        array = fixtures.aligned_copy(fixtures.bundle())
        seen = []
        lib, real = _library.native(), _library.native().tt_model_open_memory
        lib.tt_model_open_memory = lambda address, *rest: seen.append(address) or real(address, *rest)
        try:
            for source in (content, bytearray(content), memoryview(content), array, array.view(np.int8)):
                with twotower.open(source) as opened:
                    self.assertEqual(opened.recommend("u0").ids, expected)
                self.assertEqual(seen.pop(), np.frombuffer(source, np.uint8).ctypes.data)
        finally:
            lib.tt_model_open_memory = real
        self.assertRaisesRegex(twotower.ArgumentError, "side by side", twotower.open, array[::2])

    def test_borrowed_memory_stays_as_long_as_anything_reads_it(self):
        with open(fixtures.bundle(), "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        opened = twotower.open(mapped)
        self.assertRaises(BufferError, mapped.close)
        session = opened.session()
        expected = session.recommend("u0").ids
        opened.close()
        self.assertRaises(BufferError, mapped.close)
        self.assertEqual(session.recommend("u0").ids, expected)
        session.close()
        mapped.close()

        array = fixtures.aligned_copy(fixtures.bundle())
        gone = weakref.ref(array)
        opened = twotower.open(array)
        del array
        self.assertIsNotNone(gone())
        self.assertEqual(opened.recommend("u0").ids, expected)
        opened.close()
        self.assertIsNone(gone())

        copied = bytearray(pathlib.Path(fixtures.bundle()).read_bytes())
        with twotower.open(copied, copy=True) as opened:
            copied.clear()  # a BufferError were it borrowed
            self.assertEqual(opened.recommend("u0").ids, expected)

    def test_inputs_live_through_the_call_alone(self):
        with twotower.open(fixtures.bundle()) as opened:
            expected = opened.recommend([User(history=[f"i{i}", "i3"]) for i in range(50)], k=5)
            real = searching.c.native().tt_recommend

            def collecting(*arguments):
                gc.collect()
                np.full(1 << 16, 255, np.uint8)  # over what was freed
                return real(*arguments)

            searching.c.native().tt_recommend = collecting
            try:
                users = [User(history=[f"i{i}"] + ["i" + str(3)]) for i in range(50)]
                self.assertEqual(opened.recommend(users, k=5).ids, expected.ids)
            finally:
                searching.c.native().tt_recommend = real

    def test_they_cannot_be_pickled_or_copied(self):
        with twotower.open(fixtures.bundle()) as opened:
            for thing in (opened, opened.session(), opened.filter()):
                for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
                    with self.assertRaisesRegex(TypeError, "cannot be pickled or copied; open the bundle in each"):
                        attempt(thing)

    def test_python_ends_with_models_open(self):
        code = ("import sys, threading, twotower\n"
                "model = twotower.open(sys.argv[1], log=print)\n"
                "loop = {'model': model}; loop['loop'] = loop\n"
                "def work():\n"
                "    while True: model.recommend([f'u{u}' for u in range(150)])\n"
                "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
                "model.recommend('u0')\n")
        for _ in range(5):
            done = subprocess.run([sys.executable, "-X", "dev", "-c", code, fixtures.bundle()], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)


class Threads(unittest.TestCase):
    def test_eight_search_while_one_changes_the_items(self):
        stop, wrong = threading.Event(), []
        with twotower.open(fixtures.bundle()) as opened:
            lasting = {f"i{i}" for i in range(fixtures.ITEMS)}
            coming = [f"n{i}" for i in range(20)]
            rounds = [0] * 8

            def ask(number):
                try:
                    while not stop.is_set() or rounds[number] < 3:
                        found = opened.recommend([f"u{number}", User()], k=200, include_seen=True)
                        for ids in found.ids:
                            new = set(ids) - lasting
                            # All of a change or nothing: the ten come and go together.
                            if len(set(ids)) != len(ids) or not lasting <= set(ids) or not new <= set(coming) or \
                                    len(new) not in (0, 10):
                                wrong.append(ids)
                        rounds[number] += 1
                except BaseException as error:
                    wrong.append(error)

            workers = [threading.Thread(target=ask, args=[number]) for number in range(8)]
            for worker in workers:
                worker.start()
            for turn in range(30):
                ten = coming[10 * (turn % 2):][:10]
                opened.add({id: {"year": 1990 + turn % 7, "genre": "Drama"} for id in ten})
                opened.replace({id: {"year": 1950} for id in ten})
                opened.remove(ten)
            stop.set()
            for worker in workers:
                worker.join()
            self.assertEqual(wrong, [])
            self.assertEqual(set(opened.recommend(User(), k=200).ids[0]), lasting)

    def test_closing_waits_for_no_call_and_breaks_none(self):
        for _ in range(20):
            opened = twotower.open(fixtures.aligned_copy(fixtures.bundle()))
            users, ended = [f"u{u}" for u in range(fixtures.USERS)], []
            expected = opened.recommend(users, k=3).ids

            def ask():
                try:
                    while True:
                        if opened.recommend(users, k=3).ids != expected:
                            ended.append("other answers")
                except BaseException as error:
                    ended.append(type(error))

            workers = [threading.Thread(target=ask) for _ in range(4)]
            for worker in workers:
                worker.start()
            opened.close()
            for worker in workers:
                worker.join()
            self.assertEqual(ended, [twotower.HandleError] * 4)

    def test_a_session_serves_one_call_at_a_time(self):
        with twotower.open(fixtures.bundle()) as opened, opened.session() as session:
            real, said = _library.native().tt_recommend, []

            def ask_again():
                try:
                    session.recommend("u1")
                except BaseException as error:
                    said.append(error)

            def slow(*arguments):
                status = real(*arguments)  # its answers are not copied yet
                _library.native().tt_recommend = real
                other = threading.Thread(target=ask_again)
                other.start()
                other.join()
                return status

            expected = session.recommend("u0").ids
            _library.native().tt_recommend = slow
            try:
                self.assertEqual(session.recommend("u0").ids, expected)
            finally:
                _library.native().tt_recommend = real
            self.assertIsInstance(said[0], twotower.BusyError)
            self.assertIsInstance(said[0], RuntimeError)
            self.assertEqual(session.recommend("u0").ids, expected)

    def seen_during_a_call(self, search):
        """Whether another thread of Python ran during a call. None is ever made to give way."""
        interval, state, seen = sys.getswitchinterval(), {"inside": False}, []

        def work():
            for _ in range(200):
                if seen:
                    break
                state["inside"] = True
                search()
                state["inside"] = False

        worker = threading.Thread(target=work)
        sys.setswitchinterval(1000)
        try:
            worker.start()
            while worker.is_alive():
                if state["inside"]:
                    seen.append(True)
                time.sleep(0)
        finally:
            sys.setswitchinterval(interval)
        worker.join()
        return bool(seen)

    def test_calls_release_the_interpreters_lock(self):
        with twotower.open(fixtures.bundle()) as opened, opened.session() as session:
            vectors = np.random.default_rng(1).normal(size=(3000, 16)).astype(np.float32)
            out, options = ctypes.POINTER(_library.Results)(), _library.QueryOptions(ctypes.sizeof(_library.QueryOptions))

            def search(function):
                with session._handle as handle:
                    return function(handle, ctypes.c_void_p(vectors.ctypes.data), ctypes.c_size_t(3000),
                                    ctypes.c_size_t(16), ctypes.c_size_t(10), ctypes.byref(options), ctypes.byref(out))

            self.assertTrue(self.seen_during_a_call(lambda: search(_library.native().tt_search)))
            keeping = ctypes.PyDLL(_library.native()._name).tt_search  # the same, the lock held
            keeping.argtypes = _library.FUNCTIONS["tt_search"][1]
            self.assertEqual(search(keeping), 0)
            self.assertFalse(self.seen_during_a_call(lambda: search(keeping)))


class Logging(unittest.TestCase):
    def test_what_a_callback_raises_is_told_and_harms_nothing(self):
        caught, before = [], sys.unraisablehook

        def log(level, text):
            raise RuntimeError(text)

        sys.unraisablehook = lambda unraisable: caught.append(unraisable.exc_type)
        try:
            with twotower.open(fixtures.bundle(), log=log) as opened:
                opened.remove("i0")
                self.assertEqual(opened.info.items, 119)
        finally:
            sys.unraisablehook = before
        self.assertEqual(set(caught), {RuntimeError})

    def test_a_callback_may_ask_the_model(self):
        found = []
        opened = twotower.open(fixtures.bundle(), log=lambda *_: found and found.append(opened.info.items))
        with opened:
            found.append(opened.recommend("u0").ids)
            opened.remove("i5")
        self.assertEqual(found[1:], [119])


class Processes(unittest.TestCase):
    def test_a_child_asks_what_its_parent_opened(self):
        opened = twotower.open(fixtures.bundle())
        expected = opened.recommend("u0").ids
        session, drama = opened.session(threads=2), opened.filter(where={"genre": "Drama"})
        expected_drama = session.recommend("u1", filter=drama).ids
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                opened.recommend(["u1", "u2"])

        workers = [threading.Thread(target=ask) for _ in range(3)]
        for worker in workers:
            worker.start()

        def work():
            assert opened.recommend("u0").ids == expected
            assert session.recommend("u1", filter=drama).ids == expected_drama
            assert len(opened.recommend("u0", where={"genre": "Drama"}).ids[0]) == 10
            opened.remove("i1")
            other = threading.Thread(target=opened.recommend, args=["u0"])
            other.start()
            other.join()
            session.close()
            opened.close()

        try:
            for _ in range(20):
                self.assertTrue(fixtures.in_child(work))
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        self.assertEqual(opened.info.items, fixtures.ITEMS)  # the children's changes are their own
        self.assertEqual(opened.recommend("u0").ids, expected)
        opened.close()

    def test_a_child_never_waits_for_a_thread_that_it_does_not_have(self):
        with twotower.open(fixtures.bundle()) as opened:
            held = threading.Event()

            def hold():  # as each call does, for an instant
                with guard:
                    held.set()
                    time.sleep(0.1)

            def work():
                signal.alarm(20)
                opened.recommend("u0")

            other = threading.Thread(target=hold)
            other.start()
            held.wait()
            self.assertTrue(fixtures.in_child(work))
            other.join()

    def test_a_pool_of_processes(self):
        global shared
        shared = twotower.open(fixtures.bundle())
        users = [f"u{u}" for u in range(20)]
        expected = shared.recommend(users, k=3).ids
        with multiprocessing.get_context("fork").Pool(2) as pool:
            self.assertEqual(pool.map(_best, users), expected)
        shared.close()


def _best(user):
    return shared.recommend(user, k=3).ids[0]


if __name__ == "__main__":
    unittest.main()
