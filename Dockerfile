# The commands in an image: `docker build -t mobilenet .`, then
# `docker run --rm -v "$PWD:/work" mobilenet predict dog.jpg`. PyTorch's CPU build; the user is not root.
FROM python:3.11-slim-bookworm AS build

ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY constraints.txt setup.py pyproject.toml README.md LICENSE NOTICE cli.py ./
RUN pip install --no-deps --index-url "$CPU_INDEX" -c constraints.txt torch torchvision
# What is installed does not change with the code: this layer is kept until setup.py or the pins change.
RUN mkdir -p backbone/_cpu heads && touch backbone/__init__.py backbone/_cpu/__init__.py heads/__init__.py \
 && pip install -c constraints.txt -e '.[apps,export,video]'

FROM python:3.11-slim-bookworm

# A compiler for the kernels of training on processors, which are compiled once a machine; answering needs none.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 user \
 && mkdir /work /cache && chown user:user /work /cache
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
ENV PATH=/venv/bin:$PATH XDG_CACHE_HOME=/cache
USER 1000
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["mobilenet"]
CMD ["--help"]
