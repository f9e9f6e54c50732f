#!/usr/bin/env python3
"""The client of OpenAI's own package against `chunkllm serve`.

Usage: openai_client_test.py PROGRAM MODEL ADAPTER. Exit code 77, which is a skip, where the package is
not installed: script/test puts it into a virtual environment.
"""

import sys
import unittest

from chunkllm_server import Server

try:
    import openai
except ImportError:
    print("the package openai is not installed")
    sys.exit(77)

PROGRAM, MODEL, ADAPTER = sys.argv[1:4]
LONG = " ".join(f"The box of number {i} holds {i * 7} apples." for i in range(60))


def started(*options):
    return Server(PROGRAM, MODEL, ADAPTER, "--ctx", "4096", *options)


class EndOfTheServer(unittest.TestCase):
    def test_a_stream_that_runs_is_finished(self):
        server = started()
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        stream = client.completions.create(model="any", prompt=LONG, max_tokens=200, stream=True,
                                           extra_body={"ignore_eos": True, "return_token_ids": True})
        n = len(next(iter(stream)).choices[0].token_ids)
        server.process.terminate()
        for piece in stream:
            n += len(piece.choices[0].token_ids)
        client.close()
        self.assertEqual(n, 200)
        self.assertEqual(piece.choices[0].finish_reason, "length")
        self.assertEqual(server.process.wait(30), 130)


class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = started("--api-key", "secret")
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="secret", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.close() == 130

    def chat(self, **options):
        options = {"model": "any", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12,
                   "temperature": 0} | options
        return self.client.chat.completions.create(**options)

    def test_models(self):
        self.assertEqual(len(self.client.models.list().data), 1)

    def test_chat(self):
        reply = self.chat()
        self.assertEqual(reply.choices[0].message.role, "assistant")
        self.assertIn(reply.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens)

    def test_stream_is_the_same(self):
        whole = self.chat().choices[0].message.content
        pieces = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(p.choices[0].delta.content or "" for p in pieces if p.choices), whole)
        self.assertGreater(pieces[-1].usage.completion_tokens, 0)

    def test_log_probs(self):
        reply = self.chat(logprobs=True, top_logprobs=3)
        content = reply.choices[0].logprobs.content
        self.assertEqual(len(content), reply.usage.completion_tokens)
        for token in content:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.logprob, token.top_logprobs[0].logprob)

    def test_completion_with_echo(self):
        reply = self.client.completions.create(model="any", prompt=LONG, max_tokens=1, temperature=0, logprobs=1,
                                               echo=True)
        choice = reply.choices[0]
        self.assertTrue(choice.text.startswith(LONG))
        self.assertEqual(len(choice.logprobs.tokens), reply.usage.prompt_tokens + 1)
        self.assertIsNone(choice.logprobs.token_logprobs[0])

    def test_completions_of_lists(self):
        reply = self.client.completions.create(model="any", prompt=["One", "Two"], n=2, max_tokens=3)
        self.assertEqual([choice.index for choice in reply.choices], [0, 1, 2, 3])

    def test_second_question_reads_itself_alone(self):
        def ask(question):
            return self.chat(messages=[{"role": "user", "content": LONG + "\n\n" + question}]).usage
        self.assertEqual(ask("Which box is the last?").prompt_tokens_details.cached_tokens, 0)
        second = ask("How many apples does box 17 hold?")
        self.assertGreater(second.prompt_tokens_details.cached_tokens, 0.8 * second.prompt_tokens)

    def test_selection_by_request(self):
        messages = [{"role": "user", "content": LONG}]
        full = self.chat(messages=messages, extra_body={"policy": "full"})
        chunk = self.chat(messages=messages, extra_body={"policy": "chunk", "kv_budget": 300})
        self.assertEqual(full.model_extra["chunkllm"]["kv_retention"], 1.0)
        self.assertLess(chunk.model_extra["chunkllm"]["kv_retention"], 0.6)

    def test_tools_are_taken(self):
        tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
        self.assertIsNotNone(self.chat(tools=tools).choices[0].message)

    def test_abort(self):
        stream = self.chat(stream=True, max_tokens=3000, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
        self.assertTrue(self.chat().choices)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(messages=[])
        self.assertIn("message", caught.exception.body["message"])
        with self.assertRaises(openai.BadRequestError):
            self.chat(messages=[{"role": "user", "content": LONG * 20}])
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="wrong", max_retries=0).models.list()
        with self.assertRaises(openai.BadRequestError):
            self.chat(temperature=1000)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
