#!/usr/bin/env python3
"""EleutherAI's evaluation harness against `chunkllm serve`.

Usage: lm_eval_test.py PROGRAM MODEL ADAPTER. Exit code 77, which is a skip, where the package is not
installed: script/test puts it beside the other clients.

Scores are held to those of `chunkllm eval choice`, and to the log-likelihoods that the harness's own `hf`
model gave for the same items (fixtures/lm_eval/hf.json, made by `lm_eval_test.py --make-golden MODEL`,
which needs PyTorch and transformers).
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from chunkllm_server import Server

for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TOKENIZERS_PARALLELISM"):
    os.environ[name] = "0" if name.startswith("TOKENIZERS") else "1"
try:
    import lm_eval
    from lm_eval.tasks import TaskManager
except ImportError:
    print("the package lm-eval is not installed")
    sys.exit(77)

GOLDEN = Path(__file__).parent / "fixtures" / "lm_eval" / "hf.json"
TEXT = ("The secret code of Alice is 48213. The market opens at nine in the morning. One of the special magic numbers for "
        "quiet-river is: 7391842. It rained all day and the boats stayed in the harbour. Clara's access code is green-417.")
ITEMS = [
    {"query": f"{TEXT} What is the secret code of Alice?", "choices": ["48213.", "48231.", "7391842.", "green-417."], "gold": 0},
    {"query": f"{TEXT} What is Clara's access code?", "choices": ["48213.", "green-471.", "green-417.", "quiet-river."],
     "gold": 2},
    {"query": f"{TEXT} What is the special magic number for quiet-river mentioned in the provided text?",
     "choices": ["green-417.", "7391824.", "9.", "7391842."], "gold": 3},
    {"query": "It was a dark night, and the wind", "choices": ["blew from the sea.", "of the was and to.", "\u00e9t\u00e9 na\u00efve."],
     "gold": 0},
    {"query": "He opened the door and", "choices": ["went into the house", "the the into of", "door"], "gold": 0},
    {"query": "She said that she", "choices": ["had been", "been had", "of"], "gold": 0},
]
CHOICE_TASK = """
task: choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{begin}{{{{query}}}}"
doc_to_choice: choices
doc_to_target: gold
target_delimiter: " "
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
BEGIN = "<|begin_of_text|>"  # the harness has servers' tokenizers add none
WRITE_TASK = """
task: answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{query}}}}"
doc_to_target: "{{{{choices[gold]}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 8, temperature: 0}}
metric_list: [{{metric: exact_match}}]
"""


def harness(folder, task, begin="", **model):
    """The harness's samples and results of a task whose queries begin so."""
    data = Path(folder) / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    name = "choices" if task is CHOICE_TASK else "answers"
    (Path(folder) / f"{name}.yaml").write_text(task.format(data=data, begin=begin))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(tasks=[name], task_manager=manager, bootstrap_iters=0, log_samples=True, **model)
    return found["samples"][name], found["results"][name]


def log_likelihoods(samples):
    samples = sorted(samples, key=lambda sample: sample["doc_id"])
    return [[float(choice[0][0]) for choice in sample["resps"]] for sample in samples]


def make_golden(model):
    with tempfile.TemporaryDirectory() as folder:
        samples, results = harness(folder, CHOICE_TASK, model="hf",
                                   model_args=f"pretrained={model},dtype=float32,add_bos_token=True,device=cpu")
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps({"acc": results["acc,none"], "acc_norm": results["acc_norm,none"],
                                  "log_likelihoods": log_likelihoods(samples)}, indent=1) + "\n")


class LmEval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(PROGRAM, MODEL, ADAPTER, "--ctx", "2048", "--dtype", "f32", "--kv-type", "f32")
        cls.url = cls.server.url

    @classmethod
    def tearDownClass(cls):
        assert cls.server.close() == 130
        cls.folder.cleanup()

    def scored(self, more=""):
        return harness(self.folder.name, CHOICE_TASK, begin=BEGIN, model="local-completions",
                       model_args=f"base_url={self.url}/v1/completions,model=any,tokenizer_backend=remote{more}")

    def assert_close(self, scored, expected):
        for own, theirs in zip(scored, expected, strict=True):
            for a, b in zip(own, theirs, strict=True):
                self.assertTrue(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-2), (a, b))

    def test_choices_score_as_with_transformers(self):
        samples, results = self.scored()
        golden = json.loads(GOLDEN.read_text())
        self.assertEqual(results["acc,none"], golden["acc"])
        self.assertEqual(results["acc_norm,none"], golden["acc_norm"])
        self.assert_close(log_likelihoods(samples), golden["log_likelihoods"])

    def test_choices_score_as_with_eval_choice(self):
        samples, results = self.scored()
        out = Path(self.folder.name) / "own"
        data = Path(self.folder.name) / "items.jsonl"
        subprocess.run([PROGRAM, "eval", "choice", "--model", MODEL, "--adapter", "none", "--data", data, "--policy", "full",
                        "--dtype", "f32", "--out", out, "--no-report"], check=True, capture_output=True)
        cells = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
        right = sum(cell["measures"]["score"]["sum"] for cell in cells) / len(cells)
        self.assertAlmostEqual(results["acc,none"], right)
        self.assert_close(log_likelihoods(samples), [cell["details"]["log_likelihoods"] for cell in cells])

    def test_batches_score_as_single_requests(self):
        self.assertEqual(log_likelihoods(self.scored(",batch_size=4")[0]), log_likelihoods(self.scored()[0]))

    def test_answers_are_written(self):
        completions = harness(self.folder.name, WRITE_TASK, model="local-completions",
                              model_args=f"base_url={self.url}/v1/completions,model=any,tokenizer_backend=remote")[0]
        chats = harness(self.folder.name, WRITE_TASK, model="local-chat-completions", apply_chat_template=True,
                        model_args=f"base_url={self.url}/v1/chat/completions,model=any")[0]
        for samples in (completions, chats):
            self.assertEqual(len(samples), len(ITEMS))
            self.assertTrue(all("." not in sample["resps"][0][0] for sample in samples))
        first = min(chats, key=lambda sample: sample["doc_id"])
        self.assertEqual(first["resps"][0][0].strip(), "48213")


if sys.argv[1] == "--make-golden":
    make_golden(sys.argv[2])
    sys.exit(0)
PROGRAM, MODEL, ADAPTER = sys.argv[1:4]
if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
