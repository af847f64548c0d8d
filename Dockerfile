# mlkit as an image, from wheels that lie beside it: the build needs no network.
#
#   pip wheel --wheel-dir wheels . && pip download --no-deps --dest wheels pip
#   docker build --tag mlkit .
#   docker run --publish 8000:8000 --volume "$PWD":/data mlkit \
#       bandit serve posteriors.parquet --state state --host 0.0.0.0
ARG BASE=python:3.11-slim-bookworm
FROM $BASE
COPY wheels /wheels
RUN python3 -m venv --without-pip /opt/mlkit \
 && PYTHONPATH=$(echo /wheels/pip-*.whl) \
    /opt/mlkit/bin/python -m pip install --quiet --no-index --find-links /wheels mlkit \
 && rm -rf /wheels
ENV PATH=/opt/mlkit/bin:$PATH
WORKDIR /data
EXPOSE 8000
ENTRYPOINT ["mlkit"]
