#!/usr/bin/env python3
"""Many clients that behave badly against a running `chunkllm serve`: they leave in the midst of answers, send
broken bodies and prompts that are too long, read slowly, and ask at the same time.

Usage: tools/serve_storm.py PROGRAM MODEL [--adapter DIR] [--requests N] [--clients N] [--seed N]
Starts the server itself. Fails if it ends, hangs, answers a good request otherwise than before, refuses a bad one
with another status than 4xx, goes on with what nobody waits for, or takes more and more memory.
"""

import argparse
import collections
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time

from answer_gaps import Answer, gap_of_difference

CTX = 2048
MOST_GAP = 0.1  # nats that rounding may make of nothing
WORDS = "the box of number holds apples and pears under an old tree near the river where nobody goes".split()


def text(rng, n_words):
    return " ".join(rng.choice(WORDS) for _ in range(n_words)) + "."


class Storm:
    def __init__(self, address, seed):
        self.host, port = address.split("//")[1].rsplit(":", 1)
        self.port = int(port)
        self.seed = seed
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.failures = []
        self.golden = {}

    def fail(self, what):
        with self.lock:
            self.failures.append(what)

    def post(self, body, timeout=120):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", "/v1/completions", data, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    # The same questions again and again, whose answers must not change but where two tokens are as likely up to
    # rounding: a prompt is cut otherwise beside others.
    def good(self, rng):
        number = rng.randrange(20)
        ask = random.Random(1000 + number)
        body = {"prompt": text(ask, 20 + 40 * number), "max_tokens": 8, "temperature": 0, "logprobs": 5}
        status, reply = self.post(body)
        if status == 503:
            return "busy"
        if status != 200:
            self.fail(f"a good request got {status}: {reply[:200]}")
            return "wrong"
        answer = Answer.of_completion(json.loads(reply)["choices"][0])
        with self.lock:
            expected = self.golden.setdefault(number, answer)
        gap = gap_of_difference(expected, answer)
        if gap > MOST_GAP:
            self.fail(f"question {number} was answered {answer.tokens}, before {expected.tokens}: {gap:.3f} nats apart")
        return "good"

    def bad(self, rng):
        bodies = [b"", b"{", b"[]", b"\xff\xfe", b'{"prompt": ' + b"[" * 2000, b'{"prompt": []}', b'{"prompt": [1e99]}',
                  b'{"prompt": "a", "max_tokens": -5}', b'{"prompt": "a", "n": 1e9}', b'{"prompt": {"a": 1}}',
                  b'{"prompt": "a", "stop": [1]}', b'{"prompt": "a", "temperature": "hot"}',
                  b'{"prompt": "a", "policy": "none"}', b'{"prompt": [[[1]]]}',
                  json.dumps({"prompt": text(rng, 5000)}).encode()]
        body = bytearray(rng.choice(bodies))
        if rng.random() < 0.3:  # a good one with changed bytes may be good or bad, but never a 5xx
            body = bytearray(json.dumps({"prompt": text(rng, 5), "max_tokens": 2, "temperature": 0}).encode())
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        status, reply = self.post(bytes(body))
        if status >= 500 and status != 503:
            self.fail(f"{bytes(body)[:100]} got {status}: {reply[:200]}")
        if status >= 400 and "error" not in json.loads(reply):
            self.fail(f"{bytes(body)[:100]} got {status} without an error object")
        return "bad"

    # Leaves while the prompt is read or the answer written.
    def leave(self, rng):
        body = json.dumps({"prompt": text(rng, rng.randrange(10, 1000)), "max_tokens": 400, "ignore_eos": True,
                           "stream": rng.random() < 0.5}).encode()
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            whole = head + body
            cut = len(whole) if rng.random() < 0.8 else rng.randrange(len(whole))
            connection.sendall(whole[:cut])
            time.sleep(rng.random() * 0.3)
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        return "left"

    def read_slowly(self, rng):
        body = json.dumps({"prompt": text(rng, 20), "max_tokens": 20, "stream": True}).encode()
        with socket.create_connection((self.host, self.port), timeout=120) as connection:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            for _ in range(15):
                if not connection.recv(64):
                    break
                time.sleep(0.02)
        return "slow"

    def client(self, number, n_requests):
        rng = random.Random(self.seed * 1000 + number)
        for _ in range(n_requests):
            act = rng.choices([self.good, self.bad, self.leave, self.read_slowly], [5, 3, 3, 1])[0]
            try:
                kind = act(rng)
            except (OSError, http.client.HTTPException, ValueError) as error:
                kind = "error"
                if act in (self.good, self.bad):
                    self.fail(f"{act.__name__}: {type(error).__name__}: {error}")
            with self.lock:
                self.counts[kind] += 1

    def metric(self, name):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request("GET", "/metrics")
        found = re.search(rf"^chunkllm:{name} (\S+)$", connection.getresponse().read().decode(), re.M)
        return float(found.group(1))


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    command = [args.program, "serve", "--model", args.model, "--port", "0", "--ctx", str(CTX), "--cache-disk-mib", "0",
               "--cache-ram-mib", "64", "--max-queued", "100"]
    if args.adapter:
        command += ["--adapter", args.adapter]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    storm = None
    for line in server.stderr:
        if found := re.match(r"listening at (\S+)", line):
            storm = Storm(found.group(1), args.seed)
            break
    if storm is None:
        sys.exit("the server did not start")
    threading.Thread(target=server.stderr.read, daemon=True).start()

    began = time.time()
    sizes = []
    rounds = 5  # memory is looked at after each, the first of which warms up
    for _ in range(rounds):
        threads = [threading.Thread(target=storm.client, args=(i + len(sizes) * args.clients,
                                                               args.requests // rounds // args.clients))
                   for i in range(args.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deadline = time.time() + 60
        while storm.metric("requests_processing") + storm.metric("requests_deferred") > 0:
            if time.time() > deadline:
                storm.fail("something still runs a minute after the last client")
                break
            time.sleep(0.1)
        sizes.append(rss_mib(server.pid))
        print(f"{sum(storm.counts.values())} requests, {dict(storm.counts)}, {sizes[-1]:.0f} MiB, "
              f"{time.time() - began:.0f} s", flush=True)
    if sizes[-1] > 1.1 * sizes[1] + 16:
        storm.fail(f"memory grew: {sizes}")
    server.terminate()
    if server.wait(60) != 130:
        storm.fail(f"the server ended with {server.returncode}")
    for failure in storm.failures[:20]:
        print("FAILED:", failure)
    print(f"{len(storm.failures)} failures")
    sys.exit(1 if storm.failures else 0)


if __name__ == "__main__":
    main()
