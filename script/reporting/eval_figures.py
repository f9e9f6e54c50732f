"""Pictures of evaluations."""
import re

from reporting.drawing import COLOURS, GREY, INK, MARKERS, WIDTH_INCHES, Picture, svg_of
from reporting.evaluation import BY_LAYER_TASKS, percent
from reporting.records import length_label, name_of, number, objects, text

# From red to green, and from dark to light: who cannot tell the hues apart sees the same order.
HEAT = ((0.0, "#7f1d1d"), (0.3, "#c8452f"), (0.6, "#ea9a4a"), (0.85, "#efcf66"), (1.0, "#b9ecb4"))
POLICY_PLACES = {name: i for i, name in enumerate(
    ("chunk", "streaming", "meankey", "quest", "separator", "oracle", "fixed"))}
DEPTH = re.compile(r"depth (\d+)%")
MOST_BARS = 60
MOST_LINES = 12
MOST_LAYER_PICTURES = 24
RETENTION_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def style_of(policy, place):
    """A policy looks the same in all pictures."""
    if policy == "full":
        return {"color": GREY, "marker": "o"}
    i = POLICY_PLACES.get(policy, len(POLICY_PLACES) + place)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def at_length(ctx):
    return f" at {length_label(ctx)} tokens" if ctx else ""


def pictures_of(plt, evaluation, name):
    """[(heading, pictures)], none of them empty. `name` begins the files' names."""
    groups = []
    if evaluation.budgets:
        groups.append(("Share of full attention's score, by budget", budget_curves(plt, evaluation, name)))
    if evaluation.task in BY_LAYER_TASKS:
        groups.append(("By layer", layer_lines(plt, evaluation, name)))
    elif not evaluation.budgets:
        groups.append(("Score and KV retention", retention_curves(plt, evaluation, name)))
    groups.append(("By context and depth", heatmaps(plt, evaluation, name)))
    groups.append(("By kind", part_bars(plt, evaluation, name)))
    return [(heading, pictures) for heading, pictures in groups if pictures]


def heatmaps(plt, evaluation, name):
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("heat", HEAT)
    pictures = []
    for i, column in enumerate(evaluation.columns):
        scores = {}
        for row in evaluation.rows:
            for part, score in row.parts().items() if row.column == column else ():
                if (depth := DEPTH.fullmatch(part)) is not None:
                    scores[row.ctx, int(depth[1])] = score
        if not scores:
            continue
        lengths = sorted({ctx for ctx, _ in scores})
        depths = sorted({depth for _, depth in scores})
        width = min(WIDTH_INCHES, 1.3 + 0.75 * len(lengths))
        figure, axes = plt.subplots(figsize=(max(width, 2.6), 0.9 + 0.3 * len(depths)), layout="constrained")
        for (ctx, depth), score in scores.items():
            x, y = lengths.index(ctx), depths.index(depth)
            shade = min(max(score, 0.0), 1.0)
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colours(shade), linewidth=0))
            axes.text(x, y, f"{score:.2f}", ha="center", va="center", fontsize=9, color="white" if shade < 0.4 else "black")
        axes.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(depths) - 0.5, -0.5), xlabel="context, tokens", ylabel="depth of the needle")
        axes.set_xticks(range(len(lengths)), [length_label(ctx) for ctx in lengths])
        axes.set_yticks(range(len(depths)), [f"{depth}%" for depth in depths])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(column)
        mean = sum(scores.values()) / len(scores)
        pictures.append(Picture(f"{name}-heatmap-{i + 1}", svg_of(plt, figure),
                                f"Heatmap of {column}: scores by context and depth of the needle, from {min(scores.values()):.2f} to "
                                f"{max(scores.values()):.2f}, mean {mean:.2f}."))
    return pictures


def retention_axis(axes, shares):
    """A logarithmic axis of KV retention, with ticks in percent."""
    low = min(shares) / 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, 1.2)
    axes.set_xticks([tick for tick in RETENTION_TICKS if tick >= low], minor=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.tick_params(axis="x", which="minor", length=0)
    axes.set_xlabel("KV retention")
    axes.grid()


def legend_under(axes):
    """Below the axes, in at most three columns; nothing without labels."""
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        n_columns = 3 if max(map(len, labels)) <= 24 else 2
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=min(len(labels), n_columns))


def plot_with_errors(axes, points, label, **style):
    """`points` are (x, y, error or None), ascending."""
    xs, ys, errors = zip(*points)
    axes.errorbar(xs, ys, yerr=[max(error or 0, 0) for error in errors], label=label, **style)


def retention_curves(plt, evaluation, name):
    pictures = []
    for ctx in evaluation.lengths:
        lines, full = {}, None
        prefills = {row.prefill for row in evaluation.at(ctx) if row.policy != "full"}
        for row in evaluation.at(ctx):
            share, score = row.number("kv_retention"), row.number("score")
            if row.policy == "full":
                full = score
            elif share is not None and share > 0 and score is not None:
                label = row.policy + (f", prefill {row.prefill}" if len(prefills) > 1 and row.prefill else "")
                lines.setdefault(label, []).append((share, score, row.number("score_error"), row))
        if not lines:
            continue
        figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 3.5), layout="constrained")
        if full is not None:
            axes.axhline(full, color=GREY, linestyle="--", linewidth=1.3, label="full")
        for place, (label, points) in enumerate(lines.items()):
            points.sort(key=lambda point: point[0])
            row = points[0][3]
            style = style_of(row.policy, place)
            if len(prefills) > 1 and row.prefill == "full":
                style |= {"linestyle": ":", "markerfacecolor": "none"}
            plot_with_errors(axes, [point[:3] for point in points], label, **style)
        retention_axis(axes, [point[0] for points in lines.values() for point in points])
        axes.set_ylabel("perplexity" if evaluation.is_perplexity else "score")
        axes.set_title("Score" + at_length(ctx) if not evaluation.is_perplexity else "Perplexity" + at_length(ctx))
        legend_under(axes)
        said = "; ".join(f"{label}: " + ", ".join(f"{y:.3f} at {percent(x)}" for x, y, *_ in points) for label, points in lines.items())
        alt = f"{'Perplexity' if evaluation.is_perplexity else 'Score'} against KV retention{at_length(ctx)}. {said}." + (
            f" full: {full:.3f}." if full is not None else "")
        pictures.append(Picture(f"{name}-retention-{ctx or 'all'}", svg_of(plt, figure), alt))
    return pictures


def part_bars(plt, evaluation, name):
    """Grouped bars, a group a part, a bar a column; depths are heatmaps, and perplexities have no zero to stand on."""
    if evaluation.is_perplexity or evaluation.task in BY_LAYER_TASKS:
        return []
    pictures = []
    for ctx in evaluation.lengths:
        rows = evaluation.at(ctx)
        parts = list(dict.fromkeys(part for row in rows for part in row.parts() if not DEPTH.fullmatch(part)))
        rows = [row for row in rows if row.parts()]
        n_parts, n_rows = len(parts), len(rows)
        parts = parts[:MOST_BARS]
        rows = rows[:max(MOST_BARS // max(len(parts), 1), 1)]
        is_cut = (len(parts), len(rows)) != (n_parts, n_rows)
        if not parts:
            continue
        bars = max(0.13 * len(parts) * (len(rows) + 1.4), 0.5)
        figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 1.1 + bars), layout="constrained")
        height = 0.8 / len(rows)
        seen = {}
        for i, row in enumerate(rows):
            found = [(p, row.parts()[part]) for p, part in enumerate(parts) if part in row.parts()]
            nth = seen[row.policy] = seen.get(row.policy, 0) + 1
            axes.barh([p - 0.4 + height * (i + 0.5) for p, _ in found], [score for _, score in found], height * 0.92,
                      color=style_of(row.policy, i)["color"], alpha=max(1.1 - 0.25 * nth, 0.3), label=row.column)
        axes.set_yticks(range(len(parts)), parts)
        axes.set_ylim(len(parts) - 0.45, -0.55)
        axes.set_xlabel("score")
        axes.set_xlim(0, max([1.0] + [score for row in rows for score in row.parts().values()]))
        axes.tick_params(axis="y", length=0)
        axes.set_title("Scores by kind" + at_length(ctx))
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.42 / bars), ncols=2)
        said = "; ".join(f"{row.column}: " + ", ".join(f"{part} {score:.2f}" for part, score in row.parts().items()
                                                       if part in parts) for row in rows)
        pictures.append(Picture(f"{name}-parts-{ctx or 'all'}", svg_of(plt, figure), f"Scores by kind{at_length(ctx)}. {said}.",
                                f"{len(rows)} of {n_rows} columns, {len(parts)} of {n_parts} kinds; the table below has all." if is_cut else ""))
    return pictures


def layer_groups(details):
    """{what: {line: [(layer, value)]}} of {"layers": [...], "series": {"what, line": [...]}}; a value that is none is a gap."""
    layers = details.get("layers") if isinstance(details, dict) else None
    series = details.get("series") if isinstance(details, dict) else None
    groups = {}
    for label, values in series.items() if isinstance(layers, list) and isinstance(series, dict) else ():
        pairs = [(number({"x": x}, "x"), number({"y": y}, "y")) for x, y in zip(layers, values if isinstance(values, list) else ())]
        pairs = [(x, float("nan") if y is None else y) for x, y in pairs if x is not None]
        if any(y == y for _, y in pairs):
            what, _, line = name_of(label).rpartition(", ")
            groups.setdefault(what, {})[line] = pairs
    return groups


def layer_lines(plt, evaluation, name):
    pictures = []
    for row in evaluation.rows:
        for what, lines in layer_groups(row.fields.get("details")).items():
            if len(pictures) == MOST_LAYER_PICTURES:
                return pictures
            lines = dict(list(lines.items())[:MOST_LINES])
            figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 3.1 + 0.2 * ((len(lines) + 2) // 3)), layout="constrained")
            taken = {POLICY_PLACES[label] for label in lines if label in POLICY_PLACES}
            free = iter([place for place in range(2 * MOST_LINES) if place not in taken])
            for label, pairs in lines.items():
                place = POLICY_PLACES[label] if label in POLICY_PLACES else next(free)
                style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
                axes.plot([x for x, _ in pairs], [y for _, y in pairs], markersize=3.5, linewidth=1.4, label=label, **style)
            axes.set(xlabel="layer", title=(what or row.column) + at_length(row.ctx))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid()
            legend_under(axes)
            said = "; ".join(f"{label} from {min(ys):.3f} to {max(ys):.3f}" for label, pairs in lines.items()
                             if (ys := [y for _, y in pairs if y == y]))
            pictures.append(Picture(f"{name}-layers-{len(pictures) + 1}", svg_of(plt, figure),
                                    f"By layer, {what or row.column}{at_length(row.ctx)}: {said}."))
    return pictures


def budget_curves(plt, evaluation, name):
    """What the budgets that were tried keep of full attention, and the one that is recommended."""
    pictures = []
    for i, entry in enumerate(evaluation.budgets):
        lines = {"needles": [], "perplexity": []}
        for tried in objects(entry.get("tried")):
            share = number(tried, "kv_retention")
            ratio, error = number(tried, "ratio"), number(tried, "ratio_error")
            worse, worse_error = number(tried, "perplexity_ratio"), number(tried, "perplexity_ratio_error")
            if share is None or share <= 0:
                continue
            if ratio is not None:
                lines["needles"].append((share, ratio, error))
            if worse is not None and worse > 0:  # the share that is kept: full's perplexity over the policy's
                lines["perplexity"].append((share, 1 / worse, None if worse_error is None else worse_error / worse**2))
        lines = {label: sorted(points) for label, points in lines.items() if points}
        if not lines:
            continue
        policy, ctx, keep = text(entry, "policy") or "", int(number(entry, "ctx") or 0), number(entry, "keep")
        figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 3.5), layout="constrained")
        for place, (label, points) in enumerate(lines.items()):
            plot_with_errors(axes, points, label, color=COLOURS[place], marker=MARKERS[place])
        if keep is not None:
            axes.axhline(keep, color=GREY, linestyle="--", linewidth=1.3, label=f"{percent(keep, 0)} of full")
        share, ratio = number(entry, "kv_retention"), number(entry, "ratio")
        budget = f"{number(entry, 'kv_budget'):g}" if number(entry, "kv_budget") is not None else ""
        if budget and share is not None and ratio is not None and share > 0:
            axes.plot([share], [ratio], "o", markersize=13, markerfacecolor="none", color=INK, linewidth=0)
            axes.annotate(f"--kv-budget {budget}", (share, ratio), xytext=(12, -16), textcoords="offset points", fontsize=9)
        retention_axis(axes, [x for points in lines.values() for x, *_ in points])
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
        axes.margins(y=0.18)
        axes.set(title=policy + at_length(ctx), ylabel="kept of full attention")
        legend_under(axes)
        said = "; ".join(f"{label}: " + ", ".join(f"{percent(y)} at {percent(x)}" for x, y, _ in points) for label, points in lines.items())
        pictures.append(Picture(f"{name}-budget-{i + 1}", svg_of(plt, figure),
                                f"What {policy} keeps of full attention{at_length(ctx)}, by KV retention. {said}. "
                                + (f"Recommended: --kv-budget {budget}." if budget else "None keeps enough.")))
    return pictures
