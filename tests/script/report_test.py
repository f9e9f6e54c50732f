#!/usr/bin/python3
"""script/report over logs and results of several shapes."""
import json
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

from load_script import SCRIPTS


def training_log(n_steps, n_layers, field="recall_at_8"):
    records = []
    for step in range(1, n_steps + 1):
        record = {"step": step, "loss_bce": 0.7 / step, "loss_kl": 1.8 / step, "boundary_f1": 1 - 1 / step}
        for name in (field, "recall_at_8_recent", "recall_at_8_random"):
            record[name] = {str(layer): 0.5 + 0.01 * layer for layer in range(n_layers)}
        if step % 10 == 0:
            record["eval"] = {"boundary_f1": 0.9, "loss_kl": 0.5}
        records.append(record)
    return "".join(json.dumps(record) + "\n" for record in records)


class ReportTest(unittest.TestCase):
    def setUp(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("matplotlib is missing; script/bootstrap --report installs it")
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_report(self, *arguments):
        return subprocess.run([SCRIPTS / "report", *map(str, arguments)], capture_output=True, text=True, check=False)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def svg(self, *arguments):
        """The first picture's text, checked to be XML."""
        done = self.run_report(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = Path(done.stdout.splitlines()[0]).read_text(encoding="utf-8")
        xml.etree.ElementTree.fromstring(text)
        return text

    def test_training_curves(self):
        log = self.write("train.jsonl", training_log(30, 12) + '{"step": 31, "loss')
        svg = self.svg("--title", "adapters <of> $llama", log)
        for words in ("adapters &lt;of&gt; $llama", "boundary (BCE)", "selection (mean KL), held out", "recall@8", "layer 0",
                      "layer 11", "most recent chunks", "random chunks", "F1, held out"):
            self.assertIn(f"<!-- {words} -->", svg)
        self.assertNotIn("boundary (BCE), held out", svg)
        self.assertEqual(self.svg("--title", "adapters <of> $llama", log), svg)
        page = (self.folder / "report.html").read_text(encoding="utf-8")
        self.assertIn("<h1>adapters &lt;of&gt; $llama</h1>", page)
        self.assertIn("<svg", page)

    def test_divergence_by_layer_where_there_is_no_recall(self):
        svg = self.svg(self.write("train.jsonl", training_log(5, 3, "kl")))
        self.assertIn("<!-- layer 2 -->", svg)
        self.assertNotIn("recall@8", svg)

    def test_records_of_any_shape(self):
        self.svg(self.write("train.jsonl", "\n".join((
            "null", "[1, 2]", '"text"', '{"loss_bce": 1}', '{"step": "x"}', '{"step": 1, "loss_bce": null, "eval": 5}',
            '{"step": 2, "recall_at_8": {"x": 1, "0": null, "1": 0.5}, "loss_kl": NaN}', '{"step": 3, "recall_at_8": 7}')) + "\n"))

    def test_speed_by_depth(self):
        rows = [{"test": test, "policy": policy, "weights": "q4_0", "depth": depth, "tokens_per_second": 100}
                for test in ("pp512", "tg32") for policy in ("full", "chunk") for depth in (0, 2048, 120000)]
        half = len(rows) // 2
        files = [self.write("a.json", json.dumps(rows[:half])), self.write("b.json", json.dumps(rows[half:]))]
        out = self.folder / "out"
        svg = self.svg("--out", out, *files)
        for words in ("full, q4_0", "chunk, q4_0", "2K", "120,000"):
            self.assertIn(f"<!-- {words} -->", svg)
        self.assertEqual({path.name for path in out.iterdir()}, {"pp512.svg", "tg32.svg", "report.html"})

    def test_what_cannot_be_drawn(self):
        log = self.write("train.jsonl", training_log(2, 1))
        for name, text in (("a.json", "[]"), ("b.json", "{"), ("c.jsonl", ""), ("d.json", '[{"test": "pp512"}]'),
                           ("e.json", '{"test": 1}')):
            done = self.run_report("--out", self.folder / "out", log, self.write(name, text))
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn(name, done.stderr)
            self.assertFalse((self.folder / "out").exists())
        self.assertEqual(self.run_report(self.folder / "missing.json").returncode, 1)


if __name__ == "__main__":
    unittest.main()
