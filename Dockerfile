# The mock server in a container: see docs/howto/container.md.
#   docker build -t engagelab-mock .
#   docker run --rm -p 127.0.0.1:8420:8420 -e ENGAGELAB_MOCK_TOKEN=change-me engagelab-mock
ARG PYTHON=docker.io/library/python:3.13-slim

FROM ${PYTHON} AS build
COPY . /src
RUN python3 -m venv /opt/engagelab-mock && /opt/engagelab-mock/bin/pip install --no-cache-dir /src

FROM ${PYTHON}
COPY --from=build /opt/engagelab-mock /opt/engagelab-mock
RUN useradd --uid 10001 --no-create-home engagelab && install --directory --owner 10001 /data
USER 10001
WORKDIR /data
# All addresses, because the port is published from outside; the control API therefore needs the token.
ENV PATH=/opt/engagelab-mock/bin:$PATH ENGAGELAB_MOCK_HOST=0.0.0.0 ENGAGELAB_MOCK_PORT=8420 PYTHONUNBUFFERED=1
EXPOSE 8420
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["engagelab-mock", "ready"]
ENTRYPOINT ["engagelab-mock"]
CMD ["serve"]
