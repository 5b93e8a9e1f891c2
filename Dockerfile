# keepalive as a container: non-root, no shell needed, nothing but Python and the locked wheels.
#   docker build -t keepalive .
#   docker run --read-only -e CLOUDFLARE_API_TOKEN -e CLOUDFLARE_ACCOUNT_ID -e KEEPALIVE_SCRIPTS=api keepalive
FROM python:3.13-slim AS build
WORKDIR /src
RUN python3 -m venv /opt/keepalive
COPY requirements/speed.txt requirements/speed.txt
RUN /opt/keepalive/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements/speed.txt
COPY requirements/build.txt requirements/build.txt
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY keepalive keepalive
RUN /opt/build/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps -w /dist . \
 && /opt/keepalive/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl \
 && /opt/keepalive/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="keepalive" \
      org.opencontainers.image.description="Holds Cloudflare Workers live-tail sessions open" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/keepalive /opt/keepalive
ENV PATH=/opt/keepalive/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/keepalive
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/keepalive
VOLUME /var/lib/keepalive
USER 65532:65532
WORKDIR /etc/keepalive
STOPSIGNAL SIGTERM
ENTRYPOINT ["keepalive"]
CMD ["run"]
