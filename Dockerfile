# One image for every service: `holdfast run SERVICE`. Non-root, and content with a read-only root: it writes to /data and
# /state only (at the first start of all, to volumes below /secrets). The build arguments are pip's own, for machines that reach packages in another way; empty means pip's default.

FROM python:3.13-slim AS builder
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/venv
COPY requirements-exchange.lock ./
RUN /opt/venv/bin/pip install --quiet --require-hashes -r requirements-exchange.lock
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
RUN /opt/venv/bin/pip install --quiet --no-deps --no-build-isolation . \
 && /opt/venv/bin/pip uninstall --quiet --yes hatchling editables

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOLDFAST_DIR=/data HOLDFAST_STATE_DIR=/state
RUN mkdir -p /app /data /state && cd / && mkdir -m 700 -p \
    secrets/ledger secrets/executor secrets/exit_scanner secrets/state_publisher secrets/market_feed secrets/dashboard secrets/alerts secrets/learner secrets/demo secrets/hooks secrets/cli secrets/others secrets/exchange \
 && mkdir -m 755 secrets/bus && chown -R 10001:10001 /app /data /state /secrets
COPY --from=builder /opt/venv /opt/venv
USER 10001:10001
WORKDIR /app
CMD ["holdfast", "--help"]
