"""Checks Kubernetes manifests without a cluster: check_manifests.py [--self-test] FILE...

Every field must be one that kubernetes.schema.json knows, with a value of its form (so a misspelt or misplaced field
fails), and what names something else in the file must name something that is there.
"""

import copy
import json
import pathlib
import sys

import jsonschema
import yaml

SCHEMA = json.loads(pathlib.Path(__file__).with_name("kubernetes.schema.json").read_text())


class StrictLoader(yaml.SafeLoader):
    """A key given twice is an error, as the API server's strict decoding has it."""


def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"line {node.start_mark.line + 1}: given twice: {', '.join(map(str, twice))}")
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def load(path):
    with open(path, encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, StrictLoader) if document is not None]


def name_of(document):
    return f"{document.get('kind')} {document.get('metadata', {}).get('name')}"


def form_errors(document):
    kinds = SCHEMA["kinds"]
    key = f"{document.get('apiVersion')} {document.get('kind')}"
    if key not in kinds:
        yield f"unknown kind {key}"
        return
    schema = {"$ref": f"#/definitions/{kinds[key]}", "definitions": SCHEMA["definitions"]}
    for error in jsonschema.Draft7Validator(schema).iter_errors(document):
        yield f"{name_of(document)}: {'/'.join(map(str, error.absolute_path))}: {error.message}"


def pod_of(document):
    """(labels, pod spec, names of the volumes that the kind itself brings)"""
    spec = document.get("spec", {})
    if document["kind"] == "Deployment":
        return spec["template"]["metadata"]["labels"], spec["template"]["spec"], set()
    if document["kind"] == "Sandbox":
        claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        return spec["podTemplate"].get("metadata", {}).get("labels", {}), spec["podTemplate"]["spec"], claims
    return None


def port_errors(container, where):
    names = [port["name"] for port in container.get("ports", [])]
    if len(names) != len(set(names)):
        yield f"{where}: a port's name is given twice"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe not in container:
            yield f"{where}: no {probe}"
        elif container[probe]["httpGet"]["port"] not in names:
            yield f"{where}: {probe} asks an unknown port"


def security_errors(pod, container, where):
    pod_context, context = pod.get("securityContext", {}), container.get("securityContext", {})
    wanted = {
        "runAsNonRoot": (pod_context, True),
        "readOnlyRootFilesystem": (context, True),
        "allowPrivilegeEscalation": (context, False),
    }
    for field, (place, value) in wanted.items():
        if place.get(field) is not value:
            yield f"{where}: {field} is not {value}"
    if pod_context.get("runAsUser", 0) == 0:
        yield f"{where}: runs as root"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where}: keeps capabilities"
    if pod_context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{where}: no seccomp profile"
    resources = container.get("resources", {})
    for part in ("requests", "limits"):
        for what in ("cpu", "memory"):
            if what not in resources.get(part, {}):
                yield f"{where}: no {part} of {what}"


def reference_errors(documents):
    secrets = {d["metadata"]["name"]: {**d.get("data", {}), **d.get("stringData", {})} for d in documents if d["kind"] == "Secret"}
    pods = [(name_of(d), *pod_of(d)) for d in documents if pod_of(d)]
    for where, _, pod, volumes in pods:
        volumes = volumes | {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            place = f"{where}, container {container['name']}"
            yield from port_errors(container, place)
            yield from security_errors(pod, container, place)
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{place}: no volume {mount['name']}"
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference and reference["key"] not in secrets.get(reference["name"], {}):
                    yield f"{place}: no secret {reference['name']}/{reference['key']}"
    for document in documents:
        if document["kind"] == "Deployment":
            labels = pod_of(document)[0].items()
            if not document["spec"]["selector"]["matchLabels"].items() <= labels:
                yield f"{name_of(document)}: its selector does not choose its pods"
        if document["kind"] == "Service":
            chosen = [pod for _, labels, pod, _ in pods if document["spec"]["selector"].items() <= labels.items()]
            if not chosen:
                yield f"{name_of(document)}: chooses no pod"
            names = {port["name"] for pod in chosen for c in pod["containers"] for port in c.get("ports", [])}
            for port in document["spec"]["ports"]:
                if port["targetPort"] not in names:
                    yield f"{name_of(document)}: no port {port['targetPort']}"


def errors_of(documents):
    errors = [error for document in documents for error in form_errors(document)]
    return errors or list(reference_errors(documents))


def self_test():
    """Spoils a good manifest in every way that must be found."""
    good = load(pathlib.Path(__file__).resolve().parents[2] / "docker/kubernetes/sandbox.yaml")
    assert errors_of(good) == [], errors_of(good)

    def spoiled(change):
        documents = copy.deepcopy(good)
        secret, deployment, service = documents
        change(secret, deployment, deployment["spec"]["template"]["spec"], service)
        assert errors_of(documents), f"not found: change {changes.index(change)}"

    changes = [
        lambda secret, deployment, pod, service: secret.update(apiVersion="v2"),
        lambda secret, deployment, pod, service: secret["stringData"].clear(),
        lambda secret, deployment, pod, service: deployment["spec"].update(replica=1),
        lambda secret, deployment, pod, service: deployment["spec"].update(replicas="1"),
        lambda secret, deployment, pod, service: deployment["spec"]["selector"]["matchLabels"].update(other="x"),
        lambda secret, deployment, pod, service: deployment["metadata"].update(name="Not_A_Name"),
        lambda secret, deployment, pod, service: pod["containers"][0]["livenessProbe"]["httpGet"].update(port="no"),
        lambda secret, deployment, pod, service: pod["containers"][0].pop("readinessProbe"),
        lambda secret, deployment, pod, service: pod["containers"][0]["resources"]["limits"].update(memory="2 GB"),
        lambda secret, deployment, pod, service: pod["containers"][0]["resources"].pop("limits"),
        lambda secret, deployment, pod, service: pod["containers"][0]["securityContext"].update(privileged=True),
        lambda secret, deployment, pod, service: pod["securityContext"].update(runAsUser=0),
        lambda secret, deployment, pod, service: pod["volumes"].pop(),
        lambda secret, deployment, pod, service: pod["containers"][0]["env"][0].update(value="both"),
        lambda secret, deployment, pod, service: service["spec"]["ports"][0].update(targetPort="no"),
        lambda secret, deployment, pod, service: service["spec"]["selector"].update(other="x"),
    ]
    for change in changes:
        spoiled(change)


def main(arguments):
    failed = False
    if arguments[:1] == ["--self-test"]:
        self_test()
        arguments = arguments[1:]
    for path in arguments:
        for error in errors_of(load(path)):
            print(f"{path}: {error}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
