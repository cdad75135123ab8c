"""What is rendered for Kubernetes: its schemas, kustomize, and rules of our own. No cluster is asked."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelpod import kubernetes, render
from labelpod.config.settings import Settings, secret_names
from labelpod_common import __version__
from tests.support.door import PROGRAM, needs_haproxy
from tests.support.kubernetes import (
    IMAGES,
    ONE,
    OWN,
    SEVERAL,
    SITES,
    containers,
    kustomized,
    manifests,
    needs_kubectl,
    objects,
    of_kind,
    pods,
)
from tests.support.paths import ROOT

of_each_site = pytest.mark.parametrize("site", SITES)
# The users of the images.
USERS = {"label-server": 1000, "trainer": 1000, "pre-pull": 1000, "orthanc": 100, "postgres": 999, "door": 99}


@of_each_site
@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_what_is_rendered_follows_the_schemas_of_kubernetes(site: str, version: str):
    reason = "kubernetes-validate is missing: pip install -r tests/requirements.lock"
    schemas = pytest.importorskip("kubernetes_validate", reason=reason)
    checked = [schemas.validate(each, version, strict=True) for each in objects(SITES[site]) if _built_in(each)]
    assert set(checked) == {version} and len(checked) > 12


def _built_in(each: dict[str, Any]) -> bool:
    """Whether Kubernetes itself knows it; HTTPRoute is the Gateway API's."""
    return "gateway" not in each["apiVersion"]


@needs_kubectl
@of_each_site
def test_kustomize_takes_the_folder_and_names_namespace_images_and_configurations(site: str, tmp_path: Path):
    found = kustomized(SITES[site], tmp_path)
    assert all(each["kind"] == "Namespace" or each["metadata"]["namespace"] == "labelpod" for each in found)
    assert len(found) == len(objects(SITES[site])) + len(of_kind(found, "ConfigMap"))
    images = {container["image"] for _, _, container in containers(found)}
    names = kubernetes.images(Settings.model_validate(SITES[site]))
    assert images == {f"{IMAGES}/{name}:{__version__}" for name in names}
    maps = set(of_kind(found, "ConfigMap"))
    assert {each for _, pod, _ in containers(found) for each in _mounted(pod, "configMap", "name")} == maps
    assert maps and all(re.fullmatch(r"(orthanc|door)-\w{10}", each) for each in maps)


@needs_kubectl
def test_an_image_whose_digest_is_known_is_named_by_it(tmp_path: Path):
    digest = f"sha256:{'a' * 64}"
    images = {container["image"] for _, _, container in containers(kustomized(SEVERAL, tmp_path, {"door": digest}))}
    assert f"{IMAGES}/door@{digest}" in images and f"{IMAGES}/orthanc:{__version__}" in images


@needs_haproxy
def test_haproxy_takes_the_file_of_the_door_in_a_cluster(tmp_path: Path):
    file = tmp_path / "haproxy.cfg"
    file.write_text(manifests(SEVERAL)["haproxy.cfg"].replace(" hash-key addr", ""))  # Debian 12's does not know it
    result = subprocess.run([str(PROGRAM), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@needs_kubectl
def test_a_changed_setting_of_orthanc_starts_orthanc_anew_and_nothing_else(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = pods(kustomized(SEVERAL, tmp_path / "a"))
    after = pods(kustomized(SEVERAL | {"ORTHANC_MAX_FOUND": "7"}, tmp_path / "b"))
    assert [name for name in before if before[name] != after[name]] == ["orthanc"]


@of_each_site
def test_each_pod_is_as_restricted_as_the_namespace_demands(site: str):
    found = objects(SITES[site])
    labels = of_kind(found, "Namespace")["labelpod"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    for name, pod, container in containers(found):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod), name
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert all(set(volume) - {"name"} <= allowed for volume in pod.get("volumes", [])), name


@of_each_site
def test_each_pod_runs_as_the_number_that_its_image_has(site: str):
    for name, pod, _ in containers(objects(SITES[site])):
        user = pod["securityContext"]["runAsUser"]
        image = {"trainer": "label-server", "pre-pull": "label-server"}.get(name, name)
        assert user == USERS[name] and f"USER {user}:{pod['securityContext']['runAsGroup']}" in _dockerfile(image)


def _dockerfile(image: str) -> str:
    if image == "label-server":
        return render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"]
    return (ROOT / "images" / image / "Dockerfile").read_text()


@of_each_site
def test_each_pod_gets_nothing_of_the_cluster_that_it_does_not_need(site: str):
    for name, pod, _ in containers(objects(SITES[site])):
        assert pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False, name


@of_each_site
def test_each_container_is_looked_after_and_bounded(site: str):
    for name, _, container in containers(objects(SITES[site])):
        resources = container["resources"]
        assert resources["limits"]["memory"] == resources["requests"]["memory"] and resources["requests"]["cpu"], name
        if name != "pre-pull":  # it only sleeps
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name
        if name in ("label-server", "trainer"):
            probes = [container[f"{each}Probe"]["httpGet"] for each in ("startup", "readiness", "liveness")]
            assert probes == [{"path": "/healthz", "port": "http"}] * 3


@of_each_site
def test_each_volume_that_is_mounted_exists_and_each_that_exists_is_mounted(site: str):
    found = objects(SITES[site])
    secrets = kubernetes.secrets(Settings.model_validate(SITES[site]))
    claims = set(of_kind(found, "PersistentVolumeClaim"))
    used: set[str] = set()
    for name, pod, container in containers(found):
        mounts = container.get("volumeMounts", [])
        assert {each["name"] for each in mounts} == {each["name"] for each in pod.get("volumes", [])}, name
        assert len({each["mountPath"] for each in mounts}) == len(mounts), name
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                keys = set(secrets[volume["secret"]["secretName"]])
                assert {each["key"] for each in volume["secret"].get("items", [])} <= keys
                assert {m["subPath"] for m in mounts if m["name"] == volume["name"] and "subPath" in m} <= keys
        used |= _mounted(pod, "persistentVolumeClaim", "claimName")
    assert used == claims
    assert {each for _, pod, _ in containers(found) for each in _mounted(pod, "secret", "secretName")} == set(secrets)


def _mounted(pod: dict[str, Any], kind: str, key: str) -> set[str]:
    return {volume[kind][key] for volume in pod.get("volumes", []) if kind in volume}


@of_each_site
def test_no_volume_lies_within_another(site: str):
    for name, _, container in containers(objects(SITES[site])):
        places = [each["mountPath"] for each in container.get("volumeMounts", [])]
        assert not [(a, b) for a in places for b in places if b.startswith(f"{a}/")], name


@of_each_site
def test_each_port_that_is_named_is_one_of_the_containers_and_says_tcp(site: str):
    found = objects(SITES[site])
    ports = {name: _ports(pod) for name, pod in pods(found).items()}
    for name, _, container in containers(found):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {})
            named = asked.get("httpGet", asked.get("tcpSocket", {})).get("port")
            assert named is None or named in ports[name], name
        assert all(each["protocol"] == "TCP" for each in container.get("ports", [])), name
    for name, service in of_kind(found, "Service").items():
        if service["spec"].get("type") == "ExternalName":
            continue
        for each in service["spec"]["ports"]:
            assert each["targetPort"] in ports[service["spec"]["selector"]["app"]] and each["protocol"] == "TCP", name


def _ports(pod: dict[str, Any]) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for c in pod["spec"]["containers"] for each in c.get("ports", [])}


@of_each_site
def test_each_policy_of_the_network_is_about_pods_that_exist_and_ports_that_they_open(site: str):
    found = objects(SITES[site])
    ports = {pod["metadata"]["labels"]["app"]: set(_ports(pod).values()) for pod in pods(found).values()}
    policies = of_kind(found, "NetworkPolicy")
    assert policies["default"]["spec"]["podSelector"] == {}
    assert (
        policies["default"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
        and "ingress" not in policies["default"]["spec"]
    )
    for name, policy in policies.items():
        spec = policy["spec"]
        here = spec["podSelector"].get("matchLabels", {}).get("app")
        assert here in ports or name == "default"
        for rule in spec.get("ingress", []):
            assert {each["port"] for each in rule["ports"]} <= ports[here], name
        for way, key in (("ingress", "from"), ("egress", "to")):
            for each in (
                peer for rule in spec.get(way, []) for peer in rule.get(key, []) if {*peer} == {"podSelector"}
            ):
                assert _apps(each["podSelector"]) <= set(ports), name
    assert set(ports) - {"pre-pull"} == _about(policies)


def _apps(selector: dict[str, Any]) -> set[str]:
    listed = [value for each in selector.get("matchExpressions", []) for value in each["values"]]
    return {*selector.get("matchLabels", {}).values(), *listed}


def _about(policies: dict[str, Any]) -> set[str]:
    return {each["spec"]["podSelector"]["matchLabels"]["app"] for name, each in policies.items() if name != "default"}


@of_each_site
def test_what_one_side_may_send_the_other_may_take(site: str):
    """A way is open only if both policies say so."""
    policies = of_kind(objects(SITES[site]), "NetworkPolicy").values()
    there = set(pods(objects(SITES[site])))
    out, into = set(), set()
    for spec in (each["spec"] for each in policies if each["metadata"]["name"] != "default"):
        here = spec["podSelector"]["matchLabels"]["app"]
        for way, key, ends in (("egress", "to", out), ("ingress", "from", into)):
            for rule in spec.get(way, []):
                for peer in (each for each in rule.get(key, []) if "podSelector" in each):
                    for app in _apps(peer["podSelector"]) & there:
                        ends |= {((here, app) if way == "egress" else (app, here), p["port"]) for p in rule["ports"]}
    assert out == into and out


@of_each_site
def test_no_file_holds_a_secret(site: str):
    secret = {name: f"hunter2-{name}-0123456789" for name in secret_names()}
    texts = manifests(SITES[site] | secret | {"DICOMWEB_USERNAME": "me"})
    assert "hunter2" not in "".join(texts.values())
    assert not [each for each in objects(SITES[site]) if each["kind"] == "Secret"]


def test_one_label_server_does_all_and_keeps_its_workspace():
    found = objects(ONE)
    deployments = of_kind(found, "Deployment")
    assert set(deployments) == {"label-server", "orthanc"} and "postgres" not in pods(found)
    assert deployments["label-server"]["spec"]["replicas"] == 1 and _environment(found, "label-server")["ROLE"] == "all"
    assert deployments["label-server"]["spec"]["strategy"]["type"] == "Recreate"
    assert "label-server" in of_kind(found, "PersistentVolumeClaim")
    backend = of_kind(found, "Ingress")["labelpod"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "label-server", "port": {"name": "http"}}


def test_several_label_servers_annotate_and_one_more_trains():
    found = objects(SEVERAL)
    deployments = of_kind(found, "Deployment")
    assert {name: each["spec"]["replicas"] for name, each in deployments.items()} == {
        "label-server": 3,
        "trainer": 1,
        "door": 2,
        "orthanc": 1,
    }
    assert _environment(found, "label-server")["ROLE"] == "annotate"
    assert _environment(found, "trainer")["ROLE"] == "train"
    mounts = {
        name: {m["name"]: m for m in c["volumeMounts"]} for name, _, c in containers(found) if "volumeMounts" in c
    }
    assert mounts["label-server"]["models"]["readOnly"] is True and "readOnly" not in mounts["trainer"]["models"]
    workspace = [volume for volume in pods(found)["label-server"]["spec"]["volumes"] if volume["name"] == "workspace"]
    assert workspace == [{"name": "workspace", "emptyDir": {"sizeLimit": "70Gi"}}], "on the node"
    claims = of_kind(found, "PersistentVolumeClaim")
    assert {name for name, each in claims.items() if each["spec"]["accessModes"] == ["ReadWriteMany"]} == {
        *("models", "records")
    }


def test_what_label_servers_record_is_in_a_volume_that_all_of_them_write():
    found = objects(SEVERAL)
    for name, pod, container in containers(found):
        if name in ("label-server", "trainer"):
            mount = next(each for each in container["volumeMounts"] if each["name"] == "records")
            assert mount == {"name": "records", "mountPath": _environment(found, name)["RECORDS"]}
            assert "records" in _mounted(pod, "persistentVolumeClaim", "claimName")
    assert "RECORDS" not in _environment(objects(ONE), "label-server"), "its workspace lasts"
    assert "records" not in of_kind(objects(ONE), "PersistentVolumeClaim")


def test_the_trainers_host_is_called_the_same_after_each_start():
    assert pods(objects(SEVERAL))["trainer"]["spec"]["hostname"] == "trainer"


def _environment(found: list[dict[str, Any]], pod: str) -> dict[str, str]:
    container = next(each for name, _, each in containers(found) if name == pod)
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("site", ["one", "several"])
def test_a_label_server_is_told_what_compose_tells_it(site: str):
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["label-server"]["environment"]
    told = _environment(objects(SITES[site]), "label-server")
    assert set(told) == {*compose, "ROLE", *(["MODEL_DIR", "RECORDS"] if site == "several" else [])}
    defaults = {name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", text) for name, text in compose.items()}
    other = {"LABELS", "MODELS", "TRUSTED_PROXY"}  # Compose leaves the first two to the image
    assert {name for name in defaults if told[name] != defaults[name]} == other


def test_label_servers_believe_the_doors_pods_who_a_client_is():
    assert _environment(objects(SEVERAL), "label-server")["TRUSTED_PROXY"] == "door-pods,10.244.0.0/16"
    assert of_kind(objects(SEVERAL), "Service")["door-pods"]["spec"]["clusterIP"] == "None"
    assert _environment(objects(ONE), "label-server")["TRUSTED_PROXY"] == "10.244.0.0/16"


def test_each_label_server_has_a_gpu_under_the_clusters_name_unless_there_is_none():
    for site, gpu in ((SEVERAL | {"KUBERNETES_GPU": "nvidia.com/mig-1g.10gb"}, "nvidia.com/mig-1g.10gb"), (OWN, "")):
        for name, pod, container in containers(objects(site)):
            wanted = bool(gpu) and name in ("label-server", "trainer")
            assert (container["resources"]["limits"].get(gpu) == "1") == wanted, name
            tolerated = "nvidia.com/gpu" in {each["key"] for each in pod["tolerations"]}
            assert tolerated == (bool(gpu) and name in ("label-server", "trainer", "pre-pull")), name
            seen = {each["name"]: each["value"] for each in container.get("env", [])}.get("NVIDIA_VISIBLE_DEVICES")
            assert (seen == "void") == (name in ("label-server", "trainer", "pre-pull") and not wanted), name


def test_a_pod_of_a_dead_node_is_given_up_after_half_a_minute():
    for name, pod, _ in containers(objects(SEVERAL)):
        assert [each.get("tolerationSeconds") for each in pod["tolerations"]][:2] == [30, 30], name


def test_an_update_asks_for_no_gpu_beyond_those_in_use():
    strategy = of_kind(objects(SEVERAL), "Deployment")["label-server"]["spec"]["strategy"]
    assert strategy == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_the_ingress_takes_what_the_label_server_takes_and_writes_no_path_down():
    ingress = of_kind(objects(SEVERAL), "Ingress")["labelpod"]
    said = {key.partition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    assert (said["proxy-body-size"], said["proxy-request-buffering"]) == ("2048m", "off")
    assert said["enable-access-log"] == "false", "a path may hold a token"
    assert ingress["spec"]["tls"] == [{"secretName": "labelpod-tls", "hosts": ["labels.example.org"]}]
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "door"


@needs_kubectl
def test_what_yaml_would_read_otherwise_is_a_text(tmp_path: Path):
    odd = {"KUBERNETES_NAMESPACE": "2026", "KUBERNETES_HOST": "1.5e3", "DICOMWEB_USERNAME": "\U0001f600 <& é: #"}
    found = kustomized(SEVERAL | odd, tmp_path)
    assert "2026" in of_kind(found, "Namespace")
    assert of_kind(found, "Ingress")["labelpod"]["spec"]["rules"][0]["host"] == "1.5e3"
    assert _environment(found, "label-server")["DICOMWEB_USERNAME"] == odd["DICOMWEB_USERNAME"]


@of_each_site
def test_a_rollout_is_given_the_time_that_its_pods_may_take_to_start(site: str):
    slow = SITES[site] | {"WEIGHTS_WAIT": "1800"}
    found = objects(slow)
    wanted = kubernetes.progress_seconds(Settings.model_validate(slow))
    for name, each in of_kind(found, "Deployment").items():
        assert each["spec"]["progressDeadlineSeconds"] == wanted, name
    for name, _, container in containers(found):
        if probe := container.get("startupProbe"):
            assert probe["failureThreshold"] * probe["periodSeconds"] < wanted, name


def test_a_database_that_recovers_and_an_orthanc_that_upgrades_it_are_not_killed_over_it():
    for name, _, container in containers(objects(SEVERAL)):
        if name in ("orthanc", "postgres"):
            probe = container["startupProbe"]
            assert probe["failureThreshold"] * probe["periodSeconds"] >= 900, name


def test_the_volume_of_images_says_what_database_knows_them():
    said = {
        site: of_kind(objects(SITES[site]), "PersistentVolumeClaim")["orthanc"]["metadata"]["annotations"]
        for site in ("one", "several", "own")
    }
    assert [each["labelpod/database"] for each in said.values()] == ["sqlite", "postgres", "database.example.org"]


def test_a_gateway_takes_the_place_of_the_ingress():
    route = of_kind(objects(OWN), "HTTPRoute")["labelpod"]["spec"]
    assert route["parentRefs"] == [{"namespace": "gateways", "name": "inside"}]
    assert route["rules"][0]["backendRefs"] == [{"name": "door", "port": 8000}]
    assert "Ingress" not in {each["kind"] for each in objects(OWN)}


def test_a_database_of_the_sites_own_has_the_name_that_orthancs_login_says():
    service = of_kind(objects(OWN), "Service")["postgres"]["spec"]
    assert service == {"type": "ExternalName", "externalName": "database.example.org"}
    assert "postgres" not in pods(objects(OWN)) and "postgres" in pods(objects(SEVERAL))


def test_postgresqls_files_are_in_a_folder_of_the_volume_because_it_wants_one_that_is_its_own():
    mounts = next(c["volumeMounts"] for name, _, c in containers(objects(SEVERAL)) if name == "postgres")
    assert Path(_environment(objects(SEVERAL), "postgres")["PGDATA"]).parent == Path(mounts[0]["mountPath"])


def test_the_dicom_port_is_opened_to_the_scanners_only_and_only_if_it_is_wanted():
    found = objects(SEVERAL)
    service = of_kind(found, "Service")["dicom"]["spec"]
    assert service["loadBalancerSourceRanges"] == ["10.0.0.5/32", "10.0.0.6/32"]
    assert service["externalTrafficPolicy"] == "Local", "Orthanc must see the scanner's address"
    peers = [each for rule in of_kind(found, "NetworkPolicy")["orthanc"]["spec"]["ingress"] for each in rule["from"]]
    assert [each["ipBlock"]["cidr"] for each in peers if "ipBlock" in each] == ["10.0.0.5/32", "10.0.0.6/32"]
    assert "dicom" not in of_kind(objects(ONE), "Service")


def test_prometheus_reaches_what_it_is_told_to_ask_and_only_if_it_may():
    asked = yaml.safe_load(manifests(SEVERAL)["prometheus.yml"])["scrape_configs"]
    services, policies = (of_kind(objects(SEVERAL), kind) for kind in ("Service", "NetworkPolicy"))
    opened = {
        (each["spec"]["podSelector"]["matchLabels"]["app"], rule["ports"][0]["port"])
        for each in policies.values()
        for rule in each["spec"].get("ingress", [])
        if "monitoring" in str(rule["from"]) and "'app.kubernetes.io/name': 'prometheus'" in str(rule["from"])
    }
    found = set()
    for job in asked:
        (place,) = job.get("dns_sd_configs") or job["static_configs"]
        names = place.get("names") or [target.rpartition(":")[0] for target in place["targets"]]
        ports = [place["port"]] if "port" in place else [int(target.rpartition(":")[2]) for target in place["targets"]]
        for name, domain in (each.split(".", 1) for each in names):
            assert domain == "labelpod.svc"
            found |= {(services[name]["spec"]["selector"]["app"], port) for port in ports}
    assert found == opened == {("label-server", 8000), ("trainer", 8000), ("door", 8405), ("orthanc", 8042)}
    alone = SEVERAL | {"KUBERNETES_PROMETHEUS_NAMESPACE": ""}
    assert "prometheus.yml" not in manifests(alone) and "monitoring" not in manifests(alone)["network-policies.yaml"]
    assert policies.keys() == of_kind(objects(alone), "NetworkPolicy").keys(), (
        "one more would stay when it is not wanted"
    )


def test_only_who_fetches_weights_reaches_other_machines():
    def outside(site: dict[str, str]) -> set[str]:
        policies = of_kind(objects(site), "NetworkPolicy").items()
        return {name for name, each in policies for rule in each["spec"].get("egress", []) if "to" not in rule}

    assert outside(SEVERAL) == {"trainer"} and outside(ONE) == {"label-server"}
    assert outside(SEVERAL | {"WEIGHTS_WAIT": "0"}) == set()
    assert outside(OWN) == {"orthanc"}, "its database"


def test_the_document_makes_each_secret_of_the_files_that_the_pods_read():
    text = (ROOT / "docs" / "kubernetes.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"create secret generic (\S+) (.*)", text)
    made = {name: dict(re.findall(r"--from-file=([^=]+)=secrets/(\S+)", rest)) for name, rest in commands}
    assert made == kubernetes.secrets(Settings.model_validate(SEVERAL))


def test_two_orthancs_have_one_folder_and_are_on_nodes_of_their_own_and_who_asks_may_ask_either():
    one, two = objects(SEVERAL), objects(OWN)
    specs = [of_kind(each, "Deployment")["orthanc"]["spec"] for each in (one, two)]
    assert [each["replicas"] for each in specs] == [1, 2]
    assert specs[0]["strategy"] == {"type": "Recreate"}, "one at a time has its volume"
    assert specs[1]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert specs[1]["template"]["spec"]["topologySpreadConstraints"]
    claims = [of_kind(each, "PersistentVolumeClaim")["orthanc"]["spec"] for each in (one, two)]
    assert [each["accessModes"] for each in claims] == [["ReadWriteOnce"], ["ReadWriteMany"]]
    assert claims[1]["storageClassName"] == OWN["KUBERNETES_SHARED_STORAGE_CLASS"]
    services = [of_kind(each, "Service")["orthanc"]["spec"] for each in (one, two)]
    assert [each.get("clusterIP") for each in services] == ["None", "None"], "which could not be changed later"
