"""The policy objects as values: what the files say, parsed and valid.

Two dialects share these types; `dialect` tells them apart where the meaning differs (roleRef resolution, aggregation).
What only the watchkeeper dialect may say is absent (None, empty) in an rbac/v1 object.

Source: k8s.io/kubernetes/pkg/apis/rbac
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from proxy.api.selectors import FieldSelector, LabelSelector

RBAC_GROUP = "rbac.authorization.k8s.io"
WATCHKEEPER_GROUP = "watchkeeper.io"


class Dialect(Enum):
    """Which language an object is written in; the value is the API group of its apiVersion."""

    RBAC = RBAC_GROUP
    WATCHKEEPER = WATCHKEEPER_GROUP

    __hash__ = object.__hash__  # as good for members, and not a call of Python for each look-up


class SubjectKind(Enum):
    """The kinds of a Subject that can match a User."""

    USER = "User"
    GROUP = "Group"
    SERVICE_ACCOUNT = "ServiceAccount"

    __hash__ = object.__hash__  # as in Dialect


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands: `file` relative to the policy folder, `line` and `column` from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule. Resource rules and non-resource rules exclude each other.

    Values of `field_selector` and `label_selector`, and in the watchkeeper dialect `resource_names`, may hold templates
    (`${node}`) until they are bound to a User.
    """

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    field_selector: FieldSelector | None = None
    label_selector: LabelSelector | None = None
    position: Position = field(compare=False)

    @property
    def is_scoped(self) -> bool:
        """True when a selector narrows the rule to some objects."""
        return self.field_selector is not None or self.label_selector is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A Role (`namespace` set) or a ClusterRole (`namespace` empty).

    `aggregation` holds the clusterRoleSelectors of an aggregationRule, in order; None when it has none.
    """

    dialect: Dialect
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    rules: tuple[PolicyRule, ...]
    aggregation: tuple[LabelSelector, ...] | None
    position: Position

    @property
    def kind(self) -> str:
        """`Role` or `ClusterRole`."""
        return "Role" if self.namespace else "ClusterRole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a binding names. A User's `name` may hold one capture (`system:node:{node}`) in the watchkeeper dialect."""

    kind: SubjectKind
    name: str
    namespace: str = ""
    position: Position = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRef:
    """Which role a binding grants: group (dialect), kind (`Role` or `ClusterRole`) and name."""

    dialect: Dialect
    kind: str
    name: str
    position: Position = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A RoleBinding (`namespace` set) or a ClusterRoleBinding (`namespace` empty).

    `namespaces` (names, globs, templates; None when absent) and `namespace_selector` narrow a ClusterRoleBinding of the
    watchkeeper dialect to the namespaces that match. `expires` is seconds since the epoch, None for never.
    """

    dialect: Dialect
    namespace: str
    name: str
    subjects: tuple[Subject, ...]
    role_ref: RoleRef
    namespaces: tuple[str, ...] | None = None
    namespace_selector: LabelSelector | None = None
    expires: float | None = None
    position: Position

    @property
    def kind(self) -> str:
        """`RoleBinding` or `ClusterRoleBinding`."""
        return "RoleBinding" if self.namespace else "ClusterRoleBinding"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """Everything a policy folder says, in the order of files and documents."""

    roles: tuple[Role, ...] = ()
    bindings: tuple[Binding, ...] = ()
