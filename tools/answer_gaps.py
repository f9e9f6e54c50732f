"""How far apart two answers to the same question are where they first differ."""

import dataclasses


@dataclasses.dataclass
class Answer:
    """What a server answered: its tokens, their log-probabilities, and those of the likeliest tokens beside each."""

    tokens: list
    log_probs: list
    likeliest: list

    @classmethod
    def of_completion(cls, choice):
        """That of a choice of /v1/completions, asked for with `logprobs`."""
        parts = choice["logprobs"]
        return cls(parts["tokens"], parts["token_logprobs"], parts["top_logprobs"])

    def gap_to(self, at, token):
        """By how many nats `token` is less likely than the likeliest one at this place; inf: it is not among those
        that were asked for, or the answer ends before."""
        if at >= len(self.tokens):
            return float("inf")
        return max(self.likeliest[at].values()) - self.likeliest[at].get(token, float("-inf"))


def first_difference(one, other):
    """Index of the first token that is not the same; None: they are the same, or one goes on where the other ends."""
    for at, (a, b) in enumerate(zip(one.tokens, other.tokens)):
        if a != b:
            return at
    return None


def gap_of_difference(one, other):
    """The larger of the gaps that both see between their tokens where they first differ; 0: they are the same."""
    at = first_difference(one, other)
    if at is None:
        return 0.0 if len(one.tokens) == len(other.tokens) else float("inf")
    return max(one.gap_to(at, other.tokens[at]), other.gap_to(at, one.tokens[at]))


def shift_before_difference(one, other):
    """By how much the log-probability of a token that both have moved, at most, as far as their texts are the same."""
    at = first_difference(one, other)
    return max((abs(a - b) for a, b in zip(one.log_probs[:at], other.log_probs[:at])), default=0.0)
