# `entropix serve` on processors, from the wheel of these sources. In the repository's folder:
#   docker build -f docs/deploy/server.Dockerfile -t entropix .
#   openssl rand -hex 24 > keys && sudo chown 10001 keys && sudo chmod 600 keys
#   docker run -p 8000:8000 -v entropix-models:/models -v "$PWD/keys:/run/secrets/entropix-keys:ro" entropix
# What stands behind the image's name are further options of `entropix serve`, such as -m organisation/repository:Q4_K_M.
FROM python:3.13 AS wheel
COPY pyproject.toml hatch_build.py README.md LICENSE /sources/
COPY src /sources/src
RUN ENTROPIX_KERNELS=required pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /sources

FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /wheels/
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "$(echo /wheels/*.whl)[llama,serve]"
# models that are downloaded outlive the container in the volume
RUN useradd --uid 10001 --create-home entropix && install -d -o 10001 /models
USER 10001
ENV ENTROPIX_MODELS=/models HF_HOME=/models/hub
VOLUME /models
EXPOSE 8000
HEALTHCHECK --start-period=30m CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["entropix", "serve", "--supervised", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/entropix-keys"]
