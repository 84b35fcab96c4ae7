# The operator, as one virtual environment on a Python base. Any base with python3 3.11 or newer and its venv module will do.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /build
COPY requirements.lock ./
# Everything the lock names, each file checked by its hash; wheels only, so that no compiler is needed.
RUN python3 -m venv /opt/looparr \
 && /opt/looparr/bin/pip download --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: --no-deps \
    -r requirements.lock -d wheels
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
# From these files and no index: what Looparr itself needs, without the development packages.
RUN /opt/looparr/bin/pip install --no-cache-dir --disable-pip-version-check --no-index --find-links wheels . \
 && /opt/looparr/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
COPY --from=build /opt/looparr /opt/looparr
# Nothing is written but to the store's volume: the root file system may be read-only.
ENV PATH=/opt/looparr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOOPARR_PROBES_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["looparr"]
CMD ["operator"]
