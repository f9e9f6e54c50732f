#!/usr/bin/env python3
"""script/choice-items: published lines in small copies of their formats, and items made from made-up text."""
import json
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from load_script import SCRIPTS

ARC = {"id": "a", "question": {"stem": "Why is ice cold?", "choices": [
    {"text": "It is frozen.", "label": "1"}, {"text": "It is wet.", "label": "2"}, {"text": "It is old.", "label": "3"}]}, "answerKey": "3"}
ARC_FLAT = {"id": "a", "question": "Why is ice cold?", "choices": {
    "text": ["It is frozen.", "It is wet.", "It is old."], "label": ["A", "B", "C"]}, "answerKey": "C"}
HELLASWAG = {"ind": 4, "activity_label": "Baking", "ctx_a": "She opens it. [header] The oven", "ctx_b": "the oven", "label": "1",
             "ctx": "She opens it. the oven", "endings": ["is  hot [step] now.", "flies."], "split": "val"}
PIQA = {"goal": "Dry a shirt.", "sol1": "Hang it.", "sol2": "Eat it.", "label": 0}
MMLU = {"question": "What is 1 + 1?", "subject": "abstract_algebra", "choices": ["1", "2", "3", "4"], "answer": 1}
MMLU_QUERY = ("The following are multiple choice questions (with answers) about abstract algebra.\n\n"
              "What is 1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:")


class ChoiceItemsTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_script(self, *arguments):
        return subprocess.run([SCRIPTS / "choice-items", *map(str, arguments)], capture_output=True, text=True, check=False)

    def items(self, *arguments):
        done = self.run_script(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def refuses(self, words, *arguments):
        done = self.run_script(*arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(words, done.stderr)


class ConvertTest(ChoiceItemsTest):
    def convert(self, form, *records):
        path = self.write("items.jsonl", "".join(json.dumps(record) + "\n\n" for record in records))
        return self.items("convert", form, path)

    def test_arc_in_both_forms(self):
        expected = {"query": "Question: Why is ice cold?\nAnswer:", "gold": 2, "choices": ["It is frozen.", "It is wet.", "It is old."]}
        self.assertEqual(self.convert("arc", ARC, ARC_FLAT), [expected, expected])

    def test_hellaswag(self):
        choices = ["is hot now.", "flies."]
        self.assertEqual(self.convert("hellaswag", HELLASWAG), [
            {"query": "Baking: She opens it. The oven The oven", "choices": choices, "gold": 1}])
        bare = {key: HELLASWAG[key] for key in ("ctx", "endings")}
        self.assertEqual(self.convert("hellaswag", {**bare, "label": 0}), [
            {"query": "She opens it. the oven", "choices": choices, "gold": 0}])

    def test_piqa_with_labels_inside_and_beside(self):
        expected = {"query": "Question: Dry a shirt.\nAnswer:", "choices": ["Hang it.", "Eat it."], "gold": 0}
        self.assertEqual(self.convert("piqa", PIQA), [expected])
        bare = json.dumps({key: PIQA[key] for key in ("goal", "sol1", "sol2")})
        path = self.write("valid.jsonl", f"{bare}\n{bare}\n")
        self.refuses('valid.jsonl, line 1: the field "label" is missing', "convert", "piqa", path)
        self.write("valid-labels.lst", "0\n1\n")
        self.assertEqual(self.items("convert", "piqa", path), [expected, {**expected, "gold": 1}])
        self.write("valid-labels.lst", "0\n")
        self.refuses("1 labels for the 2 lines", "convert", "piqa", path)
        self.write("valid-labels.lst", "0\n2\n")
        self.refuses('valid.jsonl, line 2: the field "label" is 2', "convert", "piqa", path)

    def test_mmlu_in_both_forms(self):
        expected = {"query": MMLU_QUERY, "choices": ["A", "B", "C", "D"], "gold": 1}
        self.assertEqual(self.convert("mmlu", MMLU), [expected])
        path = self.write("abstract_algebra_test.csv", 'What is 1 + 1?,1,2,3,4,B\r\n"What,\n""is"" it?",a,b,c,d,D\r\n')
        first, second = self.items("convert", "mmlu-csv", path)
        self.assertEqual(first, expected)
        self.assertIn('\n\nWhat,\n"is" it?\nA. a\n', second["query"])
        self.assertEqual(second["gold"], 3)

    def test_bad_lines_are_named(self):
        for form, good, bad, words in [
                ("arc", ARC, {**ARC, "answerKey": "4"}, 'the field "answerKey" is "4"'),
                ("arc", ARC, {**ARC, "question": 3}, 'the field "question" is no text'),
                ("arc", ARC, {"question": {"stem": "a", "choices": ["b"]}, "answerKey": "A"}, "not a JSON object"),
                ("arc", ARC, {**ARC_FLAT, "choices": {"text": ["a", "b"], "label": ["A"]}}, "1 labels stand beside 2 texts"),
                ("arc", ARC, {**ARC_FLAT, "choices": {"text": ["a", ""], "label": ["A", "B"]}}, 'text 1 of the field "text" is no text'),
                ("hellaswag", HELLASWAG, {**HELLASWAG, "label": ""}, 'the field "label" holds no answer'),
                ("hellaswag", HELLASWAG, {**HELLASWAG, "label": "2"}, 'the field "label" is 2'),
                ("hellaswag", HELLASWAG, {**HELLASWAG, "label": True}, 'the field "label" is true'),
                ("hellaswag", HELLASWAG, {**HELLASWAG, "endings": []}, 'the field "endings" is no list, or empty'),
                ("hellaswag", HELLASWAG, {**HELLASWAG, "endings": ["a", "[b]"]}, 'text 1 of the field "endings"'),
                ("hellaswag", HELLASWAG, {"label": 0}, 'the field "ctx" is missing'),
                ("mmlu", MMLU, {**MMLU, "choices": ["1"]}, 'the field "choices" has 1 texts'),
                ("mmlu", MMLU, {**MMLU, "answer": -1}, 'the field "answer" holds no answer'),
                ("mmlu", MMLU, {**MMLU, "question": "\ud800"}, 'the field "question" is no valid Unicode'),
                ("piqa", PIQA, {**PIQA, "sol2": " "}, 'the field "sol2" is no text, or empty')]:
            with self.subTest(words):
                path = self.write("bad.jsonl", f"{json.dumps(good)}\n\n{json.dumps(bad)}\n")
                self.refuses(f"bad.jsonl, line 3: {words}", "convert", form, path)
        for line in ("[1]", '{"question":', "[" * 100000, "NaN"):
            path = self.write("bad.jsonl", f"{json.dumps(ARC)}\n{line}\n")
            self.refuses("bad.jsonl, line 2: not ", "convert", "arc", path)
        self.refuses("bad.jsonl, line 2: not UTF-8", "convert", "arc", self.write("bad.jsonl", b"{}\n\xff\n"))
        self.refuses("empty.jsonl holds no questions", "convert", "arc", self.write("empty.jsonl", "\n \n"))
        self.refuses("none.jsonl", "convert", "arc", self.folder / "none.jsonl")
        for row, words in [("a,b,c,d,e\n", "5 columns"), ("q,a,b,c,d,E\n", 'the answer is "E"'), ("q,a,b,c,d,AB\n", "the answer is"),
                           ("q,a,,c,d,A\n", "column 3 is no text"), ('q,"a"b,b,c,d,A\n', "not CSV"), ('q,"a', "not CSV")]:
            path = self.write("bad.csv", f'"two\nlines",a,b,c,d,A\n{row}')
            self.refuses(f"bad.csv, line 3: {words}", "convert", "mmlu-csv", path)

    def test_a_file_is_written_whole_or_not_at_all(self):
        out = self.write("out.jsonl", "before")
        link = self.folder / "link.jsonl"
        link.symlink_to(out)
        self.refuses("line 1", "convert", "arc", self.write("bad.jsonl", "{}"), "--out", link)
        self.assertEqual(out.read_text(), "before")
        self.assertEqual(self.items("convert", "arc", self.write("good.jsonl", json.dumps(ARC)), "--out", link), [])
        self.assertEqual(json.loads(out.read_text())["gold"], 2)
        self.assertTrue(link.is_symlink())
        self.refuses("is no file", "convert", "arc", self.folder / "good.jsonl", "--out", self.folder)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"out.jsonl", "link.jsonl", "bad.jsonl", "good.jsonl"})


class MakeTest(ChoiceItemsTest):
    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        lexicon = ["".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(rng.randint(2, 4))) for _ in range(600)]

        def sentence():
            words = [min(rng.choices(lexicon, k=2), key=lexicon.index) for _ in range(rng.randint(6, 14))]
            return " ".join(words).capitalize() + "."

        for name in ("a", "b"):
            paragraphs = [" ".join(sentence() for _ in range(rng.randint(2, 9))) for _ in range(120)]
            self.write(f"books/{name}.txt", f"Title: {name}\n\nCHAPTER I\n\n" + "\n\n".join(paragraphs))
        functions = [f"def f{i}(value_{i}):\n    total_{i} = value_{i} * {i}\n    if total_{i} > {i}:\n        return total_{i} - {i}\n"
                     f"    return value_{i} + {i}\n" for i in range(40)]
        self.write("code/a.py", "\n\n".join(functions))
        self.write("code/b.py", b"\xff")
        self.write("code/notes.txt", "No code.")

    def make(self, kind, *arguments, data="books"):
        return self.items("make", kind, "--data", self.folder / data, "--items", 30, "--words", 40, *arguments)

    def check(self, found):
        self.assertEqual(len(found), 30)
        for one in found:
            self.assertEqual(len(set(one["choices"])), 4)
            self.assertGreaterEqual(len(one["query"].split()), 40)
        self.assertEqual({one["gold"] for one in found}, {0, 1, 2, 3})

    def right(self, one):
        return one["choices"][one["gold"]]

    def book(self, one):
        return (self.folder / "books" / one["source"]).read_text()

    def test_continuations_are_the_next_sentences(self):
        found = self.make("continuation")
        self.check(found)
        for one in found:
            self.assertIn(f"{one['query']} {self.right(one)}", self.book(one))
            for choice in one["choices"]:
                self.assertIn(choice, self.book(one))
                self.assertNotIn(choice, one["query"])
        self.assertEqual({one["source"] for one in found}, {"a.txt", "b.txt"})

    def test_words_stand_in_the_passage(self):
        found = self.make("word")
        self.check(found)
        for one in found:
            self.assertIn(f"{one['query']} {self.right(one)}.", self.book(one))
            for choice in one["choices"]:
                self.assertRegex(one["query"], rf"(?i)\b{choice}\b")

    def test_lines_are_the_next_and_indented_alike(self):
        done = self.run_script("make", "code", "--data", self.folder / "code", "--items", 30, "--words", 40)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"b\.py is not UTF-8, and left out\n$")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        self.check(found)
        source = (self.folder / "code" / "a.py").read_text()
        for one in found:
            self.assertIn(one["query"] + self.right(one) + "\n", source + "\n")
            indentation = one["query"].rsplit("\n", 1)[1]
            self.assertEqual(indentation.strip(), "")
            for choice in one["choices"]:
                self.assertIn(f"\n{indentation}{choice}\n", f"\n{source}\n")
                self.assertNotIn(f"\n{indentation}{choice}\n", one["query"])

    def test_the_seed_alone_decides(self):
        for kind in ("continuation", "word"):
            first = self.make(kind, "--seed", 3)
            self.assertEqual(first, self.make(kind, "--seed", 3))
            self.assertNotEqual(first, self.make(kind, "--seed", 4))

    def test_what_cannot_be_made_is_said(self):
        books = self.folder / "books"
        self.refuses("items; give more text", "make", "continuation", "--data", books, "--items", 100000)
        self.refuses("of 200 items", "make", "word", "--data", self.write("short.txt", "One sentence. Another one."))
        self.refuses("none does not exist", "make", "word", "--data", self.folder / "none")
        self.refuses("b.py is not UTF-8", "make", "code", "--data", self.folder / "code" / "b.py")
        for option in ("--items=0", "--items=x", "--seed=-1", "--words=0"):
            self.assertEqual(self.run_script("make", "word", "--data", books, option).returncode, 2)


if __name__ == "__main__":
    unittest.main()
