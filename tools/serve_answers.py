#!/usr/bin/env python3
"""Whether the answers of `chunkllm serve` are those of `chunkllm generate`: alone and with others, from what was read
before and not, for every policy.

Usage: tools/serve_answers.py PROGRAM MODEL TEXT [--adapter DIR] [--policies A,B] [--questions N] [--tokens N] [...]
Asks for the continuation of pieces of TEXT, of several lengths. Prompts are cut into other blocks beside others and
after a hit. Quantised models on processors without bfloat16 products compute the same bits all the same (--most 0).
Elsewhere last bits may differ, and more where inputs are rounded: a first difference must stand where two tokens are
as likely up to --most nats, in both answers. Prints a row for each policy and way to ask; fails if a gap is larger.
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import threading
import urllib.request

from answer_gaps import Answer, gap_of_difference, shift_before_difference

POLICIES = "full,chunk,streaming,separator,meankey,quest"
LEAST_CHARACTERS = 300


class Server:
    def __init__(self, program, model, n_slots, ctx, options):
        self.process = subprocess.Popen(
            [program, "serve", "--model", model, "--port", "0", "--ctx", str(ctx), "--parallel", str(n_slots),
             "--cache-ram-mib", "0", "--cache-disk-mib", "0", *options], stderr=subprocess.PIPE, text=True)
        self.n_slots = n_slots
        self.address = None
        for line in self.process.stderr:
            if found := re.match(r"listening at (\S+)", line):
                self.address = found.group(1)
                break
            print(line, end="", file=sys.stderr)
        if self.address is None:
            sys.exit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=1800) as reply:
            return json.load(reply)

    def erase_slots(self):
        for slot in range(self.n_slots):
            self.post(f"/slots/{slot}?action=erase", {})

    def close(self):
        self.process.terminate()
        self.process.wait(60)


def ask(server, prompt, policy, n_tokens):
    reply = server.post("/v1/completions", {"prompt": prompt, "policy": policy, "max_tokens": n_tokens,
                                            "temperature": 0, "logprobs": 20, "ignore_eos": True})
    return Answer.of_completion(reply["choices"][0]), reply["usage"]["prompt_tokens_details"]["cached_tokens"]


def generated(program, model, prompt, policy, n_tokens, ctx, options):
    command = [program, "generate", "--model", model, "--prompt-file", "-", "--policy", policy, "-n", str(n_tokens),
               "--ctx", str(ctx), "--temperature", "0", "--ignore-eos", *options]
    return subprocess.run(command, input=prompt, capture_output=True, text=True, check=True).stdout.removesuffix("\n")


def gap_to_text(answer, text):
    """The gap of an answer's first token that does not go on as `text` to the likeliest one that would; 0: the answer
    is the text."""
    done = ""
    for at, token in enumerate(answer.tokens):
        if text.startswith(done + token):
            done += token
            continue
        likely = max(answer.likeliest[at].values())
        return min((likely - log_prob for other, log_prob in answer.likeliest[at].items()
                    if text.startswith(done + other)), default=float("inf"))
    return 0.0


def row(policy, how, gaps, shifts, n_cached):
    differ = [gap for gap in gaps if gap > 0]
    moved = f"{max(shifts):.4f}" if shifts else "-"
    print(f"| `{policy}` | {how} | {len(gaps) - len(differ)} of {len(gaps)} | "
          f"{', '.join(f'{gap:.3f}' for gap in sorted(differ)) or '-'} | {moved} | {n_cached} |", flush=True)
    return differ


def compare(server, policy, prompts, texts, n_tokens):
    """Asks in all ways; the gaps that were found."""
    def at_once():
        with concurrent.futures.ThreadPoolExecutor(len(prompts)) as clients:
            return list(clients.map(lambda prompt: ask(server, prompt, policy, n_tokens), prompts))

    def one_by_one():
        return [ask(server, prompt, policy, n_tokens) for prompt in prompts]

    server.erase_slots()
    alone = one_by_one()
    gaps = row(policy, "alone, beside `generate`", [gap_to_text(answer, text) for (answer, _), text in zip(alone, texts)],
               [], sum(cached for _, cached in alone))
    for how, ways, erases in (("alone again", one_by_one, False), ("all at once", at_once, True),
                              ("all at once again", at_once, False)):
        if erases:
            server.erase_slots()
        answers = ways()
        pairs = [(one, other) for (one, _), (other, _) in zip(alone, answers)]
        gaps += row(policy, how, [gap_of_difference(*pair) for pair in pairs],
                    [shift_before_difference(*pair) for pair in pairs], sum(cached for _, cached in answers))
    return gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--adapter")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--kv-budget", default="512")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--questions", type=int, default=17)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--characters", type=int, default=6000, help="of the longest piece")
    parser.add_argument("--ctx", type=int, default=4096)
    parser.add_argument("--most", type=float, default=0.1, help="nats of a gap between two that are as likely")
    args = parser.parse_args()
    text = args.text.read_text(encoding="utf-8")
    prompts = []
    for i in range(args.questions):
        n = LEAST_CHARACTERS + (args.characters - LEAST_CHARACTERS) * i // max(1, args.questions - 1)
        begin = text.find("\n\n", len(text) * (i + 1) // (args.questions + 2)) + 2
        prompts.append(text[begin:begin + n].rsplit(None, 1)[0])
    options = ["--dtype", args.dtype, "--kv-budget", args.kv_budget]
    options += ["--adapter", args.adapter] if args.adapter else []
    server = Server(args.program, args.model, args.questions, args.ctx, options)
    print("| policy | asked | the same | gaps at first differences, nats | log-probabilities moved by | cached tokens |\n"
          "|---|---|---|---|---|---|")
    gaps = []
    try:
        for policy in args.policies.split(","):
            texts = [generated(args.program, args.model, prompt, policy, args.tokens, args.ctx, options)
                     for prompt in prompts]
            gaps += compare(server, policy, prompts, texts, args.tokens)
    finally:
        server.close()
    largest = max(gaps, default=0.0)
    print(f"{len(gaps)} first differences, the largest gap {largest:.3f} nats, at most {args.most} are allowed")
    sys.exit(1 if largest > args.most else 0)


if __name__ == "__main__":
    main()
