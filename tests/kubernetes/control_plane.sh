#!/usr/bin/env bash
# Builds a control plane of Kubernetes 1.20.2 for the tests of this folder: tests/kubernetes/control_plane.sh
#
# Nobody packages kube-apiserver for Debian, but Debian 12 has its source. All comes from the machine's own Debian mirror,
# signed; nothing is installed. Two cores take some five minutes. What it makes lies in build/control-plane/bin.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$PWD/build/control-plane
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=(golang-1.19-go golang-1.19-src rsync libpopt0 etcd-server)
programs=(kube-apiserver kube-controller-manager kube-scheduler)

mirror=$(apt-get indextargets --format "\$(ORIGIN) \$(CODENAME) \$(REPO_URI)" |
  awk '$1 == "Debian" && $2 !~ /-security$/ { print $3; exit }')
if [ -z "$mirror" ]; then
  echo "Error: this machine has no package source of Debian" >&2
  echo "       build it on Debian, and copy build/control-plane/bin here" >&2
  exit 1
fi

mkdir -p "$place"/{bin,apt/lists/partial,apt/archives/partial,root,gopath/src/k8s.io/kubernetes}
for kind in deb deb-src; do
  echo "$kind [signed-by=$keyring] $mirror bookworm main"
done >"$place/apt/sources.list"
own_apt() {
  (cd "$place/apt" && apt-get --quiet --option Dir::Etc::sourcelist="$place/apt/sources.list" \
    --option Dir::Etc::sourceparts=/var/empty --option Dir::State::lists="$place/apt/lists" \
    --option Dir::Cache="$place/apt" "$@")
}
own_apt update
own_apt download "${packages[@]}"
own_apt source --download-only kubernetes
for package in "$place"/apt/*.deb; do
  dpkg --extract "$package" "$place/root"
done
tar --extract --gzip --strip-components=1 --directory="$place/gopath/src/k8s.io/kubernetes" \
  --file="$(find "$place/apt" -name 'kubernetes_*.orig.tar.gz')"

# Kubernetes' makefiles ask git for the version; an archive has none.
cat >"$place/version" <<'VERSION'
KUBE_GIT_COMMIT=faecb196815e248d3ecfb03c680a4507229c2a56
KUBE_GIT_TREE_STATE=archive
KUBE_GIT_VERSION=v1.20.2
KUBE_GIT_MAJOR=1
KUBE_GIT_MINOR=20
VERSION
export PATH="$place/root/usr/lib/go-1.19/bin:$place/root/usr/bin:$PATH"
export GOROOT="$place/root/usr/lib/go-1.19" GOPATH="$place/gopath" GOCACHE="$place/gocache"
LD_LIBRARY_PATH="$place/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
export GO111MODULE=off CGO_ENABLED=0 KUBE_GIT_VERSION_FILE="$place/version"
cd "$place/gopath/src/k8s.io/kubernetes"
make generated_files
for program in "${programs[@]}"; do
  make WHAT="cmd/$program" GOFLAGS=-tags=providerless
done
cp _output/bin/kube-{apiserver,controller-manager,scheduler} "$place/root/usr/bin/etcd" "$place/bin/"
rm -rf "$place"/{apt,root,gopath,gocache,version}
echo "Built: $place/bin"
