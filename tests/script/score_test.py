#!/usr/bin/python3
"""script/score over runs worked out by hand."""
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from load_script import SCRIPTS

SETTINGS = {"task": "niah", "model fingerprint": "m", "--seed": 1, "--questions": 4}


def cell(policy, sample, single, multi, ctx=4096, **more):
    """A haystack of two questions of one kind and two of another."""
    found = {"task": "niah", "ctx": ctx, "policy": policy, "kv_budget": None if policy == "full" else 0.1,
             "prefill": None if policy == "full" else "chunk", "sample": sample, "kv_retention": 1.0 if policy == "full" else 0.1,
             "measures": {"score": {"sum": single + multi, "n": 4}, "single": {"sum": single, "n": 2},
                          "multi-query": {"sum": multi, "n": 2}, "depth 50%": {"sum": single, "n": 2}}}
    return {**found, **more}


class ScoreTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_of(self, name, cells, **settings):
        folder = self.folder / name
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps({**SETTINGS, **settings}), encoding="utf-8")
        (folder / "cells.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cells), encoding="utf-8")
        return folder

    def score(self, *arguments):
        return subprocess.run([SCRIPTS / "score", *map(str, arguments)], capture_output=True, text=True, check=False)

    def table(self, *arguments):
        done = self.score("--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_a_case_counts_at_most_as_full_and_weak_cases_do_not(self):
        # single: full 3 of 4, chunk 4 of 4, capped; multi-query: full 1 of 4 is below 0.3.
        run = self.run_of("a", [cell("full", 0, 1, 1), cell("full", 1, 2, 0), cell("chunk", 0, 2, 0), cell("chunk", 1, 2, 0)])
        [row] = self.table(run)
        self.assertEqual((row["score"], row["samples"], row["error"]), (1.0, 2, 0.0))
        [row] = self.table("--least", "0.2", run)
        self.assertEqual(row["score"], 3 / 4)  # (3 + 0) of (3 + 1)

    def test_lengths_and_folders_are_summed_and_unpaired_samples_left_out(self):
        full = self.run_of("full", [cell("full", 0, 2, 2), cell("full", 0, 2, 0, ctx=8192)])
        chunk = self.run_of("chunk", [cell("chunk", 0, 1, 2), cell("chunk", 1, 0, 0), cell("chunk", 0, 2, 1, ctx=8192)])
        [row] = self.table(full, chunk)
        self.assertEqual(row["score"], (1 + 2 + 2) / (2 + 2 + 2))
        self.assertEqual(row["lengths"], [4096, 8192])
        self.assertIsNone(row["error"], "one sample says nothing of others")

    def test_other_settings_of_a_policy_are_refused(self):
        full = self.run_of("full", [cell("full", 0, 2, 2), cell("full", 1, 2, 2)], text="a")
        off = self.run_of("off", [cell("chunk", 0, 2, 2)], text="a", **{"--layer-budgets": False, "adapter digest": "x"})
        on = self.run_of("on", [cell("chunk", 1, 0, 0)], text="a", **{"--layer-budgets": True, "adapter digest": "x"})
        self.assertEqual(self.table(full, off)[0]["score"], 1)
        for order in ((off, on), (on, off)):
            done = self.score(full, *order)
            self.assertEqual(done.returncode, 1)
            self.assertIn("--layer-budgets", done.stderr)
        other = self.run_of("other", [cell("chunk", 1, 2, 2)], text="a", **{"--layer-budgets": False, "adapter digest": "y"})
        self.assertIn("adapter digest", self.score(full, off, other).stderr)

    def test_other_texts_are_no_pair(self):
        full = self.run_of("full", [cell("full", 0, 2, 2)], text="a")
        chunk = self.run_of("chunk", [cell("chunk", 0, 2, 2)], text="b")
        done = self.score(full, chunk)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("of other models, texts or lengths", done.stderr)

    def test_weak_cases_alone_are_said(self):
        run = self.run_of("w", [cell("full", 0, 0, 0.1), cell("chunk", 0, 2, 2)])
        self.assertIn("answers no case", self.score(run).stderr)

    def test_tasks_without_such_scores_are_refused(self):
        run = self.run_of("ppl", [cell("full", 0, 2, 2)], task="ppl")
        self.assertIn("is no run of", self.score(run).stderr)

    def test_samples_over_nothing_count_as_none(self):
        # L-Eval's open questions have no score beside closed ones.
        def document(policy, sample, total, n):
            return cell(policy, sample, 0, 0, task="leval", measures={"score": {"sum": total, "n": n}})
        run = self.run_of("l", [document("full", 0, 0, 0), document("full", 1, 2, 4), document("chunk", 0, 0, 0), document("chunk", 1, 1, 4)], task="leval")
        [row] = self.table(run)
        self.assertEqual(row["score"], 1 / 2)

    def test_the_error_is_of_samples(self):
        cells = [cell("full", s, 2, 2) for s in range(4)] + [cell("chunk", s, 2 * (s % 2), 2 * (s % 2)) for s in range(4)]
        [row] = self.table(self.run_of("a", cells))
        self.assertEqual(row["score"], 0.5)
        self.assertAlmostEqual(row["error"], 0.25, delta=0.02)  # of the mean of four coins

    def test_other_models_are_no_pair(self):
        full = self.run_of("full", [cell("full", 0, 2, 2)])
        other = self.run_of("other", [cell("chunk", 0, 2, 2)], **{"model fingerprint": "n"})
        self.assertIn("of other models, texts or lengths", self.score(full, other).stderr)

    def test_bad_input_is_one_line(self):
        self.assertIn("holds no cells.jsonl", self.score(self.folder).stderr)
        lone = self.run_of("lone", [cell("chunk", 0, 1, 1)])
        self.assertIn("no run has `full`", self.score(lone).stderr)
        for i, bad in enumerate([{"task": "niah"}, cell("full", 0, 1, 1, measures={"single": {"sum": "x", "n": 2}}), cell("full", 0, 1, 1, measures=[])]):
            done = self.score(self.run_of(f"bad{i}", [bad]))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn("line 1", done.stderr)


if __name__ == "__main__":
    unittest.main()
