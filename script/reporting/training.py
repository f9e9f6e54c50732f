"""Curves of a training: losses, selection by layer, boundaries."""
from reporting.drawing import COLOURS, GREY
from reporting.records import number

BASELINES = {"recall_at_8_recent": "most recent chunks", "recall_at_8_random": "random chunks"}


def points(records, field, part=None):
    """(steps, values) of a field, of the records themselves or of an object in them."""
    pairs = [(r["step"], number(r if part is None else r.get(part), field)) for r in records]
    return [s for s, v in pairs if v is not None], [v for _, v in pairs if v is not None]


def by_layer(records, field):
    """{layer: (steps, values)}, layers ascending."""
    layers = {}
    for record in records:
        values = record.get(field)
        for key in values if isinstance(values, dict) else ():
            value = number(values, key)
            if key.isdecimal() and value is not None:
                steps, ys = layers.setdefault(int(key), ([], []))
                steps.append(record["step"])
                ys.append(value)
    return dict(sorted(layers.items()))


def moving_mean(values):
    """Each value's mean with its neighbours, over a tenth of the series."""
    half = len(values) // 20
    return [sum(part) / len(part) for i in range(len(values))
            for part in [values[max(i - half, 0):i + half + 1]]]


def plot_smoothed(axes, xs, ys, **style):
    """The moving mean, and the values themselves faintly behind it."""
    [line] = axes.plot(xs, moving_mean(ys), **style)
    axes.plot(xs, ys, color=line.get_color(), alpha=0.25, linewidth=0.8)


def plot_held_out(axes, records, field, label, colour):
    xs, ys = points(records, field, "eval")
    if xs:
        axes.plot(xs, ys, "o--", color=colour, label=label)


def draw_losses(axes, records):
    for field, name, colour in (("loss_bce", "boundary (BCE)", COLOURS[0]), ("loss_kl", "selection (mean KL)", COLOURS[1])):
        plot_smoothed(axes, *points(records, field), color=colour, label=name)
        plot_held_out(axes, records, field, name + ", held out", colour)
    axes.set(title="Losses", ylabel="loss", yscale="log")


def draw_layers(axes, records, colour_map):
    field, name = "recall_at_8", "recall@8"
    layers = by_layer(records, field)
    if not layers:
        field, name = "kl", "KL"
        layers = by_layer(records, field)
    for i, (layer, (xs, ys)) in enumerate(layers.items()):
        plot_smoothed(axes, xs, ys, color=colour_map(i / max(len(layers) - 1, 1) * 0.9), label=f"layer {layer}")
    for dashes, (baseline, label) in zip((":", "--"), BASELINES.items() if field == "recall_at_8" else ()):
        means = {}
        for xs, ys in by_layer(records, baseline).values():
            for x, y in zip(xs, ys):
                means.setdefault(x, []).append(y)
        if means:
            axes.plot(list(means), [sum(ys) / len(ys) for ys in means.values()], dashes, color=GREY, label=label)
    axes.set(title="Selection, by layer", ylabel=name)


def draw_boundaries(axes, records):
    plot_smoothed(axes, *points(records, "boundary_f1"), color=COLOURS[0], label="F1")
    plot_held_out(axes, records, "boundary_f1", "F1, held out", COLOURS[1])
    axes.set(title="Sentence boundaries", ylabel="F1")


def training_figure(plt, records, title):
    figure, rows = plt.subplots(3, 1, figsize=(8, 11), layout="constrained")
    draw_losses(rows[0], records)
    draw_layers(rows[1], records, plt.get_cmap("viridis"))
    draw_boundaries(rows[2], records)
    for axes in rows:
        axes.set_xlabel("step")
        axes.grid()
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=1 + len(axes.lines) // 40)
    figure.suptitle(title)
    return figure
