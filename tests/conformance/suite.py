"""Which of Kubernetes' own e2e tests run, and which of those do not and why.

Those of the API itself, in ten minutes. The garbage collector's (garbage_collector.go) pass too, in five more.
Files are under k8s.io/kubernetes/test/e2e. A test that is skipped for a reason of its own (a feature that is off) is
skipped by itself, on both sides.
"""

from collections.abc import Mapping

FILES = (
    "apimachinery/watch.go",
    "apimachinery/watchlist.go",
    "apimachinery/crd_watch.go",
    "apimachinery/chunking.go",
    "apimachinery/table_conversion.go",
    "apimachinery/protocol.go",
    "apimachinery/discovery.go",
    "apimachinery/aggregated_discovery.go",
    "apimachinery/openapiv3.go",
    "apimachinery/server_version.go",
    "apimachinery/request_timeout.go",
    "apimachinery/health_handlers.go",
    "apimachinery/apply.go",
    "apimachinery/field_validation.go",
    "apimachinery/custom_resource_definition.go",
    "apimachinery/crd_selectable_fields.go",
    "apimachinery/crd_validation_rules.go",
    "apimachinery/crd_validation_ratcheting.go",
    "apimachinery/crd_publish_openapi.go",
    "apimachinery/generated_clientset.go",
    "apimachinery/namespace.go",
    "apimachinery/flowcontrol.go",
    "apimachinery/validatingadmissionpolicy.go",
    "apimachinery/mutatingadmissionpolicy.go",
    "auth/certificates.go",
    "auth/selfsubjectreviews.go",
    "auth/subjectreviews.go",
    "auth/service_accounts.go",
)

# A regular expression on the full name of a test, and why what it names does not run.
SKIPPED: Mapping[str, str] = {
    r"ServiceAccounts .*(should mount|opting out|set ownership|InClusterConfig|OIDC discovery of service)": (
        "looks into running containers; a hollow kubelet has none"
    ),
    r"MUST list and watch custom resources matching": "needs a conversion webhook in a container that runs",
    r"should support building a client with a CSR": "needs a controller-manager with the key of the clients' CA",
    r"namespace deletion should delete pod first": "needs a container that takes its time to end",
    r"OpenAPI V3 for Aggregated APIServer": "needs an API server in a container that runs",
    r"delete fast enough|should always delete fast": "100 namespaces at once measure the machine, not the API",
    r"drowned out": "measures flow control under load",
    r"requests can be classified by adding FlowSchema": (
        "looks at the header of upstream's flow control: a shared read has none of its caller (docs/differences.md)"
    ),
    r"\[Feature:": "features that are off",
    r"\[Flaky\]": "Kubernetes does not rely on them either",
}
