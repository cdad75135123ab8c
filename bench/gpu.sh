#!/usr/bin/env bash
# Takes our server to a machine with a GPU, and measures it there; bench/gpu.py says what.
#
#   bash bench/gpu.sh pack FOLDER    here, where packages can be had: makes FOLDER/gpu.tar.xz, less than 64 MB
#   bash bench/gpu.sh run FOLDER OUTPUT [tiny]
#                                    there, with Python 3.12 and its torch and without a network; FOLDER holds the file,
#                                    OUTPUT gets gpu.json and gpu.log
set -euo pipefail

# Of the machine with the GPU.
python_there=3.12
lock=images/label-server/requirements.lock
# All that the server imports and a machine with torch, scikit-image and matplotlib does not have.
wheels=(
  annotated-doc annotated-types bcrypt cachetools cffi cryptography dicomweb-client diskcache expiring-dict expiringdict
  fastapi girder-client google-auth highdicom hydra-core isal itsdangerous jsonschema monai monailabel nibabel omegaconf
  openslide-python opentelemetry-api passlib pillow-jpls pyasn1 pyasn1-modules pycparser pydantic pydantic-core pydantic-settings pydicom
  pydicom-seg pyjwt pynetdicom pynrrd pyrsistent python-dotenv python-multipart pytorch-ignite requests-toolbelt retrying
  schedule shapely simpleitk starlette typing-inspection uvicorn watchdog
)
# Pure Python, for which there are no wheels.
sources=(antlr4-python3-runtime iopath sam2 timeloop)
# The server's code, as it lies in the project and as it is imported.
server=(images/label-server/label_server labelpod_common)

pinned() {
  local name
  for name in "$@"; do
    grep -oE "^$name==[^ ]+" "$lock" || { echo "$name is not in $lock" >&2; return 1; }
  done
}

pack() {
  local folder=$1 wheel
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  draft=$(mktemp -d)
  trap 'rm -rf "$draft"' EXIT
  local platforms=()
  for each in manylinux_2_{28,27,24,17}_x86_64 manylinux2014_x86_64 manylinux1_x86_64; do
    platforms+=(--platform "$each")
  done
  local pins names
  pins=$(pinned "${wheels[@]}")
  mapfile -t names <<<"$pins"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "$python_there" \
    "${platforms[@]}" --dest "$draft/wheels" "${names[@]}"
  python3 -m venv "$draft/builder"
  pins=$(pinned setuptools "${sources[@]}")
  mapfile -t names <<<"$pins"
  "$draft/builder/bin/pip" install --quiet "${names[0]}" wheel
  SAM2_BUILD_CUDA=0 "$draft/builder/bin/pip" wheel --quiet --no-deps --no-build-isolation \
    --wheel-dir "$draft/wheels" "${names[@]:1}"
  for wheel in "$draft"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$draft/gpu/site"
  done
  # OHIF's viewer is half of the pack, but for the page that the server looks into when it starts.
  find "$draft/gpu/site/monailabel/endpoints/static/ohif" -type f ! -name index.html -delete
  cp bench/itk_stand_in.py "$draft/gpu/site/itk.py"
  mkdir -p "$draft/gpu/code"
  cp -r "${server[@]}" bench labelpod "$draft/gpu/code"
  find "$draft/gpu" -name __pycache__ -prune -exec rm -r {} +
  tar -C "$draft" -c gpu | xz -6 --threads=2 >"$folder/gpu.tar.xz"
  cp bench/gpu.sh "$folder"
  du -m "$folder/gpu.tar.xz"
}

# The machine's own Python and torch, in front of them what was packed; sys.prefix leads to MONAI Label's sample apps.
environment() {
  local home=$1
  python3 -m venv --without-pip "$home/venv"
  python3 -c 'import site, sys; print(sys.argv[1]); print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
    "$home/gpu/site" >"$(echo "$home"/venv/lib/python3*/site-packages)/pack.pth"
  ln -s "$home"/gpu/site/monailabel-*.data/data/monailabel "$home/venv/monailabel"
}

# A command that finds no libcudnn_adv: an empty file lies over it, for this command alone.
without_cudnn_adv() {
  local libraries
  mapfile -t libraries < <(find /usr /opt -name 'libcudnn_adv*.so*' -type f 2>/dev/null)
  # shellcheck disable=SC2016
  unshare --mount bash -euc 'while [[ $1 != -- ]]; do mount --bind "$0" "$1"; shift; done; shift; exec "$@"' \
    "$home/empty" "${libraries[@]}" -- "$@"
}

run() {
  local packed=$1/gpu.tar.xz output=$2 tiny=()
  [[ $3 != tiny ]] || tiny=(--tiny)
  output=$(cd "$output" && pwd)
  home=$(mktemp -d)
  trap 'rm -rf "$home"' EXIT
  python3 -m tarfile -e "$packed" "$home"
  environment "$home"
  touch "$home/empty"
  export PYTHONPATH="$home/gpu/code" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME="$home"
  cd "$home"
  # Each in a process of its own: none begins with what another left on the card, and none keeps the others from theirs.
  measure() {
    local seconds=$1
    shift
    "${through[@]}" timeout "$seconds" "$home/venv/bin/python" -m bench.gpu --output "$output/gpu.json" "${tiny[@]}" "$@" ||
      echo "ended early: $*"
  }
  local through=() held=(--condition "held to 12 GB" --gigabytes 12)
  local hidden=(--condition "without triton and cudnn_adv" --hide triton)
  {
    measure 200 clicks room together training same
    measure 90 sam2
    measure 90 "${held[@]}" -- clicks training
    measure 60 "${held[@]}" -- sam2
    through=(without_cudnn_adv)
    measure 90 "${hidden[@]}" -- clicks training
    measure 60 "${hidden[@]}" -- sam2
  } 2>&1 | tee "$output/gpu.log"
}

case ${1:-} in
  pack) pack "$2" ;;
  run) run "$2" "$3" "${4:-}" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
