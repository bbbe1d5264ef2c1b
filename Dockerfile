# The gateway as a container: the wheel and its locked dependencies, a user without rights, nothing else.
#   docker build -t penstock . && docker run --rm -p 8080:8080 -v ./penstock.yaml:/etc/penstock/penstock.yaml:ro penstock
# What every request passes is compiled (docs/how-to/operate.md); --build-arg COMPILE=0 leaves it as Python.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG COMPILE=1
ENV PENSTOCK_COMPILE=${COMPILE}
WORKDIR /src
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/penstock
COPY requirements-image.txt ./
RUN /opt/penstock/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-image.txt
COPY requirements-dev.txt pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY src ./src
# The build tools come from the same lock, into an environment that stays behind.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-dev.txt \
    && /opt/build/bin/python -m build --wheel --no-isolation --outdir /dist . \
    && /opt/penstock/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl \
    && /opt/penstock/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin penstock \
    && mkdir /etc/penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8080
# Alive, not ready: a gateway whose replicas are all gone should wait for them, not be restarted.
# With TLS or another port on the data side, give a --health-cmd of your own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8080/health', timeout=2)"]
# Ends with SIGTERM: answers that have begun are finished (30 s unless configured), so give it longer than that.
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstock"]
CMD ["serve", "--config", "/etc/penstock/penstock.yaml"]
