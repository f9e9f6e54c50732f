#!/usr/bin/python3
"""script/report over logs, results and evaluations of several shapes."""
import html
import json
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

from load_script import SCRIPTS

FIXTURES = Path(__file__).parent / "fixtures"
HOSTILE = "</script><script>alert(1)</script>\u0000\u202e&\"'<b>$x_1$"


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

    def check_page(self, page):
        """Well-formed, and in need of nothing else; returns its root."""
        root = xml.etree.ElementTree.fromstring(page)
        self.assertEqual(root.tag, "html")
        self.assertEqual(root.get("lang"), "en")
        self.assertTrue(root.find("head/title").text)
        self.assertNotIn("<script", page)
        for found in re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)|(@import)|(https?:)""", page):
            self.assertTrue("".join(found).startswith("#"), found)
        ids = re.findall(r'\bid="([^"]*)"', page)
        self.assertEqual(len(ids), len(set(ids)), "ids are of one element each")
        levels = [int(element.tag[1]) for element in root.iter() if re.fullmatch("h[1-6]", element.tag)]
        self.assertEqual(levels.count(1), 1)
        self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), f"headings skip a level: {levels}")
        self.assertEqual({e.get("aria-labelledby") for e in root.iter("section")} - set(ids), set())
        for picture in root.iter("svg"):
            self.assertTrue(picture.get("aria-label"))
            self.assertEqual(picture.get("role"), "img")
        for table in root.iter("table"):
            self.assertTrue(all(cell.get("scope") for cell in table.iter("th")))
            self.assertTrue(table.find("caption").text)
        return root

    def page_of(self, *folders):
        """The text of the page of evaluations, checked."""
        out = self.folder / "page"
        done = self.run_report("--out", out, *folders)
        self.assertEqual(done.returncode, 0, done.stderr)
        for path in out.glob("*.svg"):
            xml.etree.ElementTree.fromstring(path.read_text(encoding="utf-8"))
        page = (out / "report.html").read_text(encoding="utf-8")
        self.check_page(page)
        return page

    def says(self, page, *texts):
        for words in texts:
            self.assertTrue(html.escape(words) in page or words in page, f"the page does not say: {words}")

    def evaluation(self, name, results, **fields):
        folder = self.folder / name
        folder.mkdir()
        text = json.dumps({"task": "niah", "model": "a.gguf", "results": results, **fields})
        (folder / "results.json").write_text(text, encoding="utf-8")
        return folder

    def test_needles(self):
        page = self.page_of(FIXTURES / "niah")
        results = json.loads((FIXTURES / "niah" / "results.json").read_text(encoding="utf-8"))
        for row in results["results"]:
            self.says(page, f"{100 * row['kv_retention']:.1f}%")
            self.says(page, f"{row['score']:.3f} ± {row['score_error']:.3f}")
            for name, part in row["parts"].items():
                self.says(page, f"{part['score']:.2f}</text>" if name.startswith("depth") else f"{part['score']:.3f}</td>")
        self.says(page, "keeps 90.0% ± 6.2% of full attention's score attending to 25.3% of the cache and 55.0% ")
        self.says(page, "chunkllm eval niah --model")
        self.assertEqual({path.name for path in (self.folder / "page").glob("*heatmap*")},
                         {f"niah-heatmap-{i}.svg" for i in (1, 2, 3)})
        for words in ("depth of the needle", "KV retention", "Scores by kind at 2K tokens", "multi-key"):
            self.says(page, words)

    def test_a_budget(self):
        page = self.page_of(FIXTURES / "budget")
        self.says(page, "At 4K tokens chunk needs --kv-budget 0.12 for 99% of full attention's score: it keeps 99.5% ± 0.4%, attending to "
                      "12.4% of the cache, and reads 1.10 times as fast and writes 1.35 times as fast as full.")
        self.says(page, "At 8K tokens no budget that was tried keeps 99% of full attention's score with chunk.",
                  "chunk at 8K tokens: the largest budget keeps too little, 0.5: 0.9000 ± 0.0100")
        self.says(page, "0.1: 98.10% ± 0.90%")
        self.says(page, ">--kv-budget 0.12</text>")

    def test_perplexity_by_policy(self):
        rows = [{"ctx": 4096, "policy": policy, "kv_budget": budget, "prefill": None, "kv_retention": share, "score": score,
                 "score_error": 0.1, "ratio": score / 20, "ratio_error": 0.004, "n": 8000, "parts": {}}
                for policy, budget, share, score in (("full", None, 1.0, 20.0), ("chunk", 0.1, 0.101, 20.2), ("quest", 64, 0.1, 24.0))]
        page = self.page_of(self.evaluation("ppl", rows, task="ppl"))
        self.says(page, "chunk has a perplexity 1.00% ± 0.40% above full attention's attending to 10.1% of the cache, with contexts of 4K tokens.")
        self.says(page, "20.2000 ± 0.1000")
        self.says(page, "120.00% ± 0.40%")

    def test_lines_by_layer(self):
        details = {"layers": [0, 1, 2], "series": {"captured 0.1, prompt ends, chunk": [0.5, None, 0.75], "alone": [0.3, 0.4, 0.5],
                                                   "captured 0.1, prompt ends, random": [0.1, 0.2], "broken": "x"}}
        parts = {f"captured 0.1, {place}, {by}": {"score": score} for place in ("prompt ends", "boundaries")
                 for by, score in (("oracle", 0.7), ("meankey", 0.975), ("chunk", 0.986), ("random", 0.2))}
        row = {"ctx": 2048, "policy": "full", "score": 0.8, "kv_retention": 1, "parts": parts, "details": details}
        page = self.page_of(self.evaluation("recall", [row], task="recall"))
        self.says(page, "By layer, captured 0.1, prompt ends at 2K tokens: chunk from 0.500 to 0.750; random from 0.100 to 0.200.",
                  "By layer, full at 2K tokens: alone from 0.300 to 0.500.",
                  "At prompt ends, with 0.1 of the eligible tokens, choices hold of what the oracle's holds: chunk 98.6%, meankey 97.5% "
                  "and random 20.0% (2K tokens).")
        parts = {"correlation, one chunk": {"score": 0.93}, "correlation, fixed chunks": {"score": 0.8}}
        page = self.page_of(self.evaluation("icac", [{"ctx": 0, "policy": "full", "score": 0.9, "parts": parts}], task="icac"))
        self.says(page, "What two tokens attend to correlates: in one chunk 0.930 and in fixed chunks of that length 0.800.")

    def test_several_models_and_lengths(self):
        def rows(full, score):
            return [{"ctx": ctx, "policy": policy, "kv_budget": None if policy == "full" else 0.1, "kv_retention": 0.1, "score": value,
                     "ratio": value / full, "ratio_error": 0.03} for ctx in (4096, 16384)
                    for policy, value in (("full", full), ("chunk", score))]
        page = self.page_of(self.evaluation("a", rows(1.0, 0.9), model="one"), self.evaluation("b", rows(0.5, 0.4), model="two"))
        self.says(page, "chunk keeps 90.0% ± 2.1% of full attention's score attending to 10.0% of the cache, with contexts of 4K and 16K tokens.")
        self.says(page, "chunk keeps 80.0% ± 2.1%")
        self.says(page, 'href="#section-2"')
        for model in ("one", "two"):
            self.says(page, f">{model}</p>")

    def test_answers_that_were_lost(self):
        folder = self.evaluation("lost", [{"ctx": 4096, "policy": "chunk", "kv_budget": 0.1, "score": 0.5}])
        cells = [{"ctx": 4096, "sample": 0, "policy": policy, "kv_budget": budget, "details": {"answers": [
            {"question": "Which number?", "expected": ["17", "18"], "answer": answer, "score": score},
            {"question": "Which word?", "expected": "x", "answer": "y", "score": 0}, "odd", {"score": 1}]}}
            for policy, budget, answer, score in (("full", None, "It is 17 and 18.", 1), ("chunk", 0.1, HOSTILE, 0.5))]
        lines = "".join(json.dumps(cell) + "\n" for cell in cells + [3, {"details": 4}, {"details": {"answers": [{"score": 1}]}}])
        (folder / "cells.jsonl").write_text(lines + '{"ctx": 4096, "sam', encoding="utf-8")
        page = self.page_of(folder)
        self.says(page, "<td>17, 18</td>", "<td>It is 17 and 18.</td>", "<td>chunk 0.1</td>")
        self.assertFalse("Which word?" in page, "an answer that full had not either")

    def test_texts_are_only_texts(self):
        row = {"ctx": 4096, "policy": HOSTILE, "kv_budget": 0.1, "prefill": HOSTILE, "kv_retention": 0.1, "score": 0.5, "ratio": 0.9,
               "parts": {HOSTILE: {"score": 0.5}, "depth 50%": {"score": 1}},
               "details": {"layers": [0, 1], "series": {HOSTILE: [0, 1]}}}
        budget = {"ctx": 4096, "policy": HOSTILE, "kv_budget": None, "notes": [HOSTILE, 3], "keep": 0.99,
                  "tried": [{"kv_budget": 0.1, "kv_retention": 0.1, "ratio": 0.5}]}
        for task in ("niah", "recall", HOSTILE):
            page = self.page_of(self.evaluation("x" + str(len(task)), [row], task=task, model=HOSTILE, command=HOSTILE,
                                                settings={HOSTILE: HOSTILE}, left_out=[{"ctx": 1, "least_tokens": 3, "policy": HOSTILE}]))
            self.assertNotIn("alert(1)</script>", page)
        self.page_of(self.evaluation("budget", [row], task="budget", budgets=[budget]))

    def test_results_of_any_shape(self):
        values = [None, float("nan"), float("inf"), -1, 0, 1e308, 10**400, True, "x", [], {}]
        rows = [{"policy": policy, "ctx": v, "kv_budget": v, "prefill": v, "kv_retention": v, "score": v, "score_error": v, "ratio": v,
                 "ratio_error": v, "n": v, "parts": p, "details": {"layers": v, "series": p}}
                for policy in ("full", "chunk") for v in values
                for p in ({"a": {"score": v}, "depth 50%": {"score": v}, "b": v}, v)]
        budgets = [{"ctx": v, "keep": v, "kv_budget": v, "kv_retention": v, "ratio": v, "tried": t, "next_smaller": v, "notes": v, "full_score": v}
                   for v in values for t in ([{"kv_retention": v, "ratio": v, "perplexity_ratio": v}], v)]
        for i, task in enumerate(("niah", "ppl", "recall")):
            self.page_of(self.evaluation(f"any-{i}", rows, task=task))
        self.page_of(self.evaluation("any-budget", [], task="budget", budgets=budgets))
        self.page_of(self.evaluation("none", []))
        self.page_of(self.evaluation("odd", ["x", 1, None, {}], settings=7, left_out="x", command=3, model=None, budgets=[5]))

    def test_evaluations_that_are_none(self):
        unfinished = self.folder / "unfinished"
        unfinished.mkdir()
        (unfinished / "cells.jsonl").write_text("{}\n", encoding="utf-8")
        for folder, words in ((unfinished, "is not finished"), (self.folder, "train.jsonl")):
            done = self.run_report(folder)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn(words, done.stderr)
        (unfinished / "results.json").write_text("[" * 100000, encoding="utf-8")
        self.assertEqual(self.run_report(unfinished).returncode, 1)

    def test_training_curves(self):
        log = self.write("train.jsonl", training_log(30, 12) + '{"step": 31, "loss')
        svg = self.svg("--title", "adapters <of> $llama", log)
        for words in ("adapters &lt;of&gt; $llama", "boundary (BCE)", "selection (mean KL), held out", "recall@8", "layer 0",
                      "layer 11", "most recent chunks", "random chunks", "F1, held out"):
            self.assertIn(f">{words}</text>", svg)
        self.assertNotIn("boundary (BCE), held out", svg)
        self.assertEqual(self.svg("--title", "adapters <of> $llama", log), svg)
        page = (self.folder / "report.html").read_text(encoding="utf-8")
        self.assertIn(">adapters &lt;of&gt; $llama</h1>", page)
        self.check_page(page)

    def test_divergence_by_layer_where_there_is_no_recall(self):
        svg = self.svg(self.write("train.jsonl", training_log(5, 3, "kl")))
        self.assertIn(">layer 2</text>", svg)
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
            self.assertIn(f">{words}</text>", svg)
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
