from triton_sdk.local import _logs

LOADING = 'I1122 17:21:41.302983 15369 model_lifecycle.cc:472] "loading: tiny:1"'
VERSION_FAILED = (
    "E1122 17:21:42.371330 15369 model_lifecycle.cc:642] \"failed to load 'tiny' version 2: Internal: InvalidProtobuf: "
    'Protobuf parsing failed.\\n\\nAt:\\n  /somewhere/model.py(49): initialize\\n"'
)
POLL_FAILED = (
    "E1122 17:21:55.055348 16302 model_repository_manager.cc:1460] \"Poll failed for model directory 'net': failed to "
    'read text proto from /models/net/config.pbtxt"'
)
NO_VERSION = (
    "E1122 17:21:56.085248 16317 model_repository_manager.cc:724] \"failed to load model 'bare': at least one version "
    'must be available under the version policy"'
)
TAKEN = (
    'E1122 17:32:34.845804 21569 main.cc:257] "failed to start HTTP service: Unavailable - Socket '
    "'127.0.0.1:18000' already in use \""
)
NO_GPU = 'E1122 17:21:41.301726 15369 server.cc:241] "CudaDriverHelper has not been initialized."'


def test_each_failed_model_is_found_once_without_its_traceback() -> None:
    """The log's three ways of saying that a model did not load are understood."""
    log = "\n".join([LOADING, VERSION_FAILED, VERSION_FAILED, POLL_FAILED, NO_VERSION])
    assert [str(failure) for failure in _logs.load_failures(log)] == [
        "model 'tiny' version 2: InvalidProtobuf: Protobuf parsing failed.",
        "model 'net': failed to read text proto from /models/net/config.pbtxt",
        "model 'bare': at least one version must be available under the version policy",
    ]


def test_failures_in_the_index_wait_for_what_is_still_loading() -> None:
    """A failed version is reported once nothing else is under way; one that was unloaded has not failed."""
    broken = {"name": "tiny", "version": "2", "state": "UNAVAILABLE", "reason": "Internal: bad\n\nAt:\n  model.py(1)"}
    unloaded = {"name": "tiny", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
    assert _logs.unavailable([broken, {"name": "big", "version": "1", "state": "LOADING"}]) == []
    assert _logs.unavailable([broken, unloaded, {"name": "never"}]) == [_logs.LoadFailure("tiny", 2, "bad")]


def test_a_taken_port_is_read_from_the_log() -> None:
    """The address in the server's complaint is what the caller learns."""
    assert _logs.taken_address(f"{LOADING}\n{TAKEN}") == "127.0.0.1:18000"
    assert _logs.taken_address(LOADING) is None


def test_relevant_lines_are_errors_and_never_tables() -> None:
    """Tables and the complaints of every machine without a GPU are left out; without errors, the last lines remain."""
    log = "\n".join([NO_GPU, LOADING, "+----+", "| tiny | READY |", POLL_FAILED, "raw words of a crash"])
    assert _logs.relevant(log, lines=5) == [POLL_FAILED, "raw words of a crash"]
    assert _logs.relevant(f"{NO_GPU}\n{LOADING}", lines=5) == [LOADING]
