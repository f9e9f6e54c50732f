#!/usr/bin/env python3
"""Makes tests/golden/answer_metrics.json: what the published code of metrics says of made-up answers.

Usage: make_answer_golden.py LEVAL LONGBENCH OUT.json     needs rouge-score, rouge and fuzzywuzzy

LEVAL and LONGBENCH are copies of the repositories OpenLMLab/LEval and THUDM/LongBench; of their files
Evaluation/auto_eval.py, Evaluation/em.py and LongBench/metrics.py only the functions named here are run.
fuzzywuzzy compares by Python's difflib, as where python-Levenshtein is not installed. OUT.json holds
  pairs      `answer` and `expected` with `normalized` (of the answer), `f1`, `rouge_l` (rouge-score), `rouge` (the
             package), `fuzzy`
  leval      `kind`, `answer`, `expected`, `score`: L-Eval's extraction and exact match
  longbench  `metric`, `answer`, `expected`, `classes`, `score`
"""
import ast
import contextlib
import io
import json
import random
import re
import string
import sys
import types
from collections import Counter

sys.modules["Levenshtein"] = None  # fuzzywuzzy then takes difflib
import difflib  # noqa: E402

from fuzzywuzzy import fuzz  # noqa: E402
from rouge import Rouge  # noqa: E402
from rouge_score import rouge_scorer  # noqa: E402

WORDS = ("the a an cat sat on mat river Boat ran slowly, 42 3.14 x_1 don't over-all Ünïcode ÉCOLE straße "
         "naïve 東京 σΣ data. science. e.g. \"quoted\" (B) A. [1] no yes").split()
HAND = [
    ("", ""), ("", "a word"), ("a word", ""), ("the", "a"), ("the cat", "cat"), (".", "."), (" . ", ". "),
    ("...", "yes"), ("yes", "yes"), ("Yes.", "yes"), ("THE answer", "answer"), ("theory", "ory"), ("a_b an", "b"),
    ("\u00a0x\u2003y", "x y"), ("the\u2019s an\u2019x", "s x"), ("\u0130stanbul", "i\u0307stanbul"), ("ΟΔΟΣ", "οδος"),
    ("\u212a 5", "k 5"), ("😀 smile 😀", "smile 😀"), ("東京 タワー", "東京"), ("nan", "NaN"), ("inf nan", "nan"),
    ("a\x1fb\x85c", "a b c"), ("e\u0301cole", "école"), ("one two. two one", "two one. one two"),
    ("x" * 300, "x" * 250 + "y"), ("ab" * 150, "ba" * 140), ("def f(x):\n    return x", "def f(y): return y"),
    ("    return self.size", "        return self.size()"), ("int main() { // go", "int main() {"),
]
LEVAL = {
    "letter": ["A", "B", "(C) because", "The answer is D.", "None", "answer: b", "Both", "AB", "ABCD", "none of them",
               "C. the third", "because A", "Question 1: B", "DA"],
    "letters": ["A", "AB", "AC", "B, C", "B, C.", "A. first\nC. third", "CBA", "A B D ", "A) and D)", "none",
                "B Question C. D.", "The DNA. Because B.", "BD because", "x A\u00a0y C.", "A, B, D", "D A."],
    "number": ["The answer is 18", "The answer is $1,250.50.", "so 3 + 4 = 7\n\nand 9", "x = 12 apples", "no digits",
               "The answer is 5. The answer is 6", "The answer is\n7", "The answer is  8", "1\n2 end", "018",
               "The answer is eight", "45%", "3.7"],
    "topic": ["The role of art in society", "the Role of Art", "It is:\nthe role of art in society", "1\nThe future",
              "The topic was the role of  art in society.", "art"],
    "truth": ["True", "False", "It is true.", "untrue and false", "falsehood", "no", "The statement is False, true"],
}
LEVAL_EXPECTED = {
    "letter": ["A", "(B) text", "D", "C. x"], "letters": ["A", "AC", "ABD", "BC", "ABCD"],
    "number": ["18", "1250", "7", "12", "5", "45", "3"],
    "topic": ["The role of art in society", "The future"], "truth": ["True [fact: False]", "False [fact: True]"],
}


def functions(path, names, extra):
    """The named functions of a file, and none of its imports."""
    tree = ast.parse(open(path, encoding="utf-8").read())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    scope = dict(extra)
    exec(compile(tree, path, "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names}), scope


def made_up_pairs(rng):
    for i in range(90):
        n = rng.choice([1, 3, 8, 20, 60])
        expected = [rng.choice(WORDS) for _ in range(n)]
        answer = [w for w in expected if rng.random() > 0.3]
        for _ in range(rng.randrange(1 + n // 2)):
            answer.insert(rng.randrange(len(answer) + 1), rng.choice(WORDS))
        between = rng.choice([" ", " ", "\n", ". "])
        yield between.join(answer), " ".join(expected)


def main():
    leval, longbench, out = sys.argv[1:4]
    args = types.SimpleNamespace(pred_file="")
    mc, _ = functions(leval + "/Evaluation/auto_eval.py",
                      ["process_output_mc", "process_gt_mc", "process_math", "process_gt_judge", "process_output_judge"],
                      {"re": re, "args": args})
    em, _ = functions(leval + "/Evaluation/em.py", ["normalize_answer", "exact_match_score"],
                      {"re": re, "string": string})
    names = ["normalize_answer", "count_score", "retrieval_score", "code_sim_score", "classification_score",
             "rouge_score", "f1_score", "qa_f1_score"]
    bench, _ = functions(longbench + "/LongBench/metrics.py", names,
                         {"re": re, "string": string, "fuzz": fuzz, "difflib": difflib, "Counter": Counter,
                          "Rouge": Rouge})
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    rng = random.Random(7)
    pairs = []
    for answer, expected in HAND + list(made_up_pairs(rng)):
        pair = {"answer": answer, "expected": expected, "normalized": bench.normalize_answer(answer),
                "f1": bench.qa_f1_score(answer, expected),
                "rouge_l": scorer.score(expected, answer)["rougeL"].fmeasure,
                "rouge": bench.rouge_score(answer, expected), "fuzzy": fuzz.ratio(answer, expected)}
        pairs.append(pair)

    matches = []
    for kind, answers in LEVAL.items():
        args.pred_file = "coursera" if kind == "letters" else "other"
        for answer in answers:
            for expected in LEVAL_EXPECTED[kind]:
                if kind in ("letter", "letters"):
                    given, right = mc.process_output_mc(answer), mc.process_gt_mc(expected)
                elif kind == "number":
                    given, right = mc.process_math(answer), mc.process_math(expected)
                elif kind == "truth":
                    given = mc.process_output_judge(answer + " [fact: true]")[0]
                    right = mc.process_gt_judge(expected)[0]
                else:
                    given, right = answer, expected
                with contextlib.redirect_stdout(io.StringIO()):
                    score = em.exact_match_score(given, right)
                matches.append({"kind": kind, "answer": answer, "expected": expected, "score": score})

    scores = []

    def add(metric, answer, expected, classes=None):
        score = getattr(bench, metric)(answer, expected, all_classes=classes)
        scores.append({"metric": metric, "answer": answer, "expected": expected, "classes": classes, "score": score})

    for answer in ["7", "There are 7 of 9.", "07", "", "seven", "7 7 8", "٧"]:
        add("count_score", answer, "7")
    for answer in ["Paragraph 12", "12", "Paragraph 1", "Paragraph 12 or 3", "", "none"]:
        add("retrieval_score", answer, "Paragraph 12")
    for answer in ["return x", "\n\n```python\nreturn x\n```", "# why\nreturn  y", "// all\n// comments", "", "x // y\nz"]:
        for expected in ["return x", "    return x  # why", ""]:
            add("code_sim_score", answer, expected)
    classes = ["Number", "Number of", "Other number", "City", "Other city", "Other", "Abbreviation"]
    for answer in ["City", "Other city", "Other", "Number of", "City or Number", "other", "", "Other number and City",
                   "Abbreviation Number Other"]:
        for expected in ["City", "Other city", "Other number", "Number"]:
            add("classification_score", answer, expected, classes)
    with open(out, "w", encoding="utf-8") as file:
        for name, rows, end in (("pairs", pairs, ","), ("leval", matches, ","), ("longbench", scores, "")):
            file.write(("{" if name == "pairs" else "") + f'"{name}": [\n')
            file.write(",\n".join(json.dumps(row) for row in rows) + "\n]" + end + "\n")
        file.write("}\n")


if __name__ == "__main__":
    main()
