"""SVG charts: lines, dots, percentiles, bars, histograms, one function each.

Each returns the whole text of an .svg file. Dark text on white, no scripts,
no fonts of their own: they look the same in a browser and in a document.
"""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 60
COLOURS = ("#1f6fb4", "#d4691e", "#2e8b57", "#8b3a8b", "#6b6b6b", "#b03030")


def short(value):
    """A number as an axis shows it: 1.2M, 30k, 0.5."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ticks(top, count=5):
    """Round numbers from 0 to at least top."""
    if not top > 0 or not math.isfinite(top):
        top = 1.0
    step = 10.0 ** math.floor(math.log10(top / count))
    for factor in (1, 2, 5, 10):
        if step * factor * count >= top:
            step *= factor
            break
    return [n * step for n in range(math.ceil(top / step - 1e-9) + 1)]


def _text(x, y, text, anchor="middle", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
            f'{escape(str(text))}</text>')


def _line(x1, y1, x2, y2, colour):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}"/>')


def _x(part):
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(part):
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _frame(title, x_title, y_title, marks):
    """The title and the axes; marks are of the y axis, from 0."""
    parts = [_text(WIDTH / 2, 22, title, more=' font-size="15"'),
             _text((WIDTH + LEFT - RIGHT) / 2, HEIGHT - 12, x_title),
             _text(16, HEIGHT / 2, y_title,
                   more=f' transform="rotate(-90 16 {HEIGHT / 2:g})"')]
    for mark in marks:
        y = _y(mark / marks[-1])
        parts.append(_line(_x(0), y, _x(1), y, "#dddddd"))
        parts.append(_text(LEFT - 6, y + 4, short(mark), "end"))
    parts.append(_line(_x(0), _y(0), _x(1), _y(0), "#333333"))
    return parts


def _svg(parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#222222">\n'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def _level(name, part):
    """A dashed line across, to compare with."""
    y = _y(part)
    return [f'<path d="M {_x(0):.1f} {y:.1f} H {_x(1):.1f}" fill="none" '
            'stroke="#333333" stroke-dasharray="6 4"/>',
            _text(_x(0) + 6, y - 5, name, "start")]


def lines(title, series, x_title, y_title, levels=()):
    """series: {name: [(x, y), …]}; levels: [(name, y), …]; both axes begin
    at 0."""
    points = [point for values in series.values() for point in values]
    across = ticks(max((x for x, _ in points), default=1))
    up = ticks(max([y for _, y in points] + [y for _, y in levels],
                   default=1))
    parts = _frame(title, x_title, y_title, up)
    for name, y in levels:
        parts += _level(name, y / up[-1])
    for mark in across:
        parts.append(_text(_x(mark / across[-1]), _y(0) + 18, short(mark)))
    for n, (name, values) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        path = [(_x(x / across[-1]), _y(y / up[-1])) for x, y in values]
        parts.append('<polyline points="'
                     + " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
                     + f'" fill="none" stroke="{colour}" stroke-width="2"/>')
        # A single point would not be seen as a line.
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" '
                  f'fill="{colour}"/>' for x, y in path]
        if len(series) > 1:
            parts.append(_text(WIDTH - RIGHT, TOP + 14 * n, name, "end",
                               f' style="fill:{colour}"'))
    return _svg(parts)


def dots(title, points, x_title, y_title):
    """points: [(x, y), …]; where many lie it gets darker."""
    across = ticks(max((x for x, _ in points), default=1))
    up = ticks(max((y for _, y in points), default=1))
    parts = _frame(title, x_title, y_title, up)
    for mark in across:
        parts.append(_text(_x(mark / across[-1]), _y(0) + 18, short(mark)))
    parts += [f'<circle cx="{_x(x / across[-1]):.1f}" '
              f'cy="{_y(y / up[-1]):.1f}" r="2" fill="{COLOURS[0]}" '
              'fill-opacity="0.3"/>' for x, y in points]
    return _svg(parts)


def percentiles(title, series, y_title):
    """series: {name: values}. Across is how rare it is to be slower, so that
    the last hundredth has as much room as the first nine tenths."""
    most = max((len(values) for values in series.values()), default=10)
    decades = max(1, math.ceil(math.log10(max(10, most))))
    up = ticks(max((max(values, default=1) for values in series.values()),
                   default=1))
    parts = _frame(title, "percentile", y_title, up)
    for n in range(decades + 1):
        name = "p" + f"{100 - 100 / 10 ** n:.{max(0, n - 2)}f}" if n \
            else "fastest"
        parts.append(_text(_x(n / decades), _y(0) + 18, name))
    for n, (name, values) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        ordered, count = sorted(values), len(values)
        # Of the many near the median some tell as much as all.
        step = max(1, count // 300)
        path = [(math.log10(count / (count - at)) / decades, value / up[-1])
                for at, value in enumerate(ordered)
                if at % step == 0 or at >= count - count // 20]
        parts.append('<polyline points="' + " ".join(
            f"{_x(x):.1f},{_y(max(0, y)):.1f}" for x, y in path)
            + f'" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(LEFT + 8, TOP + 14 * (n + 1), name, "start",
                           f' style="fill:{colour}"'))
    return _svg(parts)


def bars(title, values, x_title, y_title):
    """values: [(label, value), …]."""
    up = ticks(max((value for _, value in values), default=1))
    parts = _frame(title, x_title, y_title, up)
    # So many labels as can be read.
    every = max(1, math.ceil(len(values) / 14))
    for n, (label, value) in enumerate(values):
        x, wide = _x(n / len(values)), _x(1 / len(values)) - LEFT
        top = _y(value / up[-1])
        parts.append(f'<rect x="{x + wide * .1:.1f}" y="{top:.1f}" '
                     f'width="{wide * .8:.1f}" height="{_y(0) - top:.1f}" '
                     f'fill="{COLOURS[0]}"/>')
        if n % every == 0:
            parts.append(_text(x + wide / 2, _y(0) + 18, label))
    return _svg(parts)


def histogram(title, buckets, x_title):
    """buckets: [(upper bound, count), …]; equally wide, whatever they hold."""
    return bars(title, [("≤" + short(bound), count)
                        for bound, count in sorted(buckets)], x_title,
                "count")
