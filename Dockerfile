# syntax=docker/dockerfile:1
# Two stages: what builds does not ship. Every package is pinned by its hash in requirements/.
FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src

# The build's tools stay out of the environment that ships.
COPY requirements/build.txt requirements/s3.txt requirements/
RUN python -m venv /build && /build/bin/python -m pip install --require-hashes -r requirements/build.txt
RUN python -m venv /opt/tuspy-server \
    && /opt/tuspy-server/bin/python -m pip install --require-hashes -r requirements/s3.txt

COPY pyproject.toml README.md ./
COPY tuspy_server tuspy_server
RUN /build/bin/python -m pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . \
    && /opt/tuspy-server/bin/python -m pip install --no-deps --no-index /wheels/*.whl


FROM python:3.11-slim

RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tuspy \
    && install --directory --owner=tuspy --group=tuspy --mode=0750 /data
COPY --from=build /opt/tuspy-server /opt/tuspy-server

ENV PATH=/opt/tuspy-server/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TUSPY_HOST=0.0.0.0 \
    TUSPY_DATA=/data

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=20s --retries=3 \
    CMD ["tuspy-server", "health"]
ENTRYPOINT ["tuspy-server"]
CMD ["serve"]
