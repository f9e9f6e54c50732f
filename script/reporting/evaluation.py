"""Folders of `chunkllm eval`: what they say in sentences and tables."""
import re
from dataclasses import dataclass, field
from pathlib import Path

from reporting.drawing import ReportError
from reporting.records import clean, length_label, list_of, name_of, number, objects, read_json, text

TITLES = {
    "niah": "Needles in a haystack", "ppl": "Perplexity", "choice": "Multiple choice", "retrieval": "Retrieval",
    "ruler": "RULER", "longbench": "LongBench", "leval": "L-Eval", "recall": "Recall of the teacher's chunks",
    "icac": "Attention inside a chunk", "budget": "The budget that this model needs",
}
PERPLEXITY_TASKS = ("ppl",)
BY_LAYER_TASKS = ("recall", "icac")
MAIN_POLICY = "chunk"
MOST_SAID = 4  # budgets in the sentence
MOST_LOST = 12  # answers that are shown
MOST_ANSWER_LETTERS = 160
MOST_PARTS = 20  # columns of a table


@dataclass
class Row:
    """One column at one length."""
    ctx: int  # 0: of a task without lengths
    policy: str
    budget: str  # as a user gives it; empty: none
    prefill: str
    fields: dict = field(repr=False)

    @property
    def column(self):
        return " ".join(filter(None, (self.policy, self.budget))) + (f", prefill {self.prefill}" if self.prefill else "")

    def number(self, name):
        return number(self.fields, name)

    def parts(self):
        parts = self.fields.get("parts")
        scores = {name_of(name): number(part, "score") for name, part in parts.items()} if isinstance(parts, dict) else {}
        return {name: score for name, score in scores.items() if score is not None}


@dataclass
class Evaluation:
    folder: Path
    task: str
    model: str
    command: str
    rows: list
    settings: dict
    left_out: list
    budgets: list  # what `eval budget` found

    @property
    def title(self):
        return TITLES.get(self.task, self.task)

    @property
    def is_perplexity(self):
        return self.task in PERPLEXITY_TASKS

    @property
    def lengths(self):
        return sorted({row.ctx for row in self.rows})

    @property
    def columns(self):
        return list(dict.fromkeys(row.column for row in self.rows))

    def at(self, ctx):
        return [row for row in self.rows if row.ctx == ctx]


def _budget_words(value):
    if isinstance(value, float):
        return f"{value:g}"
    return name_of(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def read_evaluation(folder):
    path = Path(folder) / "results.json"
    if not path.exists() and (Path(folder) / "cells.jsonl").exists():
        raise ReportError(f"{folder}: the evaluation is not finished; run its command again, which goes on")
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("results"), list):
        raise ReportError(f"{path} holds no results of chunkllm eval")
    rows = []
    for entry in objects(found["results"]):
        policy = text(entry, "policy")
        if policy is not None:
            rows.append(Row(int(number(entry, "ctx") or 0), policy, _budget_words(entry.get("kv_budget")),
                            text(entry, "prefill") or "", entry))
    settings = found.get("settings")
    return Evaluation(Path(folder), text(found, "task") or "evaluation", text(found, "model") or "a model",
                      found["command"] if isinstance(found.get("command"), str) else "", rows, settings if isinstance(settings, dict) else {},
                      objects(found.get("left_out")), objects(found.get("budgets")))


def percent(share, digits=1):
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def with_error(value, error, show):
    if value is None:
        return "–"
    return show(value) if error is None else f"{show(value)} ± {show(error)}"


def attended(evaluation, rows):
    """Of the cache, the mean over lengths."""
    shares = [row.number("kv_retention") for row in rows]
    shares = [share for share in shares if share is not None]
    return percent(sum(shares) / len(shares)) if shares else None


def pooled_ratio(evaluation, rows):
    """(ratio, error, lengths) to `full` over the lengths that have one: of the sums of scores, or the mean of the ratios of
    perplexities. Errors of lengths are independent."""
    known = [(row.number("ratio"), row.number("ratio_error"), row.number("score"), row.ctx) for row in rows]
    known = [(r, e, s, c) for r, e, s, c in known if r is not None and (evaluation.is_perplexity or s is not None)]
    if not known:
        return None
    # score = ratio * the score of full, so that the weights are the scores of full.
    weights = [1.0 if evaluation.is_perplexity or not r else s / r for r, _, s, _ in known]
    total = sum(weights)
    if not total > 0:
        return None
    ratio = sum(r * w for (r, _, _, _), w in zip(known, weights)) / total
    errors = [e for _, e, _, _ in known]
    error = None
    if all(e is not None for e in errors):
        error = sum((e * w / total) ** 2 for e, w in zip(errors, weights)) ** 0.5
    return ratio, error, [c for _, _, _, c in known]


def _kept(evaluation, ratio, error):
    if evaluation.is_perplexity:
        more = with_error(abs(ratio - 1), error, lambda v: percent(v, 2))
        return f"{more} {'above' if ratio >= 1 else 'below'}"
    return with_error(ratio, error, percent)


def _claims_of(evaluation, policy):
    """What one policy keeps at each of its budgets."""
    columns = {}
    for row in evaluation.rows:
        if row.policy == policy:
            columns.setdefault((row.prefill, row.budget), []).append(row)
    said = []
    for (prefill, _), rows in columns.items():
        pooled = pooled_ratio(evaluation, rows)
        share = attended(evaluation, rows)
        if pooled is None or share is None:
            continue
        said.append((prefill, _kept(evaluation, *pooled[:2]), share, pooled[2]))
    return said


def _main_policies(evaluation):
    policies = list(dict.fromkeys(row.policy for row in evaluation.rows if row.policy != "full"))
    return sorted(policies, key=lambda policy: policy != MAIN_POLICY)


def claims(evaluation):
    """Sentences, the first of which is the claim."""
    if evaluation.budgets:
        return [_budget_claim(entry) for entry in evaluation.budgets]
    if evaluation.task in BY_LAYER_TASKS:
        return _by_layer_claims(evaluation)
    sentences = []
    verb, first = ("has a perplexity", " full attention's") if evaluation.is_perplexity else ("keeps", " of full attention's score")
    for policy in _main_policies(evaluation):
        said = _claims_of(evaluation, policy)
        if not said:
            continue
        several = len({prefill for prefill, *_ in said}) > 1
        lengths = [ctx for ctx in sorted({ctx for *_, found in said for ctx in found}) if ctx > 0]
        parts = [f"{kept}{'' if i else first} attending to {share}{'' if i else ' of the cache'}"
                 + (f" (prefill {prefill})" if several and prefill else "") for i, (prefill, kept, share, _) in enumerate(said[:MOST_SAID])]
        where = f", with contexts of {list_of(map(length_label, lengths))} tokens" if lengths else ""
        sentences.append(f"{policy} {verb} {list_of(parts)}{where}.")
    return sentences or _scores(evaluation) or ["There are no results yet."]


def _scores(evaluation):
    """Where nothing can be compared with `full`."""
    show = score_show(evaluation)
    said = [(row.column, row) for row in evaluation.rows if row.number("score") is not None]
    return [f"{name} scores {with_error(row.number('score'), row.number('score_error'), show)}"
            + (f" at {length_label(row.ctx)} tokens" if row.ctx else "") + "." for name, row in said[:MOST_SAID]]


def _recall_claim(parts):
    """What the choices at prompt ends hold, with the first share of tokens."""
    found = [(match[1], match[2], score) for name, score in parts.items()
             if (match := re.fullmatch(r"captured ([\d.]+), prompt ends, ([^,]+)", name)) and match[2] != "oracle"]
    if not found:
        return None
    share = max(found, key=lambda entry: float(entry[0]) if entry[0].replace(".", "", 1).isdecimal() else 0)[0]
    held = sorted(((by, score) for of, by, score in found if of == share), key=lambda entry: (entry[0] != MAIN_POLICY, -entry[1]))
    said = [f"{by} {percent(score)}" for by, score in held]
    return f"At prompt ends, with {share} of the eligible tokens, choices hold of what the oracle's holds: {list_of(said)}"


def _icac_claim(parts):
    said = [(words, parts[name]) for words, name in (
        ("one chunk", "correlation, one chunk"), ("neighbouring chunks", "correlation, neighbouring chunks"),
        ("fixed chunks of that length", "correlation, fixed chunks")) if name in parts]
    if not said:
        return None
    return "What two tokens attend to correlates: " + list_of(f"in {words} {score:.3f}" for words, score in said)


def _by_layer_claims(evaluation):
    claim = {"recall": _recall_claim, "icac": _icac_claim}[evaluation.task]
    said = [(row, claim(row.parts())) for row in evaluation.rows]
    return [words + (f" ({length_label(row.ctx)} tokens)" if row.ctx else "") + "." for row, words in said if words] or \
        _scores(evaluation) or [f"{evaluation.title}, by layer."]


def _budget_claim(entry):
    ctx = number(entry, "ctx")
    policy = text(entry, "policy") or "the policy"
    keep = percent(number(entry, "keep") or 0, 0)
    where = f"At {length_label(ctx)} tokens" if ctx else "There"
    budget = _budget_words(entry.get("kv_budget"))
    if not budget:
        return f"{where} no budget that was tried keeps {keep} of full attention's score with {policy}."
    kept = with_error(number(entry, "ratio"), number(entry, "ratio_error"), percent)
    sentence = (f"{where} {policy} needs --kv-budget {budget} for {keep} of full attention's score: it keeps {kept}, attending to "
                f"{percent(number(entry, 'kv_retention'))} of the cache")
    speeds = [f"{what} {factor:.2f} times as fast" for what, name in (("reads", "prefill_speedup"), ("writes", "decode_speedup"))
              if (factor := number(entry, name)) is not None]
    return sentence + (f", and {list_of(speeds)} as full" if speeds else "") + "."


def score_show(evaluation):
    return (lambda v: f"{v:.4f}") if evaluation.is_perplexity else (lambda v: f"{v:.3f}")


def results_table(evaluation):
    """(headings, rows of words); columns that say nothing anywhere are left out."""
    show = score_show(evaluation)
    rate = lambda v: "–" if v is None else f"{v:,.1f}"
    columns = [
        ("context", lambda r: length_label(r.ctx) if r.ctx else ""),
        ("policy", lambda r: r.policy),
        ("--kv-budget", lambda r: r.budget),
        ("--prefill", lambda r: r.prefill),
        ("KV retention", lambda r: percent(r.number("kv_retention"))),
        ("prefill retention", lambda r: percent(r.number("prefill_retention"))),
        ("missed mass", lambda r: percent(r.number("missed_mass"))),
        ("perplexity" if evaluation.is_perplexity else "score",
         lambda r: with_error(r.number("score"), r.number("score_error"), show)),
        ("of full", lambda r: with_error(r.number("ratio"), r.number("ratio_error"), lambda v: percent(v, 2))),
        ("prefill tokens/s", lambda r: rate(r.number("prefill_tokens_per_second"))),
        ("decode tokens/s", lambda r: rate(r.number("decode_tokens_per_second"))),
        ("n", lambda r: "–" if r.number("n") is None else f"{r.number('n'):,.0f}"),
    ]
    return _table(columns, evaluation.rows)


def parts_table(evaluation):
    """A line a row of the results, or, where parts are many, a line a part."""
    show = score_show(evaluation)
    rows = [row for row in evaluation.rows if row.parts()]
    names = list(dict.fromkeys(name for row in rows for name in row.parts()))
    if not names:
        return None
    if len(names) > MOST_PARTS:
        headings = [row.column + (f" at {length_label(row.ctx)}" if row.ctx else "") for row in rows]
        return ["part"] + headings, [[name] + [show(row.parts()[name]) if name in row.parts() else "–" for row in rows] for name in names]
    columns = [("context", lambda r: length_label(r.ctx) if r.ctx else ""), ("column", lambda r: r.column)]
    columns += [(name, lambda r, name=name: show(r.parts()[name]) if name in r.parts() else "–") for name in names]
    return _table(columns, evaluation.rows)


def budget_table(evaluation):
    factor = lambda name: lambda e: "–" if number(e, name) is None else f"{number(e, name):.2f}x"
    ratio = lambda name: lambda e: with_error(number(e, name), number(e, name + "_error"), lambda v: percent(v, 2))

    def smaller(entry):
        after = entry.get("next_smaller")
        if not isinstance(after, dict):
            return "–"
        worse = ratio("perplexity_ratio")(after)
        return f"{_budget_words(after.get('kv_budget'))}: {ratio('ratio')(after)}" + ("" if worse == "–" else f", perplexity {worse}")

    columns = [
        ("context", lambda e: length_label(number(e, "ctx") or 0)),
        ("policy", lambda e: text(e, "policy") or ""),
        ("--prefill", lambda e: text(e, "prefill") or ""),
        ("score of full", lambda e: "–" if number(e, "full_score") is None else f"{number(e, 'full_score'):.3f}"),
        ("--kv-budget", lambda e: _budget_words(e.get("kv_budget")) or "none"),
        ("KV retention", lambda e: percent(number(e, "kv_retention"))),
        ("kept", ratio("ratio")),
        ("perplexity of full", ratio("perplexity_ratio")),
        ("next smaller", smaller),
        ("prefill speed-up", factor("prefill_speedup")),
        ("decode speed-up", factor("decode_speedup")),
    ]
    return _table(columns, evaluation.budgets)


def _table(columns, rows):
    cells = [[show(row) for _, show in columns] for row in rows]
    kept = [i for i in range(len(columns)) if any(line[i] not in ("", "–") for line in cells)]
    return [columns[i][0] for i in kept], [[line[i] for i in kept] for line in cells]


def lost_answers(evaluation):
    """A table of questions that full attention answered better, the greatest losses first; None where there are none, or no
    cells.jsonl to read them from."""
    try:
        cells = objects(read_json(evaluation.folder / "cells.jsonl"))
    except ReportError:
        return None
    of_full, others = {}, []
    for cell in cells:
        details = cell.get("details")
        answers = details.get("answers") if isinstance(details, dict) else None
        for i, answer in enumerate(objects(answers)):
            key = (number(cell, "ctx"), number(cell, "sample"), i)
            if number(answer, "score") is None:
                continue
            if cell.get("policy") == "full":
                of_full[key] = answer
            else:
                others.append((key, " ".join((text(cell, "policy") or "", _budget_words(cell.get("kv_budget")))), answer))
    lost = [(number(of_full[key], "score") - number(answer, "score"), key, column, answer)
            for key, column, answer in others if key in of_full]
    lost = sorted((entry for entry in lost if entry[0] > 0), key=lambda entry: -entry[0])[:MOST_LOST]
    columns = [
        ("context", lambda e: length_label(e[1][0]) if e[1][0] else ""),
        ("column", lambda e: e[2]),
        ("question", lambda e: _words(e[3].get("question"))),
        ("expected", lambda e: _words(e[3].get("expected"))),
        ("full answered", lambda e: _words(of_full[e[1]].get("answer"))),
        ("it answered", lambda e: _words(e[3].get("answer"))),
    ]
    return _table(columns, lost) if lost else None


def _words(value):
    """A text, or a list of them, on one line and not too long."""
    line = clean(" ".join((", ".join(map(str, value)) if isinstance(value, list) else str(value or "")).split()))
    return line if len(line) <= MOST_ANSWER_LETTERS else line[:MOST_ANSWER_LETTERS - 1] + "…"


def notes(evaluation):
    """Sentences about doubts, and about budgets that a length has no place for."""
    words = []
    for entry in evaluation.budgets:
        said = entry.get("notes")
        words += [f"{text(entry, 'policy') or ''} at {length_label(number(entry, 'ctx') or 0)} tokens: {clean(note)}"
                  for note in (said if isinstance(said, list) else ()) if isinstance(note, str)]
    for entry in evaluation.left_out:
        ctx, least = number(entry, "ctx"), number(entry, "least_tokens")
        if ctx and least is not None:
            words.append(f"{text(entry, 'policy') or ''} {_budget_words(entry.get('kv_budget'))} at {length_label(ctx)} tokens is "
                         f"left out: it would be less than the least budget of {least:,.0f} tokens.")
    return words
