"""Published formats of multiple choice. Queries are worded as in lm-evaluation-harness, without examples."""
import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Callable

from choice_items.items import ItemError, item

LETTERS = "ABCD"


class Fields:
    """The fields of a record. Errors say what is wrong with which of them."""

    def __init__(self, record):
        if not isinstance(record, dict):
            raise ItemError("not a JSON object")
        self.record = record

    def __contains__(self, name):
        return name in self.record

    def get(self, name):
        if name not in self.record:
            raise ItemError(f'the field "{name}" is missing')
        return self.record[name]

    def text(self, name):
        return checked_text(self.get(name), f'the field "{name}"')

    def texts(self, name):
        return [checked_text(text, f'text {i} of the field "{name}"') for i, text in enumerate(self.list(name))]

    def list(self, name):
        found = self.get(name)
        if not isinstance(found, list) or not found:
            raise ItemError(f'the field "{name}" is no list, or empty')
        return found

    def fields(self, name):
        return Fields(self.get(name))

    def gold(self, name, n_choices):
        """An index, from 0, written as a number or as a text."""
        found = self.get(name)
        if found == "" or found == -1:
            raise ItemError(f'the field "{name}" holds no answer, as in test sets that are published without; take another split')
        if isinstance(found, str) and re.fullmatch("[0-9]{1,3}", found):
            found = int(found)
        if type(found) is not int or not 0 <= found < n_choices:
            raise ItemError(f'the field "{name}" is {json.dumps(found)[:40]}, and must be a number from 0 to {n_choices - 1}')
        return found


def checked_text(found, what):
    if not isinstance(found, str) or not found.strip():
        raise ItemError(f"{what} is no text, or empty")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ItemError(f"{what} is no valid Unicode") from None
    return found.strip()


def mmlu_item(question, choices, gold, subject):
    about = f" about {subject.replace('_', ' ')}" if subject else ""
    lines = [f"The following are multiple choice questions (with answers){about}.", "", question,
             *(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices)), "Answer:"]
    return item("\n".join(lines), list(LETTERS), gold)


def mmlu(fields, _):
    choices = fields.texts("choices")
    if len(choices) != len(LETTERS):
        raise ItemError(f'the field "choices" has {len(choices)} texts, and must have {len(LETTERS)}')
    subject = fields.text("subject") if "subject" in fields else ""
    return mmlu_item(fields.text("question"), choices, fields.gold("answer", len(LETTERS)), subject)


def mmlu_row(row, path):
    if len(row) != 2 + len(LETTERS):
        raise ItemError(f"{len(row)} columns, and there must be {2 + len(LETTERS)}: question, A, B, C, D, answer")
    question, *choices, answer = (checked_text(text, f"column {i + 1}") for i, text in enumerate(row))
    if answer not in tuple(LETTERS):
        raise ItemError(f"the answer is {json.dumps(answer[:40])}, and must be one of {', '.join(LETTERS)}")
    return mmlu_item(question, choices, LETTERS.index(answer), re.sub("_(test|val|dev)$", "", path.stem))


def hellaswag(fields, _):
    def clean(text):
        return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ").strip()

    context = fields.text("ctx")
    if fields.record.get("ctx_a") and fields.record.get("ctx_b"):
        context = f"{fields.text('ctx_a')} {fields.text('ctx_b').capitalize()}"
    if "activity_label" in fields:
        context = f"{fields.text('activity_label')}: {context}"
    endings = [checked_text(clean(text), f'text {i} of the field "endings"') for i, text in enumerate(fields.texts("endings"))]
    return item(clean(context), endings, fields.gold("label", len(endings)))


def arc(fields, _):
    if isinstance(fields.get("question"), dict):  # as the Allen Institute publishes it
        question = fields.fields("question")
        stem, choices = question.text("stem"), [Fields(choice) for choice in question.list("choices")]
        labels, texts = [c.text("label") for c in choices], [c.text("text") for c in choices]
    else:  # as Hugging Face does
        stem, choices = fields.text("question"), fields.fields("choices")
        labels, texts = choices.texts("label"), choices.texts("text")
        if len(labels) != len(texts):
            raise ItemError(f"{len(labels)} labels stand beside {len(texts)} texts")
    key = fields.text("answerKey")
    if labels.count(key) != 1:
        raise ItemError(f'the field "answerKey" is {json.dumps(key[:40])}, and the labels are {json.dumps(labels)[:80]}')
    return item(f"Question: {stem}\nAnswer:", texts, labels.index(key))


def piqa(fields, _):
    solutions = [fields.text("sol1"), fields.text("sol2")]
    return item(f"Question: {fields.text('goal')}\nAnswer:", solutions, fields.gold("label", 2))


def json_records(path, data):
    for i, line in enumerate(data.split("\n")):
        if line.strip():
            try:
                yield i + 1, Fields(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise ItemError(f"{path}, line {i + 1}: not JSON ({error})") from None
            except ItemError as error:
                raise ItemError(f"{path}, line {i + 1}: {error}") from None


def csv_records(path, data):
    reader = csv.reader(io.StringIO(data, newline=""), strict=True)
    line = 1  # where the row begins
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise ItemError(f"{path}, line {line}: not CSV ({error})") from None


def labelled_records(path, data):
    """PIQA's own files have the labels in a file beside them; elsewhere they are a field."""
    label_path = path.with_name(f"{path.stem}-labels.lst")
    records = list(json_records(path, data))
    if label_path.exists():
        labels = read_text(label_path).split()
        if len(labels) != len(records):
            raise ItemError(f"{label_path} has {len(labels)} labels for the {len(records)} lines of {path}")
        for (_, fields), label in zip(records, labels):
            fields.record["label"] = label
    return records


@dataclass(frozen=True)
class Format:
    about: str
    item: Callable             # (record, path) -> item
    records: Callable = json_records  # (path, its text) -> (line, record)


FORMATS = {
    "mmlu": Format("JSON lines of Hugging Face: question, choices, answer, subject", mmlu),
    "mmlu-csv": Format("the original: question, A, B, C, D, answer; the subject is the file's name", mmlu_row, csv_records),
    "hellaswag": Format("JSON lines: ctx, endings, label", hellaswag),
    "arc": Format("JSON lines, the original's or those of Hugging Face: question, choices, answerKey", arc),
    "piqa": Format("JSON lines: goal, sol1, sol2, and label or, beside FILE.jsonl, FILE-labels.lst", piqa, labelled_records),
}


def read_text(path):
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ItemError(f"{path}, line {line}: not UTF-8") from None


def convert_files(name, paths):
    found = FORMATS[name]
    items = []
    for path in paths:
        for line, record in found.records(path, read_text(path)):
            try:
                items.append(found.item(record, path))
            except ItemError as error:
                raise ItemError(f"{path}, line {line}: {error}") from None
    if not items:
        raise ItemError(f"{paths[0]} holds no questions")
    return items
