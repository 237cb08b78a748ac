"""What Docker is told, checked against the published schema, the settings and the command."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
LIVECARD = Path(sys.executable).with_name("livecard")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def livecard(*arguments: str) -> str:
    """Run the console script and return what it prints."""
    command = [str(LIVECARD), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_file_is_a_compose_file() -> None:
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text("utf-8"))
    jsonschema.Draft201909Validator(schema).validate(COMPOSE)


def test_every_livecard_variable_is_a_setting() -> None:
    known = {row["variable"] for row in json.loads(livecard("settings", "--json"))}
    used = {name for service in OURS.values() for name in service["environment"]}
    assert used
    assert used <= known


def test_every_command_exists() -> None:
    text = livecard("--help")
    for name, service in OURS.items():
        assert re.search(rf"^\W*{service['command'][0]}\s", text, re.MULTILINE), name


def test_the_settings_of_each_service_are_accepted() -> None:
    for service in OURS.values():
        environment = {name: str(value) for name, value in service["environment"].items()}
        done = subprocess.run([LIVECARD, "settings"], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_line_is_complete() -> None:
    assert set(OURS) == {"init", "lifecycle", "clock", "dispatcher", "gateway", "simulator"}
    assert set(SERVICES) - set(OURS) == {"kafka", "postgres", "prometheus", "grafana"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_version_is_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"init"}))
def test_health_is_checked_where_the_service_answers(name: str) -> None:
    check = " ".join(SERVICES[name]["healthcheck"]["test"])
    if name in OURS:
        port = SERVICES[name]["environment"]["LIVECARD_HTTP"].removeprefix("0.0.0.0:")
        assert f"http://127.0.0.1:{port}/readyz" in check
        assert f"127.0.0.1:{port}:{port}" in SERVICES[name]["ports"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_guarded_and_bounded(name: str) -> None:
    """No root, nothing to write on but volumes and memory, no privileges, so much memory and no more."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert name in OURS or service["user"] not in {"root", "0"}
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


def test_services_start_after_what_they_need() -> None:
    for name in ("lifecycle", "clock", "dispatcher", "gateway"):
        needs = {other: on["condition"] for other, on in SERVICES[name]["depends_on"].items()}
        assert needs["init"] == "service_completed_successfully"
        assert needs["kafka"] == needs["postgres"] == "service_healthy"
    assert SERVICES["dispatcher"]["depends_on"]["simulator"]["condition"] == "service_healthy"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_is_published_beyond_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_named_volumes_are_declared() -> None:
    used = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])
    }
    folders = {each for each in used if each.startswith("./")}
    assert used - folders == set(COMPOSE["volumes"])


def test_what_is_mounted_is_here_and_names_services_of_the_file() -> None:
    """Prometheus reads every service of ours that serves; Grafana asks it, and finds its files."""
    mounted = {
        volume.split(":")[1]: ROOT / volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }
    assert all(folder.is_dir() for folder in mounted.values())
    told = yaml.safe_load((mounted["/etc/prometheus"] / "prometheus.yml").read_text("utf-8"))
    (job,) = told["scrape_configs"]
    asked = {target for config in job["static_configs"] for target in config["targets"]}
    serving = {
        name: service["environment"]["LIVECARD_HTTP"] for name, service in OURS.items() if name != "init"
    }
    assert asked == {f"{name}:{at.partition(':')[2]}" for name, at in serving.items() if name != "simulator"}
    provisioning = mounted["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "livecard.yml").read_text("utf-8"))[
        "providers"
    ]
    assert list(mounted[provider["options"]["path"]].glob("*.json"))


def test_the_image_is_pinned_locked_and_unprivileged() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"\$\{REGISTRY\}/library/python:\d+\.\d+\.\d+-slim-\w+", bases[0])
    installs = re.findall(r"pip (?:--python \S+ )?install [^&\n]+", DOCKERFILE)
    assert len(installs) == DOCKERFILE.count(" install --no-cache-dir") == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE, re.MULTILINE), "runAsNonRoot believes numbers only"


def test_mirrors_and_proxies_are_build_arguments() -> None:
    """The default is Docker Hub and pip's own index; what a company passes is not left in the image."""
    before, *stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    assert re.findall(r"^ARG (.+)$", before, re.MULTILINE) == ["REGISTRY=docker.io"]
    assert re.findall(r"^ARG (.+)$", stages[0], re.MULTILINE) == ["PIP_INDEX_URL", "PIP_TRUSTED_HOST"]
    assert stages[0].index("ARG PIP_INDEX_URL") < stages[0].index("RUN ")
    assert "ARG" not in stages[-1]
    docker_knows = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    for service in OURS.values():
        assert set(service["build"]["args"]) == declared | docker_knows
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert all(image.startswith("${REGISTRY:-docker.io}/") for image in images)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_says_where_compose_listens_and_what_the_build_takes(page: str) -> None:
    """Every published port, and every argument."""
    text = (ROOT / page).read_text("utf-8")
    ports = {port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])}
    assert [port for port in sorted(ports) if f"127.0.0.1:{port}" not in text] == []
    args = OURS["init"]["build"]["args"]
    assert [name for name in args if f"`{name}`" not in text] == []


def test_the_image_gets_every_file_it_copies() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_the_version_is_the_projects() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    assert {service["image"] for service in OURS.values()} == {f"livecard:{version[1]}"}
