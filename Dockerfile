# The operator's image. BASE_IMAGE is any image with python3 >= 3.11, python3-venv and CA certificates; both stages use the same.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check "uv>=0.9.17" hatchling \
 && python3 -m venv --without-pip /opt/venv
# The locked dependencies come first: a change of the program alone does not install them again.
COPY pyproject.toml uv.lock ./
RUN /opt/tools/bin/uv export --quiet --frozen --no-dev --no-emit-project --output-file /opt/requirements.txt \
 && /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --disable-pip-version-check --require-hashes -r /opt/requirements.txt
COPY README.md LICENSE ./
COPY operator operator
RUN /opt/tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
 && /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --disable-pip-version-check --no-deps /opt/wheel/*.whl

FROM ${BASE_IMAGE}
COPY --from=build /opt/venv /opt/venv
# LOGNAME: a library asks who runs this, and the user below has no entry in /etc/passwd.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LOGNAME=incident-operator \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["incident-operator"]
CMD ["run"]
