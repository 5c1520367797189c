#!/usr/bin/env python3
"""Draws what compare.py has measured (--json) as bars: tokens per second of this library by those of llama.cpp.

usage: plot.py MEASURED.json PLOT.svg
A bar is the ratio of the medians, the line through its end goes from the least ratio of a turn to the most.
"""
import json
import pathlib
import statistics
import sys
from html import escape

LEFT, WIDTH, ROW, GAP, TOP = 330, 420, 22, 34, 56  # pixels
BAR, LINE, TEXT, GRID, MARK = "#3b6ea5", "#1d3550", "#222222", "#cccccc", "#d98324"


def text(x, y, words, anchor="start", weight="normal", size=13):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{TEXT}">{escape(words)}</text>'
    )


def line(x1, y1, x2, y2, colour, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def ratios_of(case):
    turns = sorted(ours / theirs for ours, theirs in zip(case["libgptq"], case["llama.cpp"]))
    return turns[0], statistics.median(turns), turns[-1]


def draw(measured):
    most = max(ratios_of(case)[2] for model in measured for case in model["tokens_per_second"].values())
    scale = WIDTH / (int(most) + 1)
    body, y = [], TOP
    for model in measured:
        body.append(text(8, y + 4, model["model"], weight="bold"))
        y += ROW
        for name, case in model["tokens_per_second"].items():
            least, median, greatest = ratios_of(case)
            body.append(text(LEFT - 10, y + 5, name, "end"))
            body.append(f'<rect x="{LEFT}" y="{y - 7}" width="{median * scale:.1f}" height="14" fill="{BAR}"/>')
            body.append(line(LEFT + least * scale, y, LEFT + greatest * scale, y, LINE, 2))
            body.append(text(LEFT + greatest * scale + 8, y + 5, f"{median:.2f}"))
            y += ROW
        y += GAP - ROW
    grid = []
    for tick in range(int(most) + 2):
        x = LEFT + tick * scale
        lines = body if tick == 1 else grid  # before the bars, or behind them
        lines.append(line(x, TOP - 12, x, y - GAP + ROW, MARK if tick == 1 else GRID, 2 if tick == 1 else 1))
        grid.append(text(x, TOP - 18, f"{tick}" if tick != 1 else "1 = llama.cpp", "middle", size=12))
    machines = sorted({model["machine"] for model in measured})
    notes = [text(8, y + 4 + 18 * i, name, size=12) for i, name in enumerate(machines)]
    height = y + 18 * len(machines) + 8
    title = text(8, 20, "Tokens per second, libgptq by llama.cpp", weight="bold", size=15)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{height}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join([title, *grid, *body, *notes])
        + "\n</svg>\n"
    )


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pathlib.Path(sys.argv[2]).write_text(draw(json.loads(pathlib.Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
