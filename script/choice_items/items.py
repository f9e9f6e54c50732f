"""What `chunkllm eval choice` reads of a line."""


class ItemError(Exception):
    pass


def item(query, choices, gold, **other_fields):
    return {"query": query, "choices": choices, "gold": gold, **other_fields}
