"""Checks what is under deploy/ without any cluster or engine: against schemas, and for what no schema knows.

Arguments: the program `kubectl`, and the folder with the npm packages of `.ci/deploy`. Needs the Python packages of
`.ci/deploy`.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

KUBECTL, NODE = sys.argv[1:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ["1.31", "1.37"]
# Resources of others, by the npm package that knows their types.
CUSTOM = {
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator",
    "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api",
}
# What the program does by itself.
DRAIN_MS = 30_000
DELAY_MS = 0
# What it needs after both, to say good-bye.
REST_MS = 6_000


def main():
    alerts()
    custom = []
    for folder in kustomizations():
        rendered = render(folder)
        custom += against_schemas(folder, rendered)
        Together(folder, rendered).check()
        print(f"{folder.relative_to(ROOT)}: {len(rendered)} resources")
    custom_against_types(custom)
    compose_files()
    systemd_unit()


# --- Kubernetes --------------------------------------------------------------------------------------------------


def kustomizations():
    files = sorted((DEPLOY / "kubernetes").rglob("kustomization.yaml"))
    found = [file.parent for file in files if yaml.safe_load(file.read_text())["kind"] == "Kustomization"]
    assert len(found) >= 5, found
    return found


def render(folder):
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    assert not done.stderr.strip(), f"{folder}: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def against_schemas(folder, rendered):
    """Checks what Kubernetes itself knows; gives back the rest."""
    rest = []
    for resource in rendered:
        if resource["apiVersion"] in CUSTOM:
            rest.append(resource)
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{folder}: {called(resource)}: {'.'.join(map(str, error.path))}: {error.message}") from error
    return rest


def custom_against_types(resources):
    """TypeScript finds keys that a resource does not have, the packages' own check wrong values."""
    assert resources, "no resource of the operators was rendered"
    types, values = [], []
    for number, resource in enumerate(resources):
        kind, version = resource["kind"], resource["apiVersion"]
        module = json.dumps(f"{CUSTOM[version]}/{version}/{kind}")
        types.append(f"import type {{I{kind} as T{number}}} from {module};\nconst v{number}: T{number} = {json.dumps(resource)};")
        values.append(f"import {{{kind} as T{number}}} from {module};\nnew T{number}({json.dumps(resource)}).validate();")
    for name, lines, command in [
        ("types.ts", types, ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]),
        ("values.mjs", values, ["node"]),
    ]:
        pathlib.Path(NODE, name).write_text("\n".join(lines))
        done = subprocess.run([*command, name], cwd=NODE, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    print(f"{len(resources)} resources of operators")


class Together:
    """What is rendered must fit together."""

    def __init__(self, folder, resources):
        self.folder, self.resources = folder, resources

    def of(self, kind):
        return [resource for resource in self.resources if resource["kind"] == kind]

    def named(self, kind, name):
        found = [resource for resource in self.of(kind) if resource["metadata"]["name"] == name]
        assert found, f"{self.folder}: there is no {kind} {name}"
        return found[0]

    def selected(self, labels):
        pods = [workload["spec"]["template"] for workload in self.of("Deployment")]
        found = [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]
        assert labels and found, f"{self.folder}: nothing has the labels {labels}"
        return found

    def check(self):
        assert not self.of("Secret"), f"{self.folder}: secrets are named, never written down"
        assert self.of("Deployment"), self.folder
        for workload in self.of("Deployment"):
            pod = workload["spec"]["template"]
            self.selected(workload["spec"]["selector"]["matchLabels"])
            self.is_restricted(pod["spec"])
            self.has_what_it_names(pod["spec"])
            for container in containers(pod["spec"]):
                self.has_limits(container)
                if container["name"] == "antiphon":
                    self.is_probed(container)
                    self.fits_its_file(workload, container)
        self.others_find_it()

    def is_restricted(self, pod):
        """Kubernetes' own rules for `pod-security.kubernetes.io/enforce: restricted`, and some more."""
        assert pod["automountServiceAccountToken"] is False, self.folder
        for key in ["hostNetwork", "hostPID", "hostIPC"]:
            assert not pod.get(key), key
        for volume in pod.get("volumes", []):
            allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
            assert set(volume) - {"name"} <= allowed, volume
        for container in containers(pod):
            own, whole = container.get("securityContext", {}), pod.get("securityContext", {})
            where = f"{self.folder}: {container['name']}"
            assert own.get("allowPrivilegeEscalation") is False, where
            assert own.get("capabilities") == {"drop": ["ALL"]}, where
            assert own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True, where
            assert own.get("runAsUser", whole.get("runAsUser")), where
            assert own.get("seccompProfile", whole.get("seccompProfile", {}))["type"] in ("RuntimeDefault", "Localhost"), where
            assert not own.get("privileged"), where
            assert not any("hostPort" in port for port in container.get("ports", [])), where
            if container["name"] == "antiphon":
                assert own["readOnlyRootFilesystem"] is True, where

    def has_what_it_names(self, pod):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert volumes == mounted, f"{self.folder}: {volumes} are there, {mounted} are mounted"
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                self.named("ConfigMap", volume["configMap"]["name"])
            if "persistentVolumeClaim" in volume:
                self.named("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
        if "serviceAccountName" in pod:
            account = self.named("ServiceAccount", pod["serviceAccountName"])
            assert account["automountServiceAccountToken"] is False

    def has_limits(self, container):
        where = f"{self.folder}: {container['name']}"
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}, where
        assert "memory" in container["resources"]["limits"], where
        assert re.search(r":[^:/]*\d[^:/]*$", container["image"]), f"{where}: {container['image']} is no certain version"

    def is_probed(self, container):
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for name in ["readinessProbe", "livenessProbe", "startupProbe"]:
            probe = container.get(name)
            if probe is None:
                continue
            if "exec" in probe:
                assert probe["exec"]["command"] == ["antiphon", "health"], probe
            else:
                assert probe["httpGet"]["port"] in ports, f"{self.folder}: {name} asks a port that is not there"
                assert probe["httpGet"]["path"] == ("/readyz" if name == "readinessProbe" else "/healthz"), probe
        assert container["livenessProbe"]
        assert container.get("readinessProbe") or container.get("restartPolicy") == "Always"

    def fits_its_file(self, workload, container):
        pod = workload["spec"]["template"]["spec"]
        env = {variable["name"]: variable for variable in container["env"]}
        assert env["ANTIPHON_CONFIG"]["value"] == "/etc/antiphon/proxy.toml"
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        source = self.named("ConfigMap", volumes[mounts["/etc/antiphon"]]["configMap"]["name"])
        config = tomllib.loads(source["data"]["proxy.toml"])
        server = config["server"]

        # Time to end.
        wait = server.get("drain_timeout_ms", DRAIN_MS) + server.get("shutdown_delay_ms", DELAY_MS)
        grace = pod.get("terminationGracePeriodSeconds", 30) * 1000
        assert grace >= wait + REST_MS, f"{self.folder}: {grace} ms to end, but it takes {wait} ms"

        # The image's variable goes before the file: both must say the same.
        listens = server["listen"]
        told = env.get("ANTIPHON__SERVER__LISTEN", {}).get("value", '"0.0.0.0:8787"')
        assert tomllib.loads(f"v = {told}")["v"] == listens, f"{self.folder}: {told} and {listens}"
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        listens = listens if isinstance(listens, list) else [listens]
        assert ports.get("http") in (None, *[int(address.rpartition(":")[2]) for address in listens if ":/" not in address])
        if "metrics" in ports:
            assert config["metrics"]["listen"] == f"0.0.0.0:{ports['metrics']}"

        # What the file names is there.
        for upstream in config["upstreams"].values():
            assert upstream.get("env_key", "HOME") in {*env, "HOME"}, f"{self.folder}: {upstream['env_key']} is not set"
        if variable := config.get("store", {}).get("url_env"):
            assert "secretKeyRef" in env[variable]["valueFrom"]
        elif "url" not in config.get("store", {}):
            assert "/var/lib/antiphon" in mounts, f"{self.folder}: the store's file would be lost"
        for path in [config.get("reasoning", {}).get("seal_key_file"), config.get("auth", {}).get("keys_file")]:
            assert path is None or os.path.dirname(path) in mounts, f"{self.folder}: {path} is not mounted"

        # Several replicas know the same responses, and open what another one sealed.
        if workload["spec"].get("replicas", 2) > 1:
            assert config["store"]["url_env"] and config["reasoning"]["seal_key_file"], self.folder

    def others_find_it(self):
        for service in self.of("Service"):
            for pod in self.selected(service["spec"]["selector"]):
                names = {port["name"] for container in containers(pod["spec"]) for port in container.get("ports", [])}
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= names, self.folder
        for kind in ["PodDisruptionBudget", "PodMonitor"]:
            for resource in self.of(kind):
                self.selected(resource["spec"]["selector"]["matchLabels"])
        for policy in self.of("NetworkPolicy"):
            self.selected(policy["spec"]["podSelector"]["matchLabels"])
        for scaler in self.of("HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            self.named(target["kind"], target["name"])
            for metric in scaler["spec"]["metrics"]:
                assert metric["pods"]["metric"]["name"] in metrics(), metric
        for route in self.of("HTTPRoute"):
            self.named("Gateway", route["spec"]["parentRefs"][0]["name"])
            for backend in route["spec"]["rules"][0]["backendRefs"]:
                ports = self.named("Service", backend["name"])["spec"]["ports"]
                assert backend["port"] in [port["port"] for port in ports]


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def called(resource):
    return f"{resource['kind']} {resource['metadata']['name']}"


def metrics():
    lines = (ROOT / "tests/deploy/metrics.tsv").read_text().splitlines()
    return {line.split("\t")[0] for line in lines}


# --- Compose -----------------------------------------------------------------------------------------------------


def compose_files():
    files = [DEPLOY / "compose.yaml", DEPLOY / "compose.full.yaml"]
    schema = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([os.path.join(os.path.dirname(sys.executable), schema[0]), *schema[1:], *files], check=True)
    whole, variables = {}, set()
    for file in files:
        text = file.read_text()
        variables |= set(re.findall(r"\$\{(\w+)", text))
        for name, service in yaml.safe_load(text)["services"].items():
            laid_over = {**whole.get(name, {}), **service}
            laid_over["environment"] = {**whole.get(name, {}).get("environment", {}), **service.get("environment", {})}
            whole[name] = laid_over
    for name, service in whole.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to others: {port}"
        for other, condition in service.get("depends_on", {}).items():
            assert other in whole and condition == {"condition": "service_healthy"}, name
        for mount in service.get("volumes", []):
            if mount.startswith("."):
                assert (DEPLOY / mount.split(":")[0]).exists(), mount
                assert mount.endswith(":ro"), mount
        for variable, value in service["environment"].items():
            if re.search("PASSWORD|KEY|SECRET", variable):
                assert re.fullmatch(r"\$\{\w+:[?-][^}]*\}", value), f"{name}: {variable} stands there in plain text"
                assert not re.search(r":-.+\}", value), f"{name}: {variable} has a default"
    assert whole["antiphon"]["environment"]["PGPASSWORD"] == whole["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert seconds(whole["antiphon"]["stop_grace_period"]) >= (DRAIN_MS + REST_MS) / 1000
    example = (DEPLOY / ".env.example").read_text()
    named = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    assert named == variables, f"{named ^ variables} is not in both"
    print(f"compose: {', '.join(whole)}")


def seconds(text):
    return int(text.removesuffix("s"))


# --- systemd -----------------------------------------------------------------------------------------------------


def systemd_unit():
    text = (DEPLOY / "systemd/antiphon.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE).group(1)) * 1000 >= DELAY_MS + DRAIN_MS + REST_MS
    with tempfile.TemporaryDirectory() as folder:
        # `verify` wants the program to be there.
        unit = pathlib.Path(folder, "antiphon.service")
        unit.write_text(text.replace("/usr/local/bin/antiphon", shutil.which("true")))
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit], capture_output=True, text=True
        )
        exposure = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        print(f"systemd: exposure {exposure.group(1)} of 10")


# --- Alerts ------------------------------------------------------------------------------------------------------


def alerts():
    text = (DEPLOY / "prometheus/alerts.yaml").read_text()
    groups = yaml.safe_load(text)["groups"]
    found = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    sections = set(re.findall(r"^### (Antiphon\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    names = {rule["alert"] for rule in found}
    assert names == sections, f"in alerts.yaml or in docs/operations.md only: {names ^ sections}"
    for rule in found:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}", rule
    # The operator's form is the same text, further to the right, below a head of its own.
    operator = DEPLOY / "kubernetes/components/monitoring/prometheusrule.yaml"
    head = operator.read_text().partition("\nspec:\n")[0] + "\nspec:\n"
    body = text[text.index("\ngroups:\n") + 1 :]
    moved = "".join(f"  {line}" if line.strip() else line for line in body.splitlines(keepends=True))
    if operator.read_text() != head + moved:
        operator.write_text(head + moved)
        raise AssertionError(f"{operator} was not as alerts.yaml, and is now: commit it")
    print(f"{len(found)} alerts")


if __name__ == "__main__":
    main()
