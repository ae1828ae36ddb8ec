"""Draws the dashboards of this stack from a Prometheus that has data, without Grafana.

    python3 -m venv venv && venv/bin/pip install matplotlib
    venv/bin/python draw.py http://localhost:9090 --minutes 60

Reads the dashboards' JSON, runs their queries with the variables replaced as in Grafana, and plots the results in the
dashboards' layout. The result resembles Grafana; it is not a screenshot of it.
"""

import argparse
import io
import json
import math
import pathlib
import re
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates
import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

HERE = pathlib.Path(__file__).parent
BACKGROUND, PANEL, BORDER, TEXT, MUTED, GRID = "#111217", "#181b1f", "#2b2e36", "#d8d9da", "#8e9197", "#26292f"
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
PALETTE = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#37872d",
    "#ffee52", "#c4162a", "#1f60c4", "#8f3bb8", "#ffb357", "#c8f2c2", "#ca95e5", "#c0d8ff",
]  # fmt: skip
HEAT = LinearSegmentedColormap.from_list("oranges", ["#181b1f", "#5c2d0e", "#c15c17", "#ff9830", "#fff1d6"])
# Pixels of a unit of Grafana's grid, across and down, and between two panels.
ACROSS, DOWN, GAP, DPI = 58, 34, 8, 100


class Prometheus:
    def __init__(self, url, minutes):
        self.url, self.end, self.minutes = url.rstrip("/"), time.time(), minutes

    def ask(self, target):
        expr = target["expr"].replace("$__rate_interval", "1m").replace("$__range", f"{self.minutes}m")
        expr = re.sub(r"\$(job|instance|provider|model)\b", ".*", expr)
        parameters = {"query": expr, "time": self.end}
        if target["range"]:
            parameters = {"query": expr, "start": self.end - self.minutes * 60, "end": self.end, "step": 15}
        path = "query_range" if target["range"] else "query"
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:
            series = json.load(answer)["data"]["result"]
        for one in series:
            samples = one.get("values") or [one["value"]]
            one["points"] = [(at, float(value)) for at, value in samples if math.isfinite(float(value))]
        return sorted(series, key=lambda one: str(one["metric"]))


def legend(target, metric):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: metric.get(found[1], ""), target["legendFormat"]).strip()


def number(value, digits=3):
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    for factor, suffix in ((1e9, " B"), (1e6, " M"), (1e3, " K")):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g}{suffix}"
    return f"{value:.{digits}g}"


def shown(value, unit):
    if unit == "percentunit":
        return f"{number(value * 100)}%"
    if unit == "reqps":
        return f"{number(value)} req/s"
    if unit.startswith("suffix:"):
        return number(value) + unit.removeprefix("suffix:")
    if unit == "s":
        for factor, suffix in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= factor:
                return f"{number(value / factor)} {suffix}"
        return "0 s"
    return number(value)


class Drawing:
    def __init__(self, dashboard, prometheus):
        self.dashboard, self.prometheus = dashboard, prometheus
        bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        self.width, self.height = 24 * ACROSS + GAP, bottom * DOWN + GAP + 44
        self.figure = plt.figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor=BACKGROUND)
        self.text(14, 26, dashboard["title"], size=12, weight="bold")
        self.text(self.width - 14, 26, f"Last {prometheus.minutes} minutes", size=9, color=MUTED, ha="right")
        for panel in dashboard["panels"]:
            self.draw(panel)

    def text(self, x, y, text, **style):
        style = {"color": TEXT, "va": "center", "size": 9} | style
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)

    def axes(self, x, y, width, height):
        box = [x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height]
        axes = self.figure.add_axes(box, facecolor=PANEL)
        axes.tick_params(colors=MUTED, labelsize=7, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return axes

    def draw(self, panel):
        grid = panel["gridPos"]
        x, y = GAP + grid["x"] * ACROSS, 44 + grid["y"] * DOWN
        width, height = grid["w"] * ACROSS - GAP, grid["h"] * DOWN - GAP
        if panel["type"] == "row":
            return self.text(x + 4, y + height / 2, "⌄  " + panel["title"], size=10)
        box = [x / self.width, 1 - (y + height) / self.height]
        size = [width / self.width, height / self.height]
        style = {"boxstyle": "round,pad=0,rounding_size=0.001", "fc": PANEL, "ec": BORDER, "lw": 0.8}
        self.figure.patches.append(FancyBboxPatch(box, *size, transform=self.figure.transFigure, zorder=-1, **style))
        self.text(x + 10, y + 15, panel["title"], size=8.5)
        answers = [(target, self.prometheus.ask(target)) for target in panel["targets"]]
        if not any(one["points"] for _, series in answers for one in series):
            nothing = panel["fieldConfig"]["defaults"]["noValue"]
            return self.text(x + width / 2, y + height / 2 + 8, nothing, color=MUTED, size=11, ha="center")
        draw = getattr(self, panel["type"].replace("-", "_"))
        draw(panel, answers, (x, y + 26, width, height - 26))

    def stat(self, panel, answers, place):
        x, y, width, height = place
        value = answers[0][1][0]["points"][-1][1]
        defaults = panel["fieldConfig"]["defaults"]
        color = "green"
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and value >= step["value"]:
                color = step["color"]
        text = shown(value, defaults["unit"])
        size = 21 if len(text) < 9 else 16
        self.text(x + width / 2, y + height / 2 - 4, text, size=size, weight="bold", color=NAMED[color], ha="center")

    def time_axis(self, axes):
        end = self.prometheus.end
        axes.set_xlim(time_of(end - self.prometheus.minutes * 60), time_of(end))
        axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))

    def timeseries(self, panel, answers, place):
        x, y, width, height = place
        custom, unit = panel["fieldConfig"]["defaults"]["custom"], panel["fieldConfig"]["defaults"]["unit"]
        lines = [(legend(target, one["metric"]), one["points"]) for target, series in answers for one in series]
        rows = 1 + (sum(len(name) + 5 for name, _ in lines) * 6) // int(width - 20)
        axes = self.axes(x + 62, y + 4, width - 76, height - 26 - 15 * rows)
        base = {}
        for index, (name, points) in enumerate(lines):
            color = PALETTE[index % len(PALETTE)]
            times, values, floors = [], [], []
            for at, value in points:
                if times and at - times[-1] > 31:
                    times.append(at), values.append(math.nan), floors.append(math.nan)
                floor = base.get(at, 0.0) if "stacking" in custom else 0.0
                base[at] = floor + value
                times.append(at), values.append(floor + value), floors.append(floor)
            stamps = [time_of(at) for at in times]
            axes.plot(stamps, values, color=color, lw=1.1, label=name)
            axes.fill_between(stamps, floors, values, color=color, alpha=custom["fillOpacity"] / 100, lw=0)
        axes.set_ylim(bottom=0)
        if axes.get_ylim()[1] <= 0.06 and not any(value for _, points in lines for _, value in points):
            axes.set_ylim(top=1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
        axes.grid(color=GRID, lw=0.6)
        self.time_axis(axes)
        left, line = x + 12, y + height - 15 * rows + 4
        for index, (name, _) in enumerate(lines):
            space = len(name) * 5.6 + 28
            if left + space > x + width and left > x + 12:
                left, line = x + 12, line + 15
            self.text(left, line, "━", color=PALETTE[index % len(PALETTE)], size=8)
            self.text(left + 16, line, name, color=MUTED, size=7.5)
            left += space

    def heatmap(self, panel, answers, place):
        x, y, width, height = place
        series = sorted(answers[0][1], key=lambda one: float(one["metric"]["le"]))
        bounds, rows, below = [], [], {}
        for one in series:
            points = dict(one["points"])
            rows.append({at: max(value - below.get(at, 0.0), 0.0) for at, value in points.items()})
            bounds.append(one["metric"]["le"])
            below = points
        used = [index for index, row in enumerate(rows) if any(value > 0.01 for value in row.values())]
        first, last = max(min(used) - 1, 0), min(max(used) + 1, len(rows) - 1)
        axes = self.axes(x + 62, y + 4, width - 76, height - 34)
        most = max(value for row in rows for value in row.values())
        step = 15 / 86400
        for place_, index in enumerate(range(first, last + 1)):
            for at, value in rows[index].items():
                if value > 0.01:
                    left = dates.date2num(time_of(at)) - step
                    color = HEAT(0.15 + 0.85 * (value / most) ** 0.5)
                    axes.add_patch(Rectangle((left, place_ + 0.04), step * 1.05, 0.92, color=color, lw=0))
        axes.set_ylim(0, last - first + 1)
        labels = [shown(float(bounds[index]), panel["options"]["yAxis"]["unit"]) for index in range(first, last + 1)]
        axes.set_yticks(range(1, last - first + 2), labels)
        self.time_axis(axes)

    def bargauge(self, panel, answers, place):
        x, y, width, height = place
        unit = panel["fieldConfig"]["defaults"]["unit"]
        bars = [(legend(target, one["metric"]), one["points"][-1][1]) for target, series in answers for one in series]
        bars = sorted(bars, key=lambda bar: -bar[1])[:14]
        names = max(len(name) for name, _ in bars) * 5.4 + 14
        axes = self.axes(x + 8 + names, y + 4, width - names - 82, height - 14)
        most = max(value for _, value in bars)
        for index, (name, value) in enumerate(bars):
            color = PALETTE[index % len(PALETTE)]
            axes.barh(-index, most, color="#22252b", height=0.72)
            axes.barh(-index, value, color=color, height=0.72, alpha=0.85)
            axes.text(-most * 0.02, -index, name, color=TEXT, size=7.5, ha="right", va="center")
            axes.text(most * 1.03, -index, shown(value, unit), color=color, size=9, va="center")
        axes.set_xlim(0, most), axes.set_ylim(-max(len(bars), 4) + 0.4, 0.6)
        axes.set_xticks([]), axes.set_yticks([])

    def state_timeline(self, panel, answers, place):
        x, y, width, height = place
        series = [(legend(target, one["metric"]), one["points"]) for target, all_ in answers for one in all_]
        names = max(len(name) for name, _ in series) * 5.4 + 14
        axes = self.axes(x + 8 + names, y + 4, width - names - 22, height - 34)
        step = 15 / 86400
        for index, (name, points) in enumerate(series):
            for at, value in points:
                left = dates.date2num(time_of(at)) - step
                color = NAMED["green"] if value else NAMED["red"]
                axes.add_patch(Rectangle((left, -index - 0.4), step * 1.02, 0.8, color=color, lw=0))
        axes.set_ylim(-max(len(series), 4) + 0.4, 0.6)
        axes.set_yticks([-index for index in range(len(series))], [name for name, _ in series])
        self.time_axis(axes)

    def table(self, panel, answers, place):
        x, y, width, height = place
        renamed = panel["transformations"][1]["options"]["renameByName"]
        units = {o["matcher"]["options"]: o["properties"][0]["value"] for o in panel["fieldConfig"]["overrides"]}
        rows, labels = {}, []
        for target, series in answers:
            for one in series:
                key = {name: value for name, value in one["metric"].items() if name != "__name__"}
                labels += [name for name in key if name not in labels]
                # Grafana's merge joins rows whose common labels agree.
                known = [row for row in rows if all(dict(row).get(name, value) == value for name, value in key.items())]
                row = rows.pop(known[0]) if known else {}
                row[target["refId"]] = one["points"][-1][1]
                rows[tuple(((dict(known[0]) if known else {}) | key).items())] = row
        values = [target["refId"] for target, _ in answers if f"Value #{target['refId']}" in renamed]
        columns = [renamed.get(name, name) for name in labels + [f"Value #{value}" for value in values]]
        at = [x + 12 + index * (width - 24) / len(columns) for index in range(len(columns))]
        for left, name in zip(at, columns):
            self.text(left, y + 10, name, color="#6e9fff", size=8, weight="bold")
        for line, (key, row) in enumerate(sorted(rows.items(), key=lambda item: sorted(item[0]))[:8]):
            cells = [dict(key).get(name, "") for name in labels]
            for value in values:
                unit = units[renamed[f"Value #{value}"]]
                cells.append(shown(row[value], unit) if value in row else "No traffic")
            for left, cell in zip(at, cells):
                self.text(left, y + 36 + 24 * line, cell, size=8)

    def save(self, path):
        drawn = io.BytesIO()
        self.figure.savefig(drawn, dpi=DPI, facecolor=BACKGROUND)
        reduced(Image.open(drawn).convert("RGB")).save(path, optimize=True)
        plt.close(self.figure)


def reduced(image):
    """An image of 256 colours: those of the series, since a line has few pixels, and the most frequent of the others."""
    blended = [to_rgb(color) for color in [*PALETTE, *NAMED.values()]]
    panel = to_rgb(PANEL)
    series = [
        tuple(round(255 * (share * of + (1 - share) * on)) for of, on in zip(color, panel))
        for share in (1, 0.6, 0.3)
        for color in blended
    ]
    frequent = [color for _, color in sorted(image.getcolors(1 << 24), reverse=True)]
    colors = list(dict.fromkeys(series + frequent))[:256]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for color in colors for part in color])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def time_of(seconds):
    return dates.num2date(seconds / 86400)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prometheus", help="its URL, such as http://localhost:9090")
    parser.add_argument("--minutes", type=int, default=60, help="how far back, 60 unless said otherwise")
    options = parser.parse_args()
    plt.rcParams["font.family"] = "DejaVu Sans"
    prometheus = Prometheus(options.prometheus, options.minutes)
    for path in sorted((HERE / "../grafana/dashboards").glob("*.json")):
        Drawing(json.loads(path.read_text()), prometheus).save(HERE / f"{path.stem}.png")


if __name__ == "__main__":
    main()
