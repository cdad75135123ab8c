#!/usr/bin/env bash
# MONAI Label as a user of today starts it: plain, with no more than what makes it start.
set -euo pipefail
mkdir -p /workspace/cache
[[ -d /workspace/upstream ]] || cp -r /opt/venv/monailabel/sample-apps/radiology /workspace/upstream
export PYTHONPATH=/opt/labelpod MONAI_LABEL_DICOMWEB_CACHE_PATH=/workspace/cache
export MONAI_LABEL_DICOMWEB_CACHE_EXPIRY=$EXPIRY
export MONAI_LABEL_DICOMWEB_USERNAME=label-server
MONAI_LABEL_DICOMWEB_PASSWORD=$(</run/secrets/dicomweb_password)
export MONAI_LABEL_DICOMWEB_PASSWORD
exec python -m monailabel.main start_server --app /workspace/upstream --studies http://orthanc:8042/dicom-web \
  --conf models deepgrow_2d,deepgrow_3d --conf sam2 false --conf use_pretrained_model false
