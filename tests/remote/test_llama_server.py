"""A vote and a tree over llama.cpp's own server, a real endpoint that is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from entropix.remote import connect


def test_llama_cpp_server_votes_and_forks_a_chat(smollm2: Path) -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp's server comes with: pip install xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(smollm2)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel, params.n_ctx = 2, 1024
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    endpoint = connect(server.listening_address, "smollm2", concurrency=2)
    search = "tree:trigger=entropy,threshold=0.5,max_sequences=2+vote:answer=text,stop=none"
    tree = endpoint.generate("Name a river. 😀", temperature=0, max_tokens=6, search=search, seed=1)
    trunk, fork = tree.search.branches
    assert fork.parent == 0
    assert fork.steps[0].text != trunk.steps[fork.origin].text
    assert all(s.truncated == 20 and s.token >= 0 for s in tree.steps)
    assert all("".join(s.text for s in b.steps) == b.text for b in tree.search.branches)
    assert tree.ledger.shared > 0
    samples = endpoint.generate("Name a river.", temperature=1.0, max_tokens=4, search="vote:n=2,answer=text", seed=1)
    assert samples.search.ballots == 2
