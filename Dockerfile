# One image for the router, the three services and the migration step; docker-compose.yml says which it is.
FROM python:3.13.9-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/trifolio
ENV PATH=/opt/trifolio/bin:$PATH
WORKDIR /src
# The locked versions first: this layer is rebuilt only when a lock file changes.
COPY requirements-brokerage.lock ./
RUN pip install --requirement requirements-brokerage.lock
COPY router router
RUN pip install --no-deps --no-build-isolation ./router

FROM python:3.13.9-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin trifolio
COPY --from=build /opt/trifolio /opt/trifolio
WORKDIR /app
COPY supergraph.graphql ./
COPY subgraphs subgraphs
COPY brokerage brokerage
COPY docs/examples docs/examples
COPY deploy/router.yaml deploy/router.yaml
ENV PATH=/opt/trifolio/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 4000 4001 4002 4003
ENTRYPOINT ["python"]
CMD ["-m", "trifolio", "serve", "--supergraph", "supergraph.graphql", "--settings", "deploy/router.yaml", "--host", "0.0.0.0"]
