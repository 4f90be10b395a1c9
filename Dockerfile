# Prestager in one image; `docker-compose.yml` runs it as api, coordinator and worker.
#
# Nothing secret is in it: addresses with passwords and the key are files that are mounted at run time.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/prestager
WORKDIR /src
# Before the program's own files, which change more often.
COPY requirements/run.txt requirements/tracing.txt requirements/starlingx.txt requirements/
# `--build-arg LOCK=tracing` adds what traces need: see docs/tracing.md; `LOCK=starlingx` that, and the collections of
# StarlingX's own playbooks: see docs/own-playbooks.md.
ARG LOCK=run
RUN /opt/prestager/bin/pip install --no-deps --require-hashes -r requirements/$LOCK.txt
COPY . .
RUN /opt/prestager/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# Playbooks reach the sites by ssh; nothing else is added. Ansible writes below the user's home: /tmp is there, and
# writable, in a container whose root is read-only too.
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin prestager \
    && install -d -o prestager -g prestager -m 700 /var/lib/prestager
COPY --from=build /opt/prestager /opt/prestager
ENV PATH=/opt/prestager/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/prestager
EXPOSE 8119
ENTRYPOINT ["prestager"]
CMD ["up"]
