{{/* Written by `python -m scripts.cluster.chart_readme` from values.yaml and values.schema.json. */}}
{{- define "triton.knownDefaults" -}}
{
 "enabled": {
  "default": true
 },
 "global": {
  "default": {
   "imageRegistry": "",
   "imagePullSecrets": []
  },
  "within": {
   "imageRegistry": {
    "default": ""
   },
   "imagePullSecrets": {
    "default": []
   }
  }
 },
 "nameOverride": {
  "default": ""
 },
 "fullnameOverride": {
  "default": ""
 },
 "commonLabels": {
  "default": {}
 },
 "commonAnnotations": {
  "default": {}
 },
 "image": {
  "default": {
   "repository": "",
   "digest": "",
   "tag": "",
   "pullPolicy": "IfNotPresent"
  },
  "within": {
   "repository": {
    "default": ""
   },
   "digest": {
    "default": ""
   },
   "tag": {
    "default": ""
   },
   "pullPolicy": {
    "default": "IfNotPresent"
   }
  }
 },
 "imagePullSecrets": {
  "default": []
 },
 "replicas": {
  "default": 1
 },
 "readiness": {
  "default": {
   "model": "",
   "version": null
  },
  "within": {
   "model": {
    "default": ""
   }
  }
 },
 "gpu": {
  "default": {
   "enabled": true,
   "count": 1,
   "resource": "nvidia.com/gpu",
   "runtimeClassName": ""
  },
  "within": {
   "enabled": {
    "default": true
   },
   "count": {
    "default": 1
   },
   "resource": {
    "default": "nvidia.com/gpu"
   },
   "runtimeClassName": {
    "default": ""
   }
  }
 },
 "models": {
  "default": {}
 },
 "plan": {
  "default": {
   "generation": 0
  },
  "within": {
   "generation": {
    "default": 0
   }
  }
 },
 "modelControl": {
  "default": "agent"
 },
 "agent": {
  "default": {
   "image": "",
   "store": "",
   "env": [],
   "resources": {
    "requests": {
     "cpu": "50m",
     "memory": "128Mi"
    },
    "limits": {
     "memory": "256Mi"
    }
   },
   "size": "10Gi"
  },
  "within": {
   "image": {
    "default": ""
   },
   "store": {
    "default": ""
   },
   "env": {
    "default": []
   },
   "resources": {
    "default": {
     "requests": {
      "cpu": "50m",
      "memory": "128Mi"
     },
     "limits": {
      "memory": "256Mi"
     }
    },
    "within": {}
   },
   "size": {
    "default": "10Gi"
   }
  }
 },
 "admin": {
  "default": {
   "existingSecret": "",
   "restrictedApis": [
    "model-repository",
    "shared-memory",
    "trace",
    "logging"
   ]
  },
  "within": {
   "existingSecret": {
    "default": ""
   },
   "restrictedApis": {
    "default": [
     "model-repository",
     "shared-memory",
     "trace",
     "logging"
    ]
   }
  }
 },
 "rollout": {
  "default": {
   "surge": null,
   "recreate": false,
   "minReadySeconds": 5,
   "revisionHistoryLimit": 5
  },
  "within": {
   "recreate": {
    "default": false
   },
   "minReadySeconds": {
    "default": 5
   },
   "revisionHistoryLimit": {
    "default": 5
   }
  }
 },
 "preStopSeconds": {
  "default": 10
 },
 "exitTimeoutSeconds": {
  "default": 30
 },
 "startup": {
  "default": {
   "seconds": 600
  },
  "within": {
   "seconds": {
    "default": 600
   }
  }
 },
 "resources": {
  "default": {
   "requests": {
    "cpu": "1",
    "memory": "4Gi"
   },
   "limits": {
    "memory": "4Gi"
   }
  },
  "within": {}
 },
 "shmSize": {
  "default": ""
 },
 "tmpSize": {
  "default": "1Gi"
 },
 "serviceAccount": {
  "default": {
   "create": true,
   "name": "",
   "annotations": {}
  },
  "within": {
   "create": {
    "default": true
   },
   "name": {
    "default": ""
   },
   "annotations": {
    "default": {}
   }
  }
 },
 "service": {
  "default": {
   "type": "ClusterIP",
   "annotations": {},
   "labels": {},
   "loadBalancerClass": "",
   "loadBalancerSourceRanges": [],
   "externalTrafficPolicy": "",
   "internalTrafficPolicy": "",
   "nodePorts": {
    "http": null,
    "grpc": null
   },
   "ipFamilyPolicy": "",
   "ipFamilies": []
  },
  "within": {
   "type": {
    "default": "ClusterIP"
   },
   "annotations": {
    "default": {}
   },
   "labels": {
    "default": {}
   },
   "loadBalancerClass": {
    "default": ""
   },
   "loadBalancerSourceRanges": {
    "default": []
   },
   "externalTrafficPolicy": {
    "default": ""
   },
   "internalTrafficPolicy": {
    "default": ""
   },
   "nodePorts": {
    "default": {
     "http": null,
     "grpc": null
    },
    "within": {}
   },
   "ipFamilyPolicy": {
    "default": ""
   },
   "ipFamilies": {
    "default": []
   }
  }
 },
 "extraArgs": {
  "default": []
 },
 "extraEnv": {
  "default": []
 },
 "envFrom": {
  "default": []
 },
 "extraVolumes": {
  "default": []
 },
 "extraVolumeMounts": {
  "default": []
 },
 "initContainers": {
  "default": []
 },
 "extraContainers": {
  "default": []
 },
 "extraObjects": {
  "default": []
 },
 "podAnnotations": {
  "default": {}
 },
 "podLabels": {
  "default": {}
 },
 "deploymentAnnotations": {
  "default": {}
 },
 "schedulerName": {
  "default": ""
 },
 "resourceClaims": {
  "default": []
 },
 "dnsPolicy": {
  "default": ""
 },
 "priorityClassName": {
  "default": ""
 },
 "nodeSelector": {
  "default": {}
 },
 "tolerations": {
  "default": []
 },
 "topologySpreadConstraints": {
  "default": []
 },
 "podDisruptionBudget": {
  "default": {
   "enabled": true,
   "maxUnavailable": 1,
   "minAvailable": null
  },
  "within": {
   "enabled": {
    "default": true
   }
  }
 },
 "autoscaling": {
  "default": {
   "enabled": false,
   "kind": "hpa",
   "minReplicas": 1,
   "maxReplicas": 4,
   "metric": "nv_inference_pending_request_count",
   "target": "8",
   "metrics": [],
   "scaleDownSeconds": 300,
   "keda": {
    "prometheusUrl": "",
    "authModes": "",
    "authenticationRef": {
     "name": "",
     "kind": "TriggerAuthentication"
    },
    "pollingInterval": 30,
    "cooldownPeriod": 300,
    "fallback": {
     "failureThreshold": null,
     "replicas": 1
    },
    "triggers": []
   }
  },
  "within": {
   "enabled": {
    "default": false
   },
   "kind": {
    "default": "hpa"
   },
   "minReplicas": {
    "default": 1
   },
   "maxReplicas": {
    "default": 4
   },
   "metric": {
    "default": "nv_inference_pending_request_count"
   },
   "target": {
    "default": "8"
   },
   "metrics": {
    "default": []
   },
   "scaleDownSeconds": {
    "default": 300
   },
   "keda": {
    "default": {
     "prometheusUrl": "",
     "authModes": "",
     "authenticationRef": {
      "name": "",
      "kind": "TriggerAuthentication"
     },
     "pollingInterval": 30,
     "cooldownPeriod": 300,
     "fallback": {
      "failureThreshold": null,
      "replicas": 1
     },
     "triggers": []
    },
    "within": {
     "prometheusUrl": {
      "default": ""
     },
     "authModes": {
      "default": ""
     },
     "authenticationRef": {
      "default": {
       "name": "",
       "kind": "TriggerAuthentication"
      },
      "within": {
       "name": {
        "default": ""
       },
       "kind": {
        "default": "TriggerAuthentication"
       }
      }
     },
     "pollingInterval": {
      "default": 30
     },
     "cooldownPeriod": {
      "default": 300
     },
     "fallback": {
      "default": {
       "failureThreshold": null,
       "replicas": 1
      },
      "within": {
       "replicas": {
        "default": 1
       }
      }
     },
     "triggers": {
      "default": []
     }
    }
   }
  }
 },
 "metrics": {
  "default": {
   "labels": {},
   "namespace": "",
   "interval": "15s",
   "scrapeTimeout": "",
   "relabelings": [],
   "metricRelabelings": [],
   "serviceMonitor": {
    "enabled": false
   },
   "podMonitor": {
    "enabled": false
   },
   "prometheusRule": {
    "enabled": false,
    "runbook": "docs/runbook.md",
    "alerts": {},
    "failureRatio": 0.01,
    "cancelledRatio": 0.25,
    "pendingRequests": 64,
    "queueMilliseconds": 100,
    "requestMilliseconds": 1000,
    "slowdownRatio": 3,
    "podRatio": 3,
    "gpuMemoryRatio": 0.95
   },
   "dashboard": {
    "enabled": false,
    "labels": {
     "grafana_dashboard": "1"
    },
    "annotations": {},
    "namespace": ""
   }
  },
  "within": {
   "labels": {
    "default": {}
   },
   "namespace": {
    "default": ""
   },
   "interval": {
    "default": "15s"
   },
   "scrapeTimeout": {
    "default": ""
   },
   "relabelings": {
    "default": []
   },
   "metricRelabelings": {
    "default": []
   },
   "serviceMonitor": {
    "default": {
     "enabled": false
    },
    "within": {
     "enabled": {
      "default": false
     }
    }
   },
   "podMonitor": {
    "default": {
     "enabled": false
    },
    "within": {
     "enabled": {
      "default": false
     }
    }
   },
   "prometheusRule": {
    "default": {
     "enabled": false,
     "runbook": "docs/runbook.md",
     "alerts": {},
     "failureRatio": 0.01,
     "cancelledRatio": 0.25,
     "pendingRequests": 64,
     "queueMilliseconds": 100,
     "requestMilliseconds": 1000,
     "slowdownRatio": 3,
     "podRatio": 3,
     "gpuMemoryRatio": 0.95
    },
    "within": {
     "enabled": {
      "default": false
     },
     "runbook": {
      "default": "docs/runbook.md"
     },
     "alerts": {
      "default": {}
     },
     "failureRatio": {
      "default": 0.01
     },
     "cancelledRatio": {
      "default": 0.25
     },
     "pendingRequests": {
      "default": 64
     },
     "queueMilliseconds": {
      "default": 100
     },
     "requestMilliseconds": {
      "default": 1000
     },
     "slowdownRatio": {
      "default": 3
     },
     "podRatio": {
      "default": 3
     },
     "gpuMemoryRatio": {
      "default": 0.95
     }
    }
   },
   "dashboard": {
    "default": {
     "enabled": false,
     "labels": {
      "grafana_dashboard": "1"
     },
     "annotations": {},
     "namespace": ""
    },
    "within": {
     "enabled": {
      "default": false
     },
     "labels": {
      "default": {
       "grafana_dashboard": "1"
      }
     },
     "annotations": {
      "default": {}
     },
     "namespace": {
      "default": ""
     }
    }
   }
  }
 },
 "networkPolicy": {
  "default": {
   "enabled": false,
   "from": [],
   "metricsFrom": [
    {
     "namespaceSelector": {
      "matchLabels": {
       "kubernetes.io/metadata.name": "monitoring"
      }
     }
    }
   ],
   "egress": []
  },
  "within": {
   "enabled": {
    "default": false
   },
   "from": {
    "default": []
   },
   "metricsFrom": {
    "default": [
     {
      "namespaceSelector": {
       "matchLabels": {
        "kubernetes.io/metadata.name": "monitoring"
       }
      }
     }
    ]
   },
   "egress": {
    "default": []
   }
  }
 },
 "ingress": {
  "default": {
   "enabled": false,
   "className": "",
   "annotations": {},
   "host": "",
   "tlsSecret": "",
   "grpc": {
    "enabled": false,
    "annotations": {},
    "host": "",
    "tlsSecret": ""
   }
  },
  "within": {
   "enabled": {
    "default": false
   },
   "className": {
    "default": ""
   },
   "annotations": {
    "default": {}
   },
   "host": {
    "default": ""
   },
   "tlsSecret": {
    "default": ""
   },
   "grpc": {
    "default": {
     "enabled": false,
     "annotations": {},
     "host": "",
     "tlsSecret": ""
    },
    "within": {
     "enabled": {
      "default": false
     },
     "annotations": {
      "default": {}
     },
     "host": {
      "default": ""
     },
     "tlsSecret": {
      "default": ""
     }
    }
   }
  }
 },
 "gateway": {
  "default": {
   "enabled": false,
   "parentRefs": [],
   "httpHostnames": [],
   "grpcHostnames": []
  },
  "within": {
   "enabled": {
    "default": false
   },
   "parentRefs": {
    "default": []
   },
   "httpHostnames": {
    "default": []
   },
   "grpcHostnames": {
    "default": []
   }
  }
 },
 "helmTest": {
  "default": {
   "enabled": null
  },
  "within": {}
 }
}
{{- end -}}
