"""The metrics that a Triton exports, by name; tests/live compares the first part with a real server."""

# What 24.10 exports without a GPU, with one model loaded.
SERVER = frozenset(
    {
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_pending_request_count",
        "nv_cpu_utilization",
    }
)
# With a GPU: Triton's documentation, "Metrics", table "GPU Metrics".
GPU = frozenset({"nv_gpu_utilization", "nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes"})
# kube-state-metrics' documentation, Deployments and Pods.
KUBERNETES = frozenset(
    {
        "kube_deployment_metadata_generation",
        "kube_deployment_status_replicas_available",
        "kube_deployment_spec_replicas",
        "kube_pod_container_status_restarts_total",
    }
)
# scripts/agent/metrics.py.
AGENT = frozenset({"triton_agent_settled", "triton_agent_restart_needed"})
KNOWN = SERVER | GPU | KUBERNETES | AGENT
