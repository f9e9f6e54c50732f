#!/usr/bin/env python3
"""Draws speed against depth, one line a model and policy, as an SVG picture.

Usage: bench/plot.py --test pp512 --title TEXT RESULTS.json... > PICTURE.svg

RESULTS.json are what `chunkllm bench -o json` printed at several depths. Both axes are logarithmic; depth 0
is drawn at the left edge. Needs nothing beyond Python 3.
"""
import argparse
import html
import json
import math
import sys

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 44, 52
COLOURS = ["#1b6ca8", "#c8553d", "#3a7d44", "#7b4ea3", "#b8860b", "#444444"]


def series_of(rows, test):
    """{name: [(depth, tokens per second)]}, depths ascending."""
    series = {}
    for row in rows:
        if row["test"] == test:
            name = f"{row['policy']}, {row['weights']}"
            series.setdefault(name, []).append((row["depth"], row["tokens_per_second"]))
    return {name: sorted(points) for name, points in series.items()}


def ticks(low, high):
    """1, 2 and 5 times powers of ten from low to high."""
    exponent = math.floor(math.log10(low))
    while 10 ** exponent <= high:
        yield from (m * 10 ** exponent for m in (1, 2, 5) if low <= m * 10 ** exponent <= high)
        exponent += 1


def label(number):
    if number >= 1024 and number % 1024 == 0:
        return f"{number // 1024}K"
    return f"{number / 1000:g}K" if number >= 1000 else f"{number:g}"


def draw(series, title, unit):
    depths = [max(depth, 1) for points in series.values() for depth, _ in points]
    rates = [rate for points in series.values() for _, rate in points]
    first = min((d for d in depths if d > 1), default=2) / 2
    low, high = min(rates) / 1.3, max(rates) * 1.3

    def x(depth):
        share = math.log(max(depth, first) / first) / math.log(max(depths) / first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(rate):
        return HEIGHT - BOTTOM - math.log(rate / low) / math.log(high / low) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12" role="img">',
           f'<title>{html.escape(title)}</title>', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{html.escape(title)}</text>']
    for rate in ticks(low, high):
        out.append(f'<path d="M{LEFT} {y(rate):.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{label(rate)}</text>')
    for depth in sorted({depth for points in series.values() for depth, _ in points}):
        out.append(f'<text x="{x(depth):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label(depth)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">tokens in the cache</text>'
               f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{unit}</text>')
    ends = []
    for (name, points), colour in zip(sorted(series.items()), COLOURS * len(series)):
        path = "L".join(f"{x(depth):.1f} {y(rate):.1f}" for depth, rate in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(d):.1f}" cy="{y(r):.1f}" r="3" fill="{colour}"/>' for d, r in points]
        ends.append((y(points[-1][1]), name, colour))
    below = -math.inf
    for end, name, colour in sorted(ends):  # labels keep off each other
        below = max(end + 4, below + 15)
        out.append(f'<text x="{WIDTH - RIGHT + 8}" y="{below:.1f}" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", required=True, help="for example pp512 or tg32")
    parser.add_argument("--title", required=True)
    parser.add_argument("results", nargs="+")
    args = parser.parse_args()
    rows = []
    for path in args.results:
        with open(path, encoding="utf-8") as file:
            rows += json.load(file)
    series = series_of(rows, args.test)
    if not series:
        sys.exit(f"plot: no row of {args.test} in {', '.join(args.results)}; name a test that is there")
    print(draw(series, args.title, "tokens/s"))


if __name__ == "__main__":
    main()
