"""deploy/k8s: rendered by kustomize, checked against the published schemas, the settings and the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.engines.npm import missing, node_modules
from scripts.patience import PATIENCE
from services.runtime.metrics import Metrics
from services.runtime.secret_file import exposed
from services.runtime.settings import Settings
from tests.engines.support import REQUIRED

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
SCHEMAS = Path(__file__).with_name("schemas")
LIVECARD = Path(sys.executable).with_name("livecard")
RELEASES = ("1.30.0", "1.37.0")
SERVICES = ("clock", "dispatcher", "gateway", "lifecycle")
README = (K8S / "README.md").read_text("utf-8")


def kustomize() -> list[str]:
    """The command that renders a folder; skips where there is none: Debian's kubectl is too old for it."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    pytest.skip("neither kustomize nor kubectl is here")


@cache
def rendered(folder: str) -> tuple[dict[str, Any], ...]:
    """Every object of a kustomization."""
    command = [*kustomize(), str(K8S / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """The example's objects of a kind, by name without `livecard-`."""
    found = [each for each in rendered("example") if each["kind"] == kind]
    return {each["metadata"]["name"].removeprefix("livecard-"): each for each in found}


def pods() -> dict[str, dict[str, Any]]:
    """The pod of each service and of `init`."""
    return {name: each["spec"]["template"] for name, each in (of_kind("Deployment") | of_kind("Job")).items()}


def container(name: str) -> dict[str, Any]:
    """The one container of a pod."""
    (only,) = pods()[name]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@cache
def schema(release: str) -> dict[str, Any]:
    """What a release of Kubernetes has published, for the kinds that we use."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"kubernetes-{release}.json").read_text("utf-8"))
    return found


def faults(release: str, kind: str, what: Any) -> list[str]:
    """What it has against an object."""
    whole = schema(release)
    rule = {"$schema": whole["$schema"], "$defs": whole["$defs"], "$ref": f"#/$defs/{whole['kinds'][kind]}"}
    return [error.message for error in jsonschema.Draft202012Validator(rule).iter_errors(what)]


def faults_of_keda(*objects: Any) -> list[list[str]]:
    """What KEDA's schema has against each ScaledObject; it is in a package of npm."""
    if (reason := missing()) and not REQUIRED:
        pytest.skip(reason)
    command = ["node", str(SCHEMAS / "keda.mjs"), str(node_modules(SCHEMAS))]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("folder", ["base", "example"])
def test_kubernetes_accepts_every_object(folder: str, release: str) -> None:
    """The oldest release that the README names, and the newest; fields that they do not know are faults."""
    wrong = [fault for each in plain(folder) for fault in faults(release, each["kind"], each)]
    assert wrong == []
    behaviours = [
        each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        for each in of_kind("ScaledObject").values()
    ]
    assert [faults(release, "HorizontalPodAutoscalerBehavior", each) for each in behaviours] == [[], []]


@pytest.mark.parametrize("release", RELEASES)
def test_the_schemas_of_kubernetes_refuse_what_is_wrong(release: str) -> None:
    deployment = deepcopy(of_kind("Deployment")["clock"])
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    budget = deepcopy(of_kind("PodDisruptionBudget")["clock"])
    budget["spec"]["unhealthyPodEvictionPolicy"] = 1
    assert faults(release, "Deployment", deployment)
    assert faults(release, "PodDisruptionBudget", budget)


def test_keda_accepts_the_scalers_and_refuses_what_is_wrong() -> None:
    """Fields that it does not know are none of its faults; `behavior` is Kubernetes' own, see above."""
    good = list(of_kind("ScaledObject").values())
    assert faults_of_keda(*good) == [[] for _ in good]
    text, bare = deepcopy(good[0]), deepcopy(good[0])
    text["spec"]["maxReplicaCount"] = "many"
    del bare["spec"]["triggers"]
    assert all(faults_of_keda(text, bare))


def plain(folder: str) -> list[dict[str, Any]]:
    """A kustomization's objects of Kubernetes' own kinds."""
    return [each for each in rendered(folder) if each["kind"] not in {"ScaledObject", "PodMonitor"}]


def test_every_service_is_deployed_and_may_be_evicted_one_by_one() -> None:
    assert tuple(sorted(of_kind("Deployment"))) == SERVICES
    assert tuple(sorted(of_kind("PodDisruptionBudget"))) == SERVICES
    assert set(of_kind("Job")) == {"init"}
    for name, budget in of_kind("PodDisruptionBudget").items():
        labels = pods()[name]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
        others = [pods()[other]["metadata"]["labels"] for other in pods() if other != name]
        assert not any(budget["spec"]["selector"]["matchLabels"].items() <= each.items() for each in others)
    selector = of_kind("Service")["gateway"]["spec"]["selector"]
    assert selector.items() <= pods()["gateway"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", [*SERVICES, "init"])
def test_commands_and_settings_exist_and_are_accepted(name: str) -> None:
    assert container(name)["args"] == [name]
    secrets = {"LIVECARD_DATABASE": "postgresql+asyncpg://livecard@db/livecard"}
    (shared,) = of_kind("ConfigMap").values()
    assert container(name)["envFrom"] == [{"configMapRef": {"name": shared["metadata"]["name"]}}]
    said = {each["name"]: each["value"] for each in container(name)["env"] if "value" in each}
    environment = shared["data"] | said | secrets
    assert {f"LIVECARD_{field.upper()}" for field in Settings.__struct_fields__} >= environment.keys()
    done = subprocess.run([LIVECARD, "settings"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([LIVECARD, name, "--help"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_probes_ask_what_the_service_answers(name: str) -> None:
    known = {each["name"]: each.get("value", "") for each in container(name)["env"]}
    port = int(known["LIVECARD_HTTP"].removeprefix("0.0.0.0:"))
    assert container(name)["ports"] == [{"name": "http", "containerPort": port}]
    assert pods()[name]["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    asked = {
        each: container(name)[f"{each}Probe"]["httpGet"] for each in ("startup", "liveness", "readiness")
    }
    assert {each["port"] for each in asked.values()} == {"http"}
    assert [each["path"] for each in asked.values()] == ["/healthz", "/healthz", "/readyz"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_has_time_to_drain(name: str) -> None:
    before = container(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pods()[name]["spec"]["terminationGracePeriodSeconds"] >= before + Settings().drain + 5


@pytest.mark.parametrize("name", [*SERVICES, "init"])
def test_a_pod_is_restricted(name: str) -> None:
    """As the Pod Security Standard `restricted` asks, and a read-only root file system beside it."""
    pod, inside = pods()[name]["spec"], container(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= inside["resources"]["requests"].keys()
    assert "memory" in inside["resources"]["limits"]
    assert re.search(r":\d+\.\d+\.\d+$", inside["image"])


def test_secrets_are_files_that_livecard_accepts_or_named_by_the_readme() -> None:
    """Mounted for root and our group: the mode passes the check that files of secrets have to pass."""
    mounted = [
        volume["secret"] for pod in pods().values() for volume in pod["spec"]["volumes"] if "secret" in volume
    ]
    for each in mounted:
        seen = (0o100000 | each["defaultMode"], 0, 0, 1, 0, 10001, 2, 0, 0, 0)
        assert exposed(os.stat_result(seen), 10001) == ""
    named = {each["secretName"] for each in mounted}
    assert set(re.findall(r"^\| `(livecard-[a-z-]+)`", README, re.MULTILINE)) == named
    needed = re.findall(r"^\| `(livecard-[a-z-]+)` \| (?!not needed)", README, re.MULTILINE)
    assert {each["secretName"] for each in mounted if not each.get("optional")} == {*needed}
    for name in SERVICES:
        places = {each["mountPath"] for each in container(name)["volumeMounts"]}
        files = [each["value"] for each in container(name)["env"] if each["name"].endswith("_FILE")]
        assert all(str(Path(file).parent) in places for file in files)


def test_settings_that_the_readme_names_are_accepted_and_name_files_that_are_mounted(tmp_path: Path) -> None:
    """Each row of its table, with the files where they are here."""
    (kafka,) = re.findall(r"^\| `livecard-kafka` \| (.*) \|", README, re.MULTILINE)
    (wechat,) = re.findall(r"^\| `livecard-wechat` \| (.*) \|", README, re.MULTILINE)
    keys = {"livecard-kafka": kafka, "livecard-wechat": wechat}
    places = {each["mountPath"] for each in container("dispatcher")["volumeMounts"]}
    rows = [re.findall(r"`([A-Z_]+)=([^`]+)`", row) for row in README.splitlines() if row.startswith("| ")]
    for row in filter(None, rows):
        for _, value in row:
            if found := re.fullmatch(r"(/run/secrets/([a-z-]+))/([a-z.-]+)", value):
                assert found[1] in places
                assert f"`{found[3]}`" in keys[found[2]]
                (tmp_path / found[3]).write_text("x")
                (tmp_path / found[3]).chmod(0o600)
        environment = {name: re.sub("/run/secrets/[a-z-]+", str(tmp_path), value) for name, value in row}
        environment["LIVECARD_KAFKA"] = "kafka:9093"
        environment["LIVECARD_DATABASE"] = "postgresql+asyncpg://livecard@db/livecard"
        done = subprocess.run([LIVECARD, "settings"], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len([row for row in rows if row]) == 6


def test_scalers_ask_for_metrics_that_exist_and_leave_the_number_to_keda() -> None:
    exported = {each.name for each in Metrics().registry.collect()}
    scalers = of_kind("ScaledObject")
    assert set(scalers) == {"lifecycle", "dispatcher"}
    for name, scaler in scalers.items():
        (trigger,) = scaler["spec"]["triggers"]
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        asked = set(re.findall(r"livecard_[a-z_]+", trigger["metadata"]["query"]))
        assert asked
        assert asked <= exported
        assert scaler["spec"]["minReplicaCount"] >= 2
        assert "replicas" not in of_kind("Deployment")[name]["spec"]
    for name in set(SERVICES) - set(scalers):
        assert of_kind("Deployment")[name]["spec"]["replicas"] >= 2


def test_prometheus_reads_every_service_under_the_labels_that_the_rules_ask_for() -> None:
    (monitor,) = of_kind("PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "http"
    for name in SERVICES:
        labels = pods()[name]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["spec"]["jobLabel"]] == "livecard"
    (component,) = endpoint["relabelings"]
    assert component["targetLabel"] == "service"
    rules = (ROOT / "deploy" / "prometheus" / "livecard.rules.yml").read_text("utf-8")
    assert set(re.findall(r'service="([a-z]+)"', rules)) <= set(SERVICES)
    assert set(re.findall(r'job="([a-z]+)"', rules)) == {"livecard"}


def test_there_are_no_more_lifecycles_than_partitions() -> None:
    (shared,) = of_kind("ConfigMap").values()
    most = of_kind("ScaledObject")["lifecycle"]["spec"]["maxReplicaCount"]
    assert most == int(shared["data"]["LIVECARD_PARTITIONS"])
    base = yaml.safe_load((K8S / "keda" / "lifecycle.yaml").read_text("utf-8"))
    assert base["spec"]["maxReplicaCount"] == Settings().partitions


def test_every_file_is_part_of_a_kustomization() -> None:
    for folder in ("base", "keda", "prometheus", "example"):
        said = (K8S / folder / "kustomization.yaml").read_text("utf-8")
        files = {path.name for path in (K8S / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert [name for name in files if name not in said] == []


def test_the_image_is_the_projects_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    assert {container(name)["image"].rpartition(":")[2] for name in SERVICES} == {version[1]}
