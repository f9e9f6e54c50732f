#!/usr/bin/python3
"""Clients of a completions server at once: requests a second, time to the first token, time between tokens.

Usage: bench/serve_clients.py URL [--clients 1,8,32] [--requests N] [--words N] [--document FILE] [--max-tokens N]
                              [--field NAME=JSON]... [--seed N] [--json]
URL is that of the server, of chunkllm or another one with POST /v1/completions and streams. Each request is a prompt of its
own of --words words (default 350, some 500 tokens), or with --document the file and a question of its own after it, and
--max-tokens tokens (default 64) are written whatever the model says. Each number of clients sends --requests requests (default:
four a client), one after another each. Only Python 3.
"""
import argparse
import http.client
import json
import random
import statistics
import sys
import threading
import time
import urllib.parse
from pathlib import Path

WORDS = ("the river was quiet that day and nobody came to door of house while old man walked along road with his dog under "
         "grey sky before rain began in market town people spoke about harvest price corn new bridge over water").split()


class Client:
    """One connection; what it measured of its requests."""

    def __init__(self, url, options):
        self.url = urllib.parse.urlsplit(url)
        self.options = options
        self.first_token_seconds = []
        self.between_seconds = []
        self.n_tokens = 0
        self.failures = []

    def ask(self, prompt):
        body = {"model": "any", "prompt": prompt, "max_tokens": self.options.max_tokens, "temperature": 0, "stream": True,
                "ignore_eos": True, "cache_prompt": True} | self.options.fields
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=3600)
        began = last = time.monotonic()
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            if reply.status != 200:
                raise OSError(f"{reply.status}: {reply.read(300)!r}")
            n = 0
            for line in reply:
                if not line.startswith(b"data: {"):
                    continue
                piece = json.loads(line[6:])
                if not piece.get("choices") or not piece["choices"][0].get("text"):
                    continue
                now = time.monotonic()
                if n == 0:
                    self.first_token_seconds.append(now - began)
                else:
                    self.between_seconds.append(now - last)
                last = now
                n += 1
            self.n_tokens += n
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.failures.append(str(error))
        finally:
            connection.close()


def prompt_of(rng, options):
    words = [rng.choice(WORDS) for _ in range(12 if options.document else options.words)]
    question = " ".join(words)
    return f"{options.document}\n\nWhat is said of {question}?" if options.document else question


def run(url, n_clients, options):
    n_each = options.requests or 4
    clients = [Client(url, options) for _ in range(n_clients)]
    rng = random.Random(f"{options.seed} {n_clients}")
    prompts = [[prompt_of(rng, options) for _ in range(n_each)] for _ in clients]

    def work(client, asked):
        for prompt in asked:
            client.ask(prompt)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(clients, prompts)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    failures = [failure for client in clients for failure in client.failures]
    if failures:
        sys.exit(f"serve_clients: error: {len(failures)} requests failed, the first: {failures[0]}")
    first = [s for client in clients for s in client.first_token_seconds]
    between = [s for client in clients for s in client.between_seconds]
    return {"clients": n_clients, "requests": len(first), "seconds": seconds, "requests_per_second": len(first) / seconds,
            "tokens_per_second": sum(client.n_tokens for client in clients) / seconds,
            "first_token_ms": 1000 * statistics.median(first), "first_token_ms_most": 1000 * max(first),
            "between_ms": 1000 * statistics.median(between), "between_ms_mean": 1000 * statistics.mean(between)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--requests", type=int, help="of each client")
    parser.add_argument("--words", type=int, default=350)
    parser.add_argument("--document", type=lambda path: Path(path).read_text())
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--field", action="append", default=[], help='a field of each request: kv_budget=0.1')
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.fields = {name: json.loads(value) for name, value in (field.split("=", 1) for field in options.field)}
    rows = [run(options.url, int(n), options) for n in options.clients.split(",")]
    if options.json:
        print(json.dumps(rows))
        return
    print("| clients | requests/s | tokens/s | first token, ms (most) | between tokens, ms (mean) |\n|---|---|---|---|---|")
    for row in rows:
        print("| {clients} | {requests_per_second:.3f} | {tokens_per_second:.1f} | {first_token_ms:.0f} ({first_token_ms_most:.0f}) | "
              "{between_ms:.1f} ({between_ms_mean:.1f}) |".format(**row))


if __name__ == "__main__":
    main()
