#!/usr/bin/env python3
"""Speed of chunkllm beside llama.cpp's on the same GGUF files, in turns, as a Markdown table.

Usage: bench/compare.py --chunkllm PROGRAM --llama-bench PROGRAM [options] FILE.gguf...

For each file, llama-bench and chunkllm run by turns, --turns times, and the median of the turns counts,
since a shared machine is slower at some moments; of llama.cpp's flash attention off and on the better
counts. Tests: a prefill of --prompt tokens, and --generate tokens at each of --depths. Needs nothing
beyond Python 3.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile


def run(command):
    """The JSON array that a benchmark prints, and the most memory it had, in bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in out, err:
            file.seek(0)
        if process.returncode != 0:
            sys.exit(f"compare: {' '.join(command)} failed: {err.read().decode().strip().splitlines()[-1:]}")
        return json.loads(out.read()), usage.ru_maxrss * 1024


def llama_rates(args, model):
    """{(test, depth): tokens per second}, the better of flash attention off and on; peak memory."""
    command = [args.llama_bench, "-m", model, "-t", str(args.threads), "-fa", args.flash, "-p", str(args.prompt),
               "-n", str(args.generate), "-d", args.depths, "-r", str(args.repetitions), "-o", "json"]
    rates = {}
    rows, peak_bytes = run(command)
    for row in rows:
        test = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
        key = test, row["n_depth"]
        rates[key] = max(rates.get(key, 0.0), row["avg_ts"])
    return rates, peak_bytes


def own_rates(args, model):
    command = [args.chunkllm, "bench", "-m", model, "--policy", "full", "-t", str(args.threads), "-p",
               str(args.prompt), "-n", str(args.generate), "-d", args.depths, "-r", str(args.repetitions), "-o",
               "json", "--kv-type", args.kv_type]
    rows, peak_bytes = run(command + (["--synthetic"] if args.synthetic else []))
    return {(row["test"], row["depth"]): (row["tokens_per_second"], row["share_of_limit"])
            for row in rows}, peak_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunkllm", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--depths", default="0")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--flash", default="0,1", help="llama.cpp's -fa; the better counts")
    parser.add_argument("--kv-type", default="f16", help="chunkllm's; llama.cpp's default is f16")
    parser.add_argument("--synthetic", action="store_true", help="chunkllm's depths are made up")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    print("| file | test | depth | llama.cpp, tokens/s | chunkllm, tokens/s | ratio | share of the limit |")
    print("|---|---|---|---|---|---|---|")
    for model in args.models:
        turns = [(llama_rates(args, model), own_rates(args, model)) for _ in range(args.turns)]
        name = pathlib.Path(model).name
        for test, depth in turns[0][1][0]:
            key = test, depth
            if key not in turns[0][0][0]:
                continue
            theirs = statistics.median(llama[0][key] for llama, _ in turns)
            own = statistics.median(rates[key][0] for _, (rates, _) in turns)
            share = statistics.median(rates[key][1] for _, (rates, _) in turns)
            print(f"| {name} | {test} | {depth} | {theirs:.1f} | {own:.1f} | {own / theirs:.2f} | {share:.2f} |",
                  flush=True)
        theirs, own = (max(turn[i][1] for turn in turns) / 1e6 for i in range(2))
        print(f"| {name} | peak memory, MB | | {theirs:.0f} | {own:.0f} | {own / theirs:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
