# The operator, as one virtual environment on a Python base. Any base with python3 3.11 or newer and its venv module will do.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /build
# A pip of its own installs from outside: what is copied below never held one.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/looparr
COPY requirements.lock ./
# Everything the lock names, each file checked by its hash; wheels only, so that no compiler is needed.
# A private index or certificate authority is handed in without a trace:
# docker build --secret id=pip,src=pip.conf --secret id=certificates,src=ca.pem .    pip.conf: cert = /run/secrets/certificates
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    /pip/bin/pip download --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: --no-deps \
    --quiet -r requirements.lock -d wheels
COPY pyproject.toml README.md LICENSE ./
# From these files and no index: what Looparr itself needs, without its extras and the development packages. Kubernetes' own
# API, thousands of modules that the client loads one by one where they are asked for, is left to be compiled then.
RUN python3 -c 'import tomllib as t; print(*t.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >wanted \
 && /pip/bin/pip --python /opt/looparr/bin/python3 install --no-cache-dir --disable-pip-version-check --quiet --no-compile \
    --no-index --find-links wheels -r wanted \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -x 'kubernetes/(aio|client)/' /opt/looparr/lib
COPY operator operator
RUN /pip/bin/pip --python /opt/looparr/bin/python3 install --no-cache-dir --disable-pip-version-check --quiet --no-compile \
    --no-index --find-links wheels . \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/looparr/lib/python3*/site-packages/looparr

FROM ${BASE}
COPY --from=build /opt/looparr /opt/looparr
# The base's pip goes. What the operator imports is seen to be there, and left compiled: no later run may write.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
    /usr/lib/python3*/ensurepip /usr/share/python-wheels \
 && /opt/looparr/bin/python3 -c 'import looparr.main'
# Nothing is written but to the store's volume: the root file system may be read-only.
ENV PATH=/opt/looparr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOOPARR_PROBES_HOST=0.0.0.0
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
LABEL org.opencontainers.image.title=Looparr \
      org.opencontainers.image.description="A Kubernetes operator that turns sleep-and-check loops into resources" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.source=$SOURCE
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["looparr"]
CMD ["operator"]
