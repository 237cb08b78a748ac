# livecard for production: the locked dependencies (the embedded broker too, so that `demo` and `up` run from
# the image), the wheel, one unprivileged user, no pip and no compiler.
# Behind a mirror: --build-arg REGISTRY=… (of Docker Hub), PIP_INDEX_URL=…, PIP_TRUSTED_HOST=…; a proxy by
# HTTP_PROXY, HTTPS_PROXY, NO_PROXY, which Docker knows by itself. None of them is left in the image.
ARG REGISTRY=docker.io
FROM ${REGISTRY}/library/python:3.13.5-slim-bookworm AS build
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python -m venv --without-pip /opt/livecard \
    && pip --python /opt/livecard/bin/python install --no-cache-dir --require-hashes --requirement requirements.txt \
    && pip install --no-cache-dir --require-hashes --requirement requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY contracts contracts
COPY statemachine statemachine
COPY services services
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/livecard/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${REGISTRY}/library/python:3.13.5-slim-bookworm
# Folders for volumes, which then belong to that user: the gateway's keys, and the cards of compose's simulator.
RUN useradd --system --uid 10001 --create-home livecard \
    && install --directory --owner=livecard --mode=700 /keys \
    && install --directory --owner=livecard /var/lib/livecard
COPY --from=build /opt/livecard /opt/livecard
ENV PATH=/opt/livecard/bin:$PATH PYTHONUNBUFFERED=1
# By number: Kubernetes believes only that to be unprivileged (runAsNonRoot). Any other number will do, too.
USER 10001
WORKDIR /
# SIGTERM drains: what is in hand is finished and committed. Health checks belong to who runs the container.
STOPSIGNAL SIGTERM
ENTRYPOINT ["livecard"]
CMD ["--help"]
