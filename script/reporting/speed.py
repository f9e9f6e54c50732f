"""Speed by depth, of what `chunkllm bench -o json` printed."""
from reporting.drawing import COLOURS
from reporting.records import length_label


def speed_figure(plt, rows, title):
    """Both axes logarithmic; depth 0 stands at the left edge. Several rows of a depth give their median."""
    series = {}
    for row in rows:
        name = ", ".join(str(row[field]) for field in ("policy", "weights") if field in row)
        series.setdefault(name, {}).setdefault(int(row["depth"]), []).append(float(row["tokens_per_second"]))
    depths = sorted({depth for values in series.values() for depth in values})
    left = min((d for d in depths if d > 0), default=2) / 2
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for colour, (name, values) in zip(COLOURS * len(series), sorted(series.items())):
        medians = {d: sorted(v)[len(v) // 2] for d, v in sorted(values.items())}
        axes.plot([max(d, left) for d in medians], list(medians.values()), "o-", color=colour, label=name)
    axes.set(title=title, xlabel="tokens in the cache", ylabel="tokens/s", xscale="log", yscale="log")
    axes.set_xticks([max(d, left) for d in depths], [length_label(d) for d in depths])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.grid(which="both", axis="y")
    axes.legend()
    return figure
