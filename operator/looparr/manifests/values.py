"""What can be set in the Helm chart, as models: `values.yaml` and `values.schema.json` are written from them.

A value that becomes a setting of the process takes its default and its limits from `looparr.settings`.
"""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from looparr.settings import Settings


def _setting(field: str) -> Any:
    """Give default and limits of a setting, without its description."""
    info = copy(Settings.model_fields[field])
    info.description = None
    return info


def _text(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern)


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
Label = Annotated[str, _text(f"^{_LABEL}$")]
LabelOrNone = Annotated[str, _text(f"^({_LABEL})?$")]
Cidr = Annotated[str, _text(r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")]
Quantity = Annotated[str, _text(r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$")]
Duration = Annotated[str, _text(r"^([0-9]+(ms|s|m|h))+$")]
Amounts = dict[str, str | int | float]
Strings = dict[str, str]
Free = dict[str, Any]
"""A piece of a pod that Kubernetes itself explains and checks."""


class Part(BaseModel):
    """One level of the values: nothing is allowed in it but its fields."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )


class Image(Part):
    """The image of operator and hooks."""

    registry: str = ""
    """Registry, with its port where it has one. No image is published yet: push your own and say here where to."""
    repository: str = Field("looparr", min_length=1)
    """Repository of the image."""
    tag: str = ""
    """Tag of the image; empty: the chart's appVersion."""
    digest: Annotated[str, _text(r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Digest of the image, like sha256:0123...; it wins over the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled: Always, IfNotPresent or Never."""


class PullSecret(Part):
    """A Secret with the log-in of a registry."""

    name: str = Field(min_length=1)
    """Its name, in the namespace of the release."""


class Egress(Part):
    """Which networks loops may call."""

    allow_cidrs: tuple[Cidr, ...] = Field((), alias="allowCIDRs")
    """Networks that loops may call, like 10.0.0.0/8; the most specific network decides."""
    deny_cidrs: tuple[Cidr, ...] = Field((), alias="denyCIDRs")
    """Networks that loops may not call; with 0.0.0.0/0 and ::/0 only what allowCIDRs names is left."""


class Probes(Part):
    """Where /livez, /readyz and /metrics are served."""

    host: str = Field("0.0.0.0", min_length=1)  # noqa: S104 - in a pod
    """Address that they listen on; "::" in a cluster of IPv6 only."""
    port: int = Field(8081, ge=1, le=65535)
    """Port of the container, named metrics."""


class Persistence(Part):
    """The volume of the store."""

    enabled: bool = True
    """Keep the store on a PersistentVolumeClaim. false: it is in memory, each ArrInstance says so in its condition
    NotDurable, and every restart forgets strikes."""
    size: Quantity = "1Gi"
    """Size of the volume."""
    storage_class: str = ""
    """StorageClass, of volumes with working file locks (no NFS, no SMB). Empty: the cluster's default; "-": none."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod"] = "ReadWriteOnce"
    """Access mode of the volume: ReadWriteOnce or ReadWriteOncePod."""
    existing_claim: str = ""
    """Name of a PersistentVolumeClaim of your own, used instead of one that is made."""
    annotations: Strings = {}
    """Annotations of the PersistentVolumeClaim that is made."""
    keep: bool = True
    """Let `helm uninstall` leave the PersistentVolumeClaim: a new install with the same name goes on with it."""


class Store(Part):
    """Strikes, removals under way, limits and the action log."""

    persistence: Persistence = Persistence()
    """The volume that they are kept on."""


class Crds(Part):
    """The CustomResourceDefinitions."""

    enabled: bool = True
    """Install and upgrade them with this release; of several releases in a cluster only one may."""
    keep: bool = True
    """Let `helm uninstall` leave them. false: they go, and all ArrInstances and BackgroundLoops with them."""


class Uninstall(Part):
    """What happens before `helm uninstall` deletes anything."""

    free_finalizers: bool = True
    """Stop the operator and take its finalizer off all objects, so that none hangs when it is deleted later."""
    timeout_seconds: int = Field(240, ge=30, le=3600)
    """Limit of that in seconds; longer than 240 needs a longer `--timeout` of Helm, too."""


class ServiceAccount(Part):
    """The account that the operator runs under."""

    create: bool = True
    """Make the ServiceAccount; false: it is there already and bears `name`."""
    name: str = ""
    """Its name; empty: that of the release, or default where it is not made."""
    annotations: Strings = {}
    """Its annotations, for example of a cloud's workload identity."""


class UserRoles(Part):
    """ClusterRoles for people."""

    create: bool = True
    """Make two ClusterRoles for people, one to see the objects of both kinds and one to change them."""
    aggregate_to_view: bool = True
    """Let everybody who has Kubernetes' own role view, edit or admin see the objects. They hold no secrets."""
    aggregate_to_edit: bool = False
    """Let everybody who has Kubernetes' own role edit or admin change them, too. Not by default: who changes a loop
    has the operator call any URL from its place in the network and delete torrents."""


class MetricsService(Part):
    """The Service of the metrics."""

    enabled: bool = True
    """Make a Service with the port metrics."""
    annotations: Strings = {}
    """Its annotations."""


class ServiceMonitor(Part):
    """For the Prometheus operator."""

    enabled: bool = False
    """Make a ServiceMonitor; it needs metrics.service.enabled and the Prometheus operator's definitions."""
    interval: Duration = "30s"
    """Pause between two scrapes."""
    labels: Strings = {}
    """Further labels, where your Prometheus selects by them."""


class Metrics(Part):
    """How metrics are found."""

    service: MetricsService = MetricsService()
    """The Service of the metrics."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """For the Prometheus operator."""


class Resources(Part):
    """What the containers may use."""

    requests: Amounts = {"cpu": "50m", "memory": "128Mi"}
    """What is set aside for them."""
    limits: Amounts = {"memory": "256Mi"}
    """What they may not go beyond. No limit of CPU: it would slow down what is due at one moment."""


class EnvVar(Part):
    """A variable of the container."""

    name: str = Field(min_length=1)
    """Its name."""
    value: str | None = None
    """Its value."""
    value_from: Free | None = None
    """Or where it comes from."""


class Values(Part):
    """Values of the Looparr chart."""

    image: Image = Image()
    """The image of operator and hooks: [registry/]repository:tag, or [registry/]repository@digest."""
    image_pull_secrets: tuple[PullSecret, ...] = ()
    """Secrets with log-ins of registries, like [{name: registry}]."""
    name_override: LabelOrNone = ""
    """Replaces looparr in names and labels."""
    fullname_override: LabelOrNone = ""
    """Replaces all of the names; empty: the release's name, with -looparr where that is not in it."""

    watch_namespaces: tuple[Label, ...] = Field((), json_schema_extra={"uniqueItems": True})
    """Namespaces whose objects are looked after; they have to exist. Empty: all, with a ClusterRole instead of a Role
    in each."""
    slots: int = _setting("slots")
    """Turns that may run at one time, 1 to 10000."""
    log_level: Literal["debug", "info", "warning", "error"] = _setting("log_level")
    """Least level that is logged: debug, info, warning or error."""
    log_format: Literal["json", "console"] = _setting("log_format")
    """How log lines look: json or console."""
    cluster_id: LabelOrNone = ""
    """Name of this cluster in tags: then the tag looparr-owner-NAME is ours, any other one another operator's."""
    secret_reread_seconds: float = _setting("secret_reread_seconds")
    """Seconds after which a Secret is read again, 1 to 3600."""
    grace_seconds: float = _setting("grace_seconds")
    """Seconds that the operator takes to stop, 1 to 3600; the pod is given 6 more."""
    egress: Egress = Egress()
    """Which networks loops may call. Never, unless allowed here: loopback and link-local, and so metadata services."""
    probes: Probes = Probes()
    """Where /livez, /readyz and /metrics are served."""
    extra_env: tuple[EnvVar, ...] = ()
    """Further variables of the operator's container, like [{name: TZ, value: Europe/Berlin}]."""

    store: Store = Store()
    """Strikes, removals under way, limits and the action log."""
    crds: Crds = Crds()
    """The CustomResourceDefinitions."""
    uninstall: Uninstall = Uninstall()
    """What happens before `helm uninstall` deletes anything."""
    service_account: ServiceAccount = ServiceAccount()
    """The account that the operator runs under. Its rights are made for it in any case."""
    user_roles: UserRoles = UserRoles()
    """ClusterRoles for people."""
    metrics: Metrics = Metrics()
    """How metrics are found."""

    resources: Resources = Resources()
    """What the containers may use. Measured: 98 MiB idle, 148 MiB with 1000 loops."""
    pod_labels: Strings = {}
    """Further labels of the operator's pod."""
    pod_annotations: Strings = {}
    """Annotations of the operator's pod."""
    pod_security_context: Free = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    """Security context of all pods; as it is, it satisfies the Pod Security Standard restricted."""
    security_context: Free = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    """Security context of all containers; the same holds for it."""
    node_selector: Strings = {}
    """Labels of the nodes that the pods may run on."""
    tolerations: tuple[Free, ...] = ()
    """Taints that the pods tolerate."""
    affinity: Free = {}
    """Affinity of the pods."""
    priority_class_name: str = ""
    """PriorityClass of the pods."""
    global_: Free = Field({}, alias="global", exclude=True)
    """Taken from a parent chart; nothing of it is read."""
