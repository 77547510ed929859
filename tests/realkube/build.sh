#!/usr/bin/env bash
# Builds the real components the tests run against, from the modules pinned in go.mod beside this file.
#
#   build.sh [NAME...]     NAME: kube-apiserver kubectl etcd kube-controller-manager kube-scheduler kube-proxy kubemark
#                          (all of these by default), e2e.test
#
# They go to $WATCHKEEPER_REALKUBE_DIR, or to a cache folder outside the repository, where tests/support/binaries.py
# looks for them. What is there already is kept; each binary appears whole or not at all.
# The first time takes about eight minutes on two cores, e2e.test one more.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
version="$(sed -n 's#^[[:space:]]*k8s\.io/kubernetes \(v[0-9.]*\)$#\1#p' "$here/go.mod")"
IFS=. read -r major minor _ <<<"${version#v}"
target="${WATCHKEEPER_REALKUBE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/watchkeeper/realkube/$version}"

package_of() {
    case "$1" in
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        e2e.test) echo k8s.io/kubernetes/test/e2e ;;
        kube-apiserver | kubectl | kube-controller-manager | kube-scheduler | kube-proxy | kubemark)
            echo "k8s.io/kubernetes/cmd/$1"
            ;;
        *)
            echo "build.sh: unknown component \`$1\`" >&2
            return 2
            ;;
    esac
}

build() {
    local name=$1 package=$2 partial="$target/.$1.$$"
    echo "build.sh: building $name from $package" >&2
    local command=(build)
    [ "$name" != e2e.test ] || command=(test -c -vet=off)
    go -C "$here" "${command[@]}" -buildvcs=false -ldflags "$ldflags" -o "$partial" "$package"
    mv "$partial" "$target/$name"
}

if ! command -v go >/dev/null; then
    echo "build.sh: needs the Go toolchain, version 1.26 or later, on the PATH" >&2
    exit 1
fi

component_base=k8s.io/component-base/version
ldflags="-s -w -X $component_base.gitVersion=$version -X $component_base.gitMajor=$major -X $component_base.gitMinor=$minor"
export CGO_ENABLED=0

[ $# -gt 0 ] || set -- kube-apiserver kubectl etcd kube-controller-manager kube-scheduler kube-proxy kubemark
mkdir -p "$target"
target="$(cd "$target" && pwd)" # `go -C` would take a relative folder from the module's
trap 'rm -f "$target"/.*."$$"' EXIT
for name in "$@"; do
    package="$(package_of "$name")"
    [ -x "$target/$name" ] || build "$name" "$package"
done
echo "$target"
