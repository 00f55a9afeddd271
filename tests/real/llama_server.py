#!/usr/bin/env python3
"""Runs llama.cpp's own HTTP server, whose C++ code the xllamacpp wheel carries, for the tests.

    pip install xllamacpp
    python llama_server.py MODEL.gguf [--reasoning-format deepseek|none] [--context N] [--parallel N]

Prints `listening on URL` once it answers, and ends as soon as its standard input closes, so that no server
outlives the test that started it.
"""
import argparse
import os
import sys

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--reasoning-format", default="deepseek", choices=["none", "auto", "deepseek", "deepseek-legacy"])
parser.add_argument("--context", type=int, default=16384, help="tokens, shared out among the parallel requests")
parser.add_argument("--parallel", type=int, default=2)
options = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = options.model
params.model_alias = {"tiny"}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = options.context
params.n_parallel = options.parallel
params.cpuparams.n_threads = 1
params.ui = False
params.reasoning_format = getattr(
    xllamacpp.common_reasoning_format,
    "COMMON_REASONING_FORMAT_" + options.reasoning_format.upper().replace("-", "_"),
)

server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.buffer.read()
os._exit(0)  # the server's own threads would keep the process alive
