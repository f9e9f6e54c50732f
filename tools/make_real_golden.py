#!/usr/bin/env python3
"""Makes the golden values of a real GGUF model from Hugging Face transformers, in float32 on the dequantised weights.

Usage: make_real_golden.py MODEL.gguf OUT.json     needs torch, transformers, gguf and llama.cpp's llama-tokenize

MODEL.gguf is what script/fetch-model brings, or any other. Token ids are llama.cpp's. OUT.json holds
  sha256        of the file
  ids           the first tokens of tests/golden/real/book.txt, with what the model's tokenizer puts around
  top1          the best token after each of them
  top1_gap      the smallest and the hundredth part of the gaps between the best and the second-best logit
  logits        at some positions, [position, id, value]: the best five tokens and some that stand anywhere
  chats         for models with a chat template, each with
    messages, prompt_ids
    answer_ids  the greedy answer, with the token that ended it if it came
    gap         the smallest gap between the best and the second-best logit along the answer
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

N_TOKENS = 550  # more than Gemma 3's window of 512
N_ANSWER = 24
MIN_GAP = 0.02  # a hundred times what two float32 programs differ by: rounding turns no token of an answer
POSITIONS = range(19, N_TOKENS, 40)
BOOK = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "tests/golden/real/book.txt")

CHATS = [
    [("user", "What is the capital of France?")],
    [("user", "Write one sentence about the sea.")],
    [("system", "You answer in one word."), ("user", "Which animal says meow?")],
    [("user", "Count from one to ten.")],
    [("user", "My name is Ada."), ("assistant", "Hello, Ada! How can I help you today?"), ("user", "What is my name?")],
    [("user", "Name three colours of the rainbow.")],
    [("user", "What does the Python expression len([1, 2, 3]) give?")],
    [("user", "Translate to Spanish: good morning")],
]


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def token_ids(path, text):
    """llama.cpp's ids of a text; special tokens are read as such."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(["llama-tokenize", "-m", path, "--ids", "--log-disable", "-f", file.name],
                              capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def load(path):
    folder, name = os.path.split(os.path.abspath(path))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32,
                                                 quantization_config=GgufConfig(dequantize=True, gguf_file=name))
    return model.float().eval()


def book_values(model, path):
    with open(BOOK, encoding="utf-8") as file:
        ids = token_ids(path, file.read())[:N_TOKENS]
    logits = model(torch.tensor([ids])).logits[0]
    best = logits.topk(5)
    gaps = (best.values[:, 0] - best.values[:, 1]).sort().values
    generator = torch.Generator().manual_seed(1)
    some = torch.randint(0, logits.shape[1], (3,), generator=generator).tolist()
    values = [[t, i, round(float(logits[t, i]), 5)] for t in POSITIONS for i in best.indices[t].tolist() + some]
    return dict(ids=ids, top1=best.indices[:, 0].tolist(),
                top1_gap=[round(float(gaps[0]), 6), round(float(gaps[len(gaps) // 100]), 6)], logits=values)


def chat_values(model, tokenizer, path, turns):
    messages = [dict(role=role, content=content) for role, content in turns]
    prompt = token_ids(path, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    eos = model.generation_config.eos_token_id
    ends = set(eos if isinstance(eos, list) else [eos]) | {tokenizer.eos_token_id}
    answer, gap, cache, next_ids = [], float("inf"), None, prompt
    while len(answer) < N_ANSWER and not ends & set(answer):
        result = model(torch.tensor([next_ids]), past_key_values=cache, use_cache=True)
        cache, best = result.past_key_values, result.logits[0, -1].topk(2)
        answer.append(int(best.indices[0]))
        next_ids = answer[-1:]
        gap = min(gap, float(best.values[0] - best.values[1]))
    print(f"gap {gap:.4f}  {tokenizer.decode(answer)!r}", file=sys.stderr)
    return dict(messages=messages, prompt_ids=prompt, answer_ids=answer, gap=round(gap, 5))


@torch.no_grad()
def main():
    path, out = sys.argv[1:]
    folder, name = os.path.split(os.path.abspath(path))
    model = load(path)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    golden = dict(sha256=sha256_of(path), **book_values(model, path), chats=[])
    if tokenizer.chat_template:
        chats = [chat_values(model, tokenizer, path, turns) for turns in CHATS]
        golden["chats"] = [chat for chat in chats if chat["gap"] >= MIN_GAP]
    with open(out, "w", encoding="utf-8") as file:
        # A line a field, and a line a chat: short, and changes can be read.
        chats = ",\n  ".join(json.dumps(chat, ensure_ascii=False) for chat in golden.pop("chats"))
        fields = "".join(f' "{key}": {json.dumps(value)},\n' for key, value in golden.items())
        file.write("{\n" + fields + ' "chats": [' + chats + "]\n}\n")


if __name__ == "__main__":
    main()
