# keepalive as a container: non-root, on a read-only root file system, nothing but Python and the locked wheels.
#   docker build -t keepalive .
#   docker run --read-only -e CLOUDFLARE_API_TOKEN -e CLOUDFLARE_ACCOUNT_ID -e KEEPALIVE_SCRIPTS=api keepalive
# With --build-arg PYTHON=python:3.13-slim@sha256:… a build uses the very same base again.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt requirements/speed.txt requirements/
# Two environments: what builds the wheel, pip among it, never reaches the image.
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/keepalive \
 && /opt/build/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/keepalive install --no-compile --no-deps --require-hashes --only-binary :all: \
      -r requirements/speed.txt
COPY pyproject.toml README.md LICENSE ./
COPY keepalive keepalive
# Nothing can be compiled later: the root is read-only. And nothing there changes, so no start has to look whether
# a source is newer (unchecked-hash).
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /dist . \
 && /opt/build/bin/pip --python /opt/keepalive install --no-compile --no-deps /dist/*.whl \
 && /opt/keepalive/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/keepalive/lib

FROM ${PYTHON}
# The official image comes without compiled modules of the standard library: each start, each health check would
# compile them again.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
      -x '/(site-packages|dist-packages|test|ensurepip|idlelib|tkinter|turtledemo|pydoc_data)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && install -d -m 0700 -o 65532 -g 65532 /var/lib/keepalive \
 && install -d -m 0755 -o 65532 -g 65532 /run/keepalive
COPY --from=build /opt/keepalive /opt/keepalive
ENV PATH=/opt/keepalive/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/keepalive \
    RUNTIME_DIRECTORY=/run/keepalive
# Volumes, so that both can be written although the root cannot: the state file and the control socket.
VOLUME ["/var/lib/keepalive", "/run/keepalive"]
USER 65532:65532
# Not /etc/keepalive: a file found in the working directory is trusted less than one found there.
WORKDIR /
STOPSIGNAL SIGTERM
# Engines before Docker 25 look for the first time after one interval: it is short, for a container that is
# known to be healthy within 10 s.
HEALTHCHECK --interval=6s --timeout=5s --start-period=20s --retries=3 CMD ["keepalive", "health"]
ENTRYPOINT ["keepalive"]
CMD ["run"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="keepalive" \
      org.opencontainers.image.description="Holds Cloudflare Workers live-tail sessions open" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/keepalive-dev/keepalive" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
