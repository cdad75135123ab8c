# The image that a user of today would write: pip, with what makes MONAI Label start, in the versions of our lock.
ARG BASE=labelpod/debian:bookworm
# hadolint ignore=DL3006
FROM ${BASE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/90labelpod \
    --mount=type=secret,id=apt_sources,target=/run/apt/labelpod.list \
    --mount=type=secret,id=ca_bundle,target=/run/apt/ca.crt,mode=0444 \
    apt-get update -q; \
    apt-get install -qy --no-install-recommends python3 python3-venv tini procps; \
    rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH
# SAM2 has no wheel, and its CUDA part wants a compiler.
RUN --mount=type=secret,id=pip_config,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=bind,source=images/label-server,target=/tmp/monailabel \
    export SAM2_BUILD_CUDA=0; \
    grep -oE '^[a-z0-9_.-]+==[^ ]+' /tmp/monailabel/requirements.lock >/tmp/constraints.txt; \
    python3 -m venv /opt/venv; \
    pip install --no-cache-dir -c /tmp/constraints.txt torch torchvision torchaudio==2.10.0; \
    pip install --no-cache-dir -c /tmp/constraints.txt monailabel -r /tmp/monailabel/requirements.in; \
    rm /tmp/constraints.txt
COPY images/label-server/sitecustomize.py /opt/labelpod/sitecustomize.py
# The tutorial's way to a label of one's own.
RUN sed -i 's/"spleen"/"nodule1"/' /opt/venv/monailabel/sample-apps/radiology/lib/configs/deepgrow_2d.py
ENTRYPOINT ["tini", "-g", "--"]
