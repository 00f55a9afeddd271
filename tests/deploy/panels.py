"""Asks a real Prometheus for everything that the dashboard asks for, so that no panel stays empty: it scrapes made-up
values of the metrics in metrics.tsv, with these labels and no others.

Arguments: the programs `prometheus` and `promtool`.
"""

import http.server
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
DASHBOARD = os.path.join(HERE, "../../deploy/grafana/dashboard.json")
ALERTS = os.path.join(HERE, "../../deploy/prometheus/alerts.yaml")
PROMETHEUS, PROMTOOL = sys.argv[1:]

# A value for each label that the dashboard looks for by name; others get one of their own.
VALUES = {
    "status": ["completed", "incomplete", "failed", "cancelled", "refused"],
    "kind": ["input", "cached", "output", "reasoning"],
    "operation": ["read", "write"],
}
# What the dashboard's own variables stand for. A label that a metric does not have makes its panel empty.
VARIABLES = {"job": "antiphon", "instance": "one", "upstream": "an-upstream", "model": "a-model", "tenant": "a-tenant"}
WINDOW = "10s"


def main():
    with open(DASHBOARD) as file:
        dashboard = json.load(file)
    looks_right(dashboard)
    with Metrics() as metrics, tempfile.TemporaryDirectory() as folder, Prometheus(folder, metrics.port) as prometheus:
        prometheus.wait_for("count_over_time(antiphon_build_info[1m]) >= 5")
        asked = 0
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                has_data(prometheus, panel, target)
                asked += 1
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                has_values(prometheus, variable)
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                prometheus.query(filled_in(annotation["expr"]))
    print(f"{asked} queries of {len(dashboard['panels'])} panels have data")


def looks_right(dashboard):
    """What Grafana would not complain about, but a reader would."""
    assert "id" not in dashboard, "an id belongs to one Grafana"
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)), "two panels have the same id"
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        assert panel["type"] == "row" or panel["description"], f"{panel['title']} does not say what it shows"
        for source in [panel.get("datasource"), *[target["datasource"] for target in panel.get("targets", [])]]:
            assert source in (None, {"type": "prometheus", "uid": "${datasource}"}), source


def has_data(prometheus, panel, target):
    title = panel["title"]
    result = prometheus.query(filled_in(target["expr"]))
    if panel["title"] == "Alerts that fire":
        return
    assert result, f"{title} has no data: {target['expr']}"
    values = [float(series["value"][1]) for series in result]
    assert not all(math.isnan(value) for value in values), f"{title}: {target['expr']}"
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        assert all(label in series["metric"] for series in result), f"{title}: nothing has the label {label}"


def has_values(prometheus, variable):
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
    found = {answer["metric"].get(label) for answer in prometheus.query(filled_in(series))}
    assert VARIABLES[variable["name"]] in found, f"the variable {variable['name']} is empty"


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = re.sub(rf"\${name}\b", value, expression)
    for name in ["$__rate_interval", "$__interval"]:
        expression = expression.replace(name, WINDOW)
    assert "$" not in expression, expression
    return expression


class Prometheus:
    """A server in a temporary folder, that scrapes each second and knows the alerts too."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, free_port()
        self.config = os.path.join(folder, "prometheus.yml")
        with open(self.config, "w") as file:
            file.write(
                f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{os.path.abspath(ALERTS)}']\n"
                f"scrape_configs: [{{job_name: antiphon, static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{instance: one}}}}]}}]\n"
            )
        subprocess.run([PROMTOOL, "check", "config", self.config], check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        command = [PROMETHEUS, f"--config.file={self.config}", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        if kind:
            self.log.seek(0)
            print(self.log.read()[-4000:], file=sys.stderr)
        self.log.close()

    def query(self, expression):
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it only begins to run
                raise
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def wait_for(self, expression):
        end = time.monotonic() + 60
        while True:
            try:
                if self.query(expression):
                    return
            except urllib.error.URLError:
                pass
            assert time.monotonic() < end, f"Prometheus never had {expression}"
            time.sleep(0.2)


class Metrics:
    """Serves a made-up scrape, in which all counters grow."""

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scrape)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port
        return self

    def __exit__(self, *_):
        self.server.shutdown()


class Scrape(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = made_up(time.monotonic()).encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def made_up(now):
    lines = []
    with open(os.path.join(HERE, "metrics.tsv")) as file:
        for name, kind, labels in (line.rstrip("\n").split("\t") for line in file):
            lines.append(f"# TYPE {name} {kind}")
            for labels in combinations(labels.split(",") if labels else []):
                if kind == "histogram":
                    for part, bound in enumerate(["0.01", "0.1", "1", "10", "+Inf"], start=1):
                        lines.append(f"{name}_bucket{braces([*labels, ('le', bound)])} {part * now}")
                    lines.append(f"{name}_sum{braces(labels)} {3 * now}")
                    lines.append(f"{name}_count{braces(labels)} {5 * now}")
                else:
                    lines.append(f"{name}{braces(labels)} {now if kind == 'counter' else 2}")
    return "\n".join(lines) + "\n"


def combinations(labels):
    if not labels:
        return [[]]
    first, *rest = labels
    values = VALUES.get(first, [VARIABLES.get(first, f"a-{first}")])
    return [[(first, value), *others] for value in values for others in combinations(rest)]


def braces(labels):
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


if __name__ == "__main__":
    main()
