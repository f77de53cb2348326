# Hark with every extra, as an ordinary user. Its data and settings are volumes; see compose.yaml.
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 1000 hark && mkdir /data && chown hark:hark /data
WORKDIR /app
# The lock changes seldom: its layer is kept while the code changes.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY hark hark
COPY ingest ingest
COPY enrich enrich
COPY sinks sinks
COPY config config
# The compiler makes tagging a seventh faster, and is gone again in the same layer.
RUN apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev \
    && pip install --no-deps --no-build-isolation . \
    && apt-get purge -q -y --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# Not from /app: what runs is the installed package.
WORKDIR /data
USER hark
ENV HARK_DATA=/data
VOLUME /data
EXPOSE 8765
CMD ["hark", "up", "--host", "0.0.0.0", "--port", "8765"]
