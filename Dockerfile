# The page, as a user that may write nothing but its own home and /tmp.
#   docker build -t todo-tome .                     with a GPU
#   docker build -t todo-tome --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .     without one
# The digest of another day: docs/serving.md, "The container".
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
FROM ${BASE}

# PyPI's torch has CUDA in it; the index of CPU builds is many times smaller.
ARG TORCH_INDEX=""

RUN useradd --create-home --uid 1000 page
WORKDIR /page

# Before the code: it changes often, and these are gigabytes. Each file that is installed has a hash here.
COPY requirements.lock requirements-cpu.lock ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: \
      -r "requirements${TORCH_INDEX:+-cpu}.lock" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}

COPY LICENSE app.py ./
COPY assets/ assets/
COPY todo_patch/ todo_patch/
COPY compare/ compare/
COPY page/ page/
COPY server/ server/

USER page
ENV GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    HF_HOME=/home/page/.cache/huggingface \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Weights from the Hub outlive the container where this is a volume.
RUN mkdir -p /home/page/.cache/huggingface
VOLUME /home/page/.cache/huggingface

EXPOSE 7860
# The first start fetches 7 GB where there is a GPU.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20m --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=8)"]

ENTRYPOINT ["python", "app.py"]
