"""deploy/: files that Ray, Kubernetes and Docker would take, with paths, flags and numbers that exist here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import sizing
from pipelines import full
from pipelines.cli import ENTRIES, command_class
from pipelines.config.loading import load_config, override_config
from pipelines.planning import cluster as plan_cluster
from pipelines.planning.cluster import Node
from pipelines.runtime.arguments import flags_of

# API reference of KubeRay, ray.io/v1.
RAYJOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture(scope="module")
def deploy(repo_root: Path) -> Path:
    return repo_root / "deploy"


@pytest.fixture(scope="module")
def rayjob(deploy: Path) -> dict[str, Any]:
    return yaml.safe_load((deploy / "rayjob.yaml").read_text())


@pytest.fixture(scope="module")
def aws(deploy: Path) -> dict[str, Any]:
    return yaml.safe_load((deploy / "cluster-aws.yaml").read_text())


def _image(repo_root: Path, path: str) -> Path:
    """A path inside the image as one of this checkout."""
    assert path.startswith("/app/"), path
    return repo_root / path.removeprefix("/app/")


def test_cluster_yaml_fits_rays_own_schema(aws):
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(aws, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(aws | {"max_wokers": 1}, schema)
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(aws))
    assert aws["head_node_type"] in aws["available_node_types"]
    assert aws["available_node_types"]["gpu"]["max_workers"] <= aws["max_workers"]


def test_start_commands_use_flags_that_ray_has(aws):
    import click
    from ray.scripts.scripts import start

    for name in ("head_start_ray_commands", "worker_start_ray_commands"):
        line = next(command for command in aws[name] if "ray start" in command)
        words = shlex.split(line.partition("ray start")[2].replace("$RAY_HEAD_IP", "10.0.0.1"))
        start.make_context("start", words, resilient_parsing=True)
    with pytest.raises(click.NoSuchOption):
        start.make_context("start", ["--heda"], resilient_parsing=False)


def test_rayjob_has_fields_that_kuberay_knows_and_rays_version(rayjob, repo_root):
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    spec = rayjob["spec"]
    assert set(spec) <= RAYJOB
    assert set(spec["rayClusterSpec"]) <= CLUSTER
    pinned = re.search(r"^ray==(\S+)$", (repo_root / "constraints.txt").read_text(), re.M)
    assert pinned is not None
    assert spec["rayClusterSpec"]["rayVersion"] == pinned[1]
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        pod = group["template"]["spec"]
        mounted = {mount["name"] for box in pod["containers"] for mount in box["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_rayjobs_command_loads_and_its_workers_fit(rayjob, repo_root):
    spec = rayjob["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[0] == "python"
    assert _image(repo_root, words[1]).is_file()
    args, rest = full.read_arguments(words[2:])
    cfg = override_config(load_config(str(_image(repo_root, args.config))), rest)
    group = spec["rayClusterSpec"]["workerGroupSpecs"][0]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    node = Node(float(limits["cpu"]), float(limits["nvidia.com/gpu"]), 512 * 2**30)
    fine, text = plan_cluster.fit([node] * group["replicas"], cfg.train, 0.0)
    assert fine, text


def _copies(dockerfile: str) -> list[list[str]]:
    joined = dockerfile.replace("\\\n", " ")
    return [line.split()[1:] for line in joined.splitlines() if line.startswith("COPY ")]


def test_image_holds_all_that_runs_and_nothing_else(deploy, repo_root, tmp_path):
    text = (deploy / "Dockerfile").read_text()
    allowed = [line[1:] for line in (deploy / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    for *sources, _ in _copies(text):
        for source in sources:
            assert (repo_root / source).exists(), source
            assert source in allowed, f"{source} is kept from the build by Dockerfile.dockerignore"
    copied = {source for *sources, _ in _copies(text) for source in sources}
    assert set(allowed) == copied
    project = tomllib.loads((repo_root / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"tune_configs"} <= copied
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= copied
    base = re.search(r"^FROM python:(\d+)\.(\d+)-slim", text, re.M)
    assert base is not None
    assert (int(base[1]), int(base[2])) == (3, 11)
    assert project["project"]["requires-python"] == ">=3.11"
    for source in copied:
        target = tmp_path / source
        if (repo_root / source).is_dir():
            shutil.copytree(repo_root / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(repo_root / source, target)
    check = next(line for line in text.splitlines() if line.startswith("RUN python"))
    for command in check.removeprefix("RUN ").split("&&"):
        words = [sys.executable, *shlex.split(command.partition(">")[0])[1:]]
        run = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}, text=True,
                             capture_output=True, check=False)  # fmt: skip
        assert run.returncode == 0, run.stderr


def test_nothing_of_one_workplace_stands_in_there(deploy):
    for file in deploy.iterdir():
        text = file.read_text()
        assert not re.search(r"/(?:home|root|work)/|https?://", text), file.name
        for image in re.findall(r"image: (\S+)", text):
            assert image.startswith("REGISTRY/"), image


def _page(repo_root: Path, name: str) -> str:
    return (repo_root / "docs" / name).read_text()


def test_sizing_in_the_docs_is_what_the_plan_says(repo_root):
    page = _page(repo_root, "deploy.md")
    for line in sizing.rows(("InternVL3-2B", "InternVL3-8B")):
        assert line in page, line


@pytest.mark.parametrize("name", ["deploy.md", "plan.md", "export-model.md"])
def test_commands_in_the_docs_exist(repo_root, name):
    page = _page(repo_root, name)
    shown = re.findall(r"^(?:\.venv/bin/)?skel (\S+)(.*)$", page.replace("\\\n", " "), re.M)
    for command, rest in shown:
        assert command in ENTRIES, command
        flags = {word.partition("=")[0] for word in rest.split() if word.startswith("--") and "." not in word}
        assert flags <= {*flags_of(command_class(command)), "--help"}, (command, flags)
    assert shown or name == "deploy.md"
    for path in re.findall(r"(?:tune_configs|deploy|benchmarks|pipelines)/[\w./-]+\.(?:yaml|py|md)", page):
        assert (repo_root / path).is_file(), path
    for line in re.findall(r"^ray job submit (.*)$", page.replace("\\\n", " "), re.M):
        own, _, script = line.partition(" -- python ")
        assert "--working-dir ." in own
        words = shlex.split(script)
        assert (repo_root / words[0]).is_file()
        args, rest = full.read_arguments(words[1:])
        override_config(load_config(str(repo_root / args.config)), rest)


def test_everything_in_deploy_is_looked_at(deploy):
    files = sorted(file.name for file in deploy.iterdir())
    assert files == ["Dockerfile", "Dockerfile.dockerignore", "cluster-aws.yaml", "rayjob.yaml"]
    assert not any(fnmatch(name, "*.sh") for name in files)
