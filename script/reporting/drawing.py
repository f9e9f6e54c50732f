"""How all pictures are drawn: matplotlib without a display, SVG that is readable on light and dark ground."""
import html
import io
import re
from dataclasses import dataclass

# Text and lines are drawn in a colour that nothing else has, which becomes `currentColor`.
INK = "#010203"
# Three to one at least against white and against #14171a.
COLOURS = ["#2a7fc9", "#d2622a", "#1a9468", "#b05fc0", "#a17f0a", "#d8527f", "#2a93a5", "#8a6d5a"]
GREY = "#7f8790"
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
WIDTH_INCHES = 4.7  # on a telephone's screen letters stay readable


class ReportError(Exception):
    pass


@dataclass
class Picture:
    name: str  # of the file, without .svg
    svg: str   # as matplotlib wrote it
    alt: str   # what it shows, for those who do not see it
    caption: str = ""


def start_matplotlib():
    """pyplot, which draws SVG with text as text."""
    try:
        import matplotlib
    except ImportError:
        raise ReportError("matplotlib is missing; install it with script/bootstrap --report") from None
    matplotlib.use("svg")
    matplotlib.rcParams.update({
        "svg.hashsalt": "chunkllm", "svg.fonttype": "none", "text.parse_math": False, "axes.unicode_minus": False,
        "font.size": 10, "axes.titlesize": 10.5, "legend.fontsize": 9, "legend.frameon": False,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.titlecolor": INK, "grid.color": INK, "grid.alpha": 0.15, "figure.facecolor": "none",
        "axes.facecolor": "none", "savefig.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False,
        "lines.linewidth": 1.8, "lines.markersize": 5, "errorbar.capsize": 2.5,
    })
    from matplotlib import pyplot
    return pyplot


def svg_of(plt, figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")  # labels may be wider than the picture
    plt.close(figure)
    return text.getvalue()


def _body(picture, link):
    """The picture's element `svg`, with ids that no other picture has."""
    svg = picture.svg[picture.svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    prefix = picture.name + "-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}").replace('xlink:href="#', f'{link}="#{prefix}')
    alt = html.escape(picture.alt)
    opening, rest = svg.split(">", 1)
    return f'{opening} role="img" aria-label="{alt}"', f">\n<title>{alt}</title>{rest}"


def inline_svg(picture):
    """For a page of HTML."""
    opening, rest = _body(picture, "href")
    return re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", opening) + rest


def svg_file(picture):
    """A file of its own, that follows the viewer's light or dark ground."""
    opening, rest = _body(picture, "xlink:href")
    style = "<style>svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e3e6e9}}</style>"
    title_end = rest.index("</title>") + len("</title>")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}{rest[:title_end]}{style}{rest[title_end:]}'
