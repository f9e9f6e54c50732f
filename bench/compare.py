#!/usr/bin/env python3
"""Speed of chunkllm beside llama.cpp's on the same GGUF files, in turns, as a Markdown table.

Usage: bench/compare.py --chunkllm PROGRAM --llama-bench PROGRAM [options] FILE.gguf...

For each file and test, llama-bench runs first and chunkllm right after it; of llama.cpp's flash
attention off and on the better counts. Tests: a prefill of --prompt tokens, and --generate tokens at
each of --depths. Needs nothing beyond Python 3.
"""
import argparse
import json
import pathlib
import subprocess
import sys


def rows_of(command):
    """The JSON array that a benchmark prints."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"compare: {' '.join(command)} failed: {run.stderr.strip().splitlines()[-1:]}")
    return json.loads(run.stdout)


def llama_rates(args, model):
    """{(test, depth): tokens per second}, the better of flash attention off and on."""
    command = [args.llama_bench, "-m", model, "-t", str(args.threads), "-fa", "0,1", "-p", str(args.prompt),
               "-n", str(args.generate), "-d", args.depths, "-r", str(args.repetitions), "-o", "json"]
    rates = {}
    for row in rows_of(command):
        test = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
        key = test, row["n_depth"]
        rates[key] = max(rates.get(key, 0.0), row["avg_ts"])
    return rates


def own_rows(args, model):
    command = [args.chunkllm, "bench", "-m", model, "-t", str(args.threads), "-p", str(args.prompt), "-n",
               str(args.generate), "-d", args.depths, "-r", str(args.repetitions), "-o", "json", "--kv-type",
               args.kv_type]
    return rows_of(command + (["--synthetic"] if args.synthetic else []))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunkllm", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--depths", default="0")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--kv-type", default="f16", help="chunkllm's; llama.cpp's default is f16")
    parser.add_argument("--synthetic", action="store_true", help="chunkllm's depths are made up")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    print("| file | test | depth | llama.cpp, tokens/s | chunkllm, tokens/s | ratio | share of the limit |")
    print("|---|---|---|---|---|---|---|")
    for model in args.models:
        theirs = llama_rates(args, model)
        for row in own_rows(args, model):
            rate = theirs.get((row["test"], row["depth"]), 0.0)
            if rate <= 0:
                continue
            own = row["tokens_per_second"]
            print(f"| {pathlib.Path(model).name} | {row['test']} | {row['depth']} | {rate:.1f} | {own:.1f} | "
                  f"{own / rate:.2f} | {row['share_of_limit']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
