set -euo pipefail
default_labels=nodule1:1,nodule2:1,nodule3:1
default_models=deepgrow_2d,deepgrow_3d
default_studies=http://orthanc:8042/dicom-web
export APP="${APP:-radiology}"
export LABELS="${LABELS:-$default_labels}"
export MODELS="${MODELS:-$default_models}"
export BUNDLES="${BUNDLES:-}"
export STUDIES="${STUDIES:-$default_studies}"
export STUDIES_WAIT="${STUDIES_WAIT:-60}"
export WEIGHTS_WAIT="${WEIGHTS_WAIT:-60}"
export WORKSPACE="${WORKSPACE:-/workspace}"
export SHARED="${RECORDS:-$WORKSPACE}"
export WEIGHTS=/opt/labelpod/weights
export LISTEN="${LISTEN:-0.0.0.0}"
export TORCH_FORCE_WEIGHTS_ONLY_LOAD=1
export MLFLOW_DISABLE_TELEMETRY=true
(( $# == 0 )) || exec "$@"
[[ -z ${RUNPOD_POD_ID:-} || -n ${POD_FOLDER:-} ]] || exec start_pod
kept() {
  local file
  file="$(mktemp ${POD_FOLDER:+--tmpdir="$POD_FOLDER"})"
  printf '%s' "$1" >"$file"
  echo "$file"
}
[[ -z ${DICOMWEB_PASSWORD:-} ]] || DICOMWEB_PASSWORD_FILE="$(kept "$DICOMWEB_PASSWORD")"
unset DICOMWEB_PASSWORD
export DICOMWEB_USERNAME="${DICOMWEB_USERNAME:-}" DICOMWEB_PASSWORD_FILE="${DICOMWEB_PASSWORD_FILE:-}"
if [[ -n $DICOMWEB_PASSWORD_FILE && ! -r $DICOMWEB_PASSWORD_FILE ]]; then
  echo "start_server: DICOMWEB_PASSWORD_FILE cannot be read: $DICOMWEB_PASSWORD_FILE" >&2
  exit 1
fi
if [[ -n ${SHARED_WORKSPACE:-} ]]; then
  named="$(getent --service=hosts:dns hosts "$(hostname -i)" || true)"
  own=
  [[ ! $named =~ -label-server-([0-9]+)[.] ]] || own="${BASH_REMATCH[1]}"
  for number in $own {1..99}; do
    folder="$SHARED"
    (( number == 1 )) || folder="$SHARED/servers/$number"
    mkdir -p "$folder"
    exec {lock}>"$folder/.server"
    ! flock --nonblock "$lock" || break
  done
  if (( number > 1 )); then
    export WORKSPACE="$folder" ROLE=annotate MODEL_DIR="$SHARED/$APP/model"
    mkdir -p "$MODEL_DIR"
  fi
fi
if [[ -n ${RECORDS:-} ]]; then
  LASTING="$RECORDS/servers/$(hostname)"
  export LASTING
fi
python -m label_server.startup
record="$WORKSPACE/mlflow.db"
if [[ -n ${POD_FOLDER:-} ]]; then
  [[ -e $POD_FOLDER/mlflow.db || ! -e $record ]] || cp "$record" "$POD_FOLDER/mlflow.db"
  record="$POD_FOLDER/mlflow.db"
  python -m label_server.pod.standby
  if [[ -r $POD_FOLDER/dicomweb_login ]]; then
    {
      IFS= read -r DICOMWEB_USERNAME && IFS= read -r password
      IFS= read -r key || key=
    } <"$POD_FOLDER/dicomweb_login"
    DICOMWEB_PASSWORD_FILE="$(kept "$password")"
    [[ -z $key ]] || LABEL_KEY_FILE="$(kept "$key")"
    export LABEL_KEY_FILE
  fi
fi
export MONAI_LABEL_DICOMWEB_SEARCH_FILTER="{\"Modality\":\"${STUDIES_MODALITY:-CT}\"}"
export MONAI_LABEL_DICOMWEB_CACHE_EXPIRY=2
export MONAI_LABEL_DICOMWEB_CACHE_PATH="$WORKSPACE/cache"
export MONAI_LABEL_SESSION_PATH="$WORKSPACE/sessions"
export MONAI_LABEL_DATASTORE_CACHE_PATH="$WORKSPACE/sam2"
export MONAI_LABEL_TRACKING_URI="sqlite:///$record"
export MONAI_LABEL_AUTO_UPDATE_SCORING=false
[[ $APP == radiology ]] || MODELS="$BUNDLES"
models=()
sam2=false
IFS=, read -ra names <<<"$MODELS"
for name in "${names[@]}"; do
  name="${name//[[:space:]]/}"
  if [[ $name == sam2 ]]; then sam2=true; elif [[ -n $name ]]; then models+=("$name"); fi
done
conf=(
  --conf models "$(IFS=,; echo "${models[*]}")"
  --conf bundles "$BUNDLES"
  --conf sam2 "$sam2"
  --conf use_pretrained_model false
  --conf zoo_source ngc
)
read -ra pairs <<<"${CONF:-}"
for pair in "${pairs[@]}"; do
  conf+=(--conf "${pair%%=*}" "${pair#*=}")
done
cd "$WORKSPACE"
exec python -m label_server.web start_server \
  --app "$WORKSPACE/$APP" --studies "$STUDIES" \
  --host "$LISTEN" --port 8000 --uvicorn_app label_server.web.asgi:app \
  "${conf[@]}"
