"""Multiple choice made from text at hand. The other choices resemble the true one in what can be counted, so that
nothing but the passage tells them apart."""
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Callable

from choice_items.items import ItemError, item

N_CHOICES = 4
N_AWAY = 20  # sentences between a passage and the other choices
LEAST_LETTERS = 4
N_COMMONEST = 150  # words of a book that no word item asks for
MOST_LINE = 120  # characters of a line of code
# Abbreviations, and letters that stand for names, end no sentence.
SENTENCE_END = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bRev)(?<!\bMme)(?<!\bMlle)(?<!\b[A-Z])"
                          r"[.!?]+[\"'”’)]*\s+(?=[\"'“‘(]*[A-Z])")
SENTENCE = re.compile(r"[\"'“‘(]*[A-Z].*[.!?]+[\"'”’)]*", re.DOTALL)
QUOTES = "\"'“‘("


@dataclass(frozen=True)
class Sentence:
    text: str
    opens_paragraph: bool
    section: int  # a heading begins the next

    @property
    def n_words(self):
        return len(self.text.split())


def sentences_of(book):
    found, section = [], 0
    for paragraph in re.split(r"\n\s*\n", book):
        paragraph = " ".join(paragraph.split())
        if not SENTENCE.fullmatch(paragraph):
            section += 1
            continue
        begin = 0
        for end in [*(match.end() for match in SENTENCE_END.finditer(paragraph)), len(paragraph)]:
            found.append(Sentence(paragraph[begin:end].strip(), begin == 0, section))
            begin = end
    return found


def passage_before(sentences, end, n_words):
    """(index of its first sentence, its text) of at least so many words, or None."""
    begin, n = end, 0
    while n < n_words:
        begin -= 1
        if begin < 0 or sentences[begin].section != sentences[end].section:
            return None
        n += sentences[begin].n_words
    parts = [("\n\n" if s.opens_paragraph and i > 0 else " " if i > 0 else "") + s.text
             for i, s in enumerate(sentences[begin:end])]
    return begin, "".join(parts)


def shuffled(rng, things):
    things = list(things)
    rng.shuffle(things)
    return things


def asked(rng, query, right, others):
    choices = shuffled(rng, [right, *others])
    return item(query, choices, choices.index(right))


def continuations(book, n_words, rng):
    sentences = sentences_of(book)
    for end in shuffled(rng, range(len(sentences))):
        right = sentences[end]
        passage = passage_before(sentences, end, n_words)
        if passage is None or right.opens_paragraph or not 6 <= right.n_words <= 40:
            continue

        def is_like(i):
            other = sentences[i]
            return ((i < passage[0] - N_AWAY or i > end + N_AWAY) and not other.opens_paragraph and
                    2 * right.n_words <= 3 * other.n_words <= 4.5 * right.n_words and
                    (other.text[0] in QUOTES) == (right.text[0] in QUOTES))

        others = {sentences[i].text for i in filter(is_like, range(len(sentences)))} - {right.text}
        if len(others) >= N_CHOICES - 1:
            yield asked(rng, passage[1], right.text, rng.sample(sorted(others), N_CHOICES - 1))


def last_words(book, n_words, rng):
    sentences = sentences_of(book)
    words = re.compile(r"[^\W\d_]+")
    counts = Counter(words.findall(book))
    commonest = {word for word, _ in counts.most_common(N_COMMONEST)}
    for end in shuffled(rng, range(len(sentences))):
        passage = passage_before(sentences, end, n_words)
        last = re.fullmatch(r"(.*\s)([^\W\d_]+)[.!?]+[\"'”’)]*", sentences[end].text, re.DOTALL)
        if passage is None or last is None:
            continue
        right, space = last[2], "\n\n" if sentences[end].opens_paragraph else " "
        query = passage[1] + space + last[1]
        candidates = {word for word in words.findall(query)
                      if len(word) >= LEAST_LETTERS and word.islower() and word not in commonest}

        def unlikeness(word):
            more, less = max(counts[word], counts[right]), min(counts[word], counts[right])
            return more / less + abs(len(word) - len(right)) / 2, word

        others = sorted(candidates - {right}, key=unlikeness)[:N_CHOICES - 1]
        if right in candidates and len(others) == N_CHOICES - 1:
            yield asked(rng, query.rstrip(), right, others)


def next_lines(source, n_words, rng):
    lines = [line.rstrip() for line in source.expandtabs().splitlines()]
    bare = [line.lstrip() for line in lines]
    n_blanks = [len(line) - len(text) for line, text in zip(lines, bare)]

    def is_full(i):
        return 12 <= len(bare[i]) <= MOST_LINE and re.search("[a-z]", bare[i]) is not None

    for end in shuffled(rng, filter(is_full, range(len(lines)))):
        begin, n = end, 0
        while n < n_words and begin > 0:
            begin -= 1
            n += len(lines[begin].split())
        if n < n_words or begin == end:
            continue
        right, passage = bare[end], set(bare[begin:end])
        others = {bare[i] for i in range(len(lines)) if is_full(i) and n_blanks[i] == n_blanks[end] and
                  len(right) <= 2 * len(bare[i]) <= 4 * len(right)} - passage - {right}
        if right not in passage and len(others) >= N_CHOICES - 1:
            query = "\n".join(lines[begin:end]) + "\n" + " " * n_blanks[end]
            yield asked(rng, query, right, rng.sample(sorted(others), N_CHOICES - 1))


@dataclass(frozen=True)
class Kind:
    about: str
    suffixes: tuple  # of the files that are read in folders
    items: Callable  # (text, words of a passage, rng) -> items


CODE_SUFFIXES = (".c", ".cc", ".cpp", ".cs", ".go", ".h", ".hpp", ".java", ".js", ".kt", ".php", ".py", ".rb", ".rs", ".scala", ".swift",
                 ".ts")
KINDS = {
    "continuation": Kind("a passage of a book; its next sentence, among sentences from elsewhere in it", (".txt",), continuations),
    "word": Kind("a passage without its last word; that word, among others that stand in the passage too", (".txt",), last_words),
    "code": Kind("the lines of a source file; the next one, among others as far indented", CODE_SUFFIXES, next_lines),
}


def files_of(paths, suffixes):
    """Each file once, those of folders by their names."""
    found = {}
    for path in paths:
        if not path.exists():
            raise ItemError(f"{path} does not exist")
        inside = sorted(p for p in path.rglob("*") if p.suffix in suffixes and p.is_file()) if path.is_dir() else [path]
        found.update((file.resolve(), (file, path.is_dir())) for file in inside)
    return list(found.values())


def text_items(kind, file, is_in_folder, n_words, rng):
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        if not is_in_folder:
            raise ItemError(f"{file} is not UTF-8") from None
        print(f"choice-items: {file} is not UTF-8, and left out", file=sys.stderr)
        return
    for found in kind.items(text, n_words, rng):
        yield {**found, "source": file.name}


def make_items(name, paths, n_items, n_words, seed):
    """From the files in turns, no right choice twice."""
    kind, rng = KINDS[name], random.Random(seed)
    turns = [text_items(kind, *file, n_words, rng) for file in shuffled(rng, files_of(paths, kind.suffixes))]
    items = {}
    while turns and len(items) < n_items:
        still_open = []
        for turn in turns:
            found = next((i for i in turn if (i["query"], i["choices"][i["gold"]]) not in items), None)
            if found is not None and len(items) < n_items:
                items[found["query"], found["choices"][found["gold"]]] = found
                still_open.append(turn)
        turns = still_open
    if len(items) < n_items:
        raise ItemError(f"{paths[0]} gives {len(items)} of {n_items} items; give more text, fewer --items or --words")
    return list(items.values())
