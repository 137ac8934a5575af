"""Small SVG pictures, without a library."""

import math
from html import escape

FONT = 'font-family="system-ui, sans-serif"'
COLORS = ["#2563a8", "#c2571a", "#3d8b4f", "#7a4fa3"]
INK, FAINT = "#333", "#ccc"


def svg(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" {FONT} '
            f'font-size="12" fill="{INK}">\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n")


def text(x, y, content, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(content)}</text>'


def line(x1, y1, x2, y2, color=FAINT, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" {more}/>'


def short(value):
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {suffix}"
    return f"{value:.3g}"


def nice_top(value):
    """The next of 1, 2, 5 × 10^n that is not less."""
    if value <= 0:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999)


def panel(left, top, width, height, x_label, y_label, xs, series):
    """Lines over a logarithmic x axis; the y axis begins at 0."""
    body = []
    peak = nice_top(max(max(ys) for ys in series.values()))
    low, high = math.log(min(xs)), math.log(max(xs))
    place_x = lambda x: left + (math.log(x) - low) / ((high - low) or 1) * width
    place_y = lambda y: top + height - y / peak * height
    for part in range(5):
        y = peak * part / 4
        body.append(line(left, place_y(y), left + width, place_y(y)))
        body.append(text(left - 6, place_y(y) + 4, short(y), "end"))
    for x in xs:
        body.append(line(place_x(x), top + height, place_x(x), top + height + 4, INK))
        body.append(text(place_x(x), top + height + 17, short(x), "middle"))
    body.append(text(left + width / 2, top + height + 34, x_label, "middle"))
    body.append(text(left - 40, top - 12, y_label, more='font-weight="600"'))
    for index, (name, ys) in enumerate(series.items()):
        color = COLORS[index % len(COLORS)]
        points = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in zip(xs, ys))
        body.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        body += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{color}"/>' for x, y in zip(xs, ys)]
        if len(series) > 1:
            body.append(text(left + width, top - 12 - 14 * (len(series) - 1 - index), name, "end", f'style="fill:{color}"'))
    return body


def chart(x_label, xs, panels):
    """Panels (y label, {name: values}) side by side."""
    width, height, gap, top = 300, 170, 80, 46
    body = []
    for index, (y_label, series) in enumerate(panels):
        body += panel(60 + index * (width + gap), top, width, height, x_label, y_label, xs, series)
    return svg(60 + len(panels) * (width + gap) - gap + 20, top + height + 46, body)


def targets(lines):
    """How far each line of the table is beyond its target: 1 is the target, right of it is better."""
    row_height, left, width = 22, 330, 360
    low, high = math.log(0.25), math.log(16)
    place = lambda value: left + (math.log(min(max(value, 0.25), 16)) - low) / (high - low) * width
    top = 40
    bottom = top + row_height * len(lines)
    body = [text(10, 20, "how far beyond the target (1 = reached, right is better)", more='font-weight="600"')]
    for mark in (0.25, 0.5, 1, 2, 4, 8, 16):
        strong = 'stroke-width="2"' if mark == 1 else ""
        body.append(line(place(mark), top - 6, place(mark), bottom, INK if mark == 1 else FAINT, strong))
        body.append(text(place(mark), bottom + 16, f"{mark:g} ×", "middle"))
    for index, item in enumerate(lines):
        y = top + index * row_height
        color = COLORS[0] if item.met else COLORS[1]
        start, end = sorted((place(1), place(item.margin)))
        body.append(text(left - 10, y + 14, f"{item.what}", "end"))
        body.append(f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1.5):.1f}" height="13" fill="{color}"/>')
        body.append(text(max(end, place(1)) + 5, y + 15, f"{item.shown}", more='font-size="11"'))
    return svg(left + width + 90, bottom + 30, body)
