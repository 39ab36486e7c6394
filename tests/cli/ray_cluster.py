"""A Ray cluster on this machine: a head that does no work and two workers of one core each, until standard input ends.

It prints its address.
"""

import sys

from ray.cluster_utils import Cluster

STORE = {"object_store_memory": 128 * 2**20}

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **STORE})
for _ in range(2):
    cluster.add_node(num_cpus=1, **STORE)
cluster.wait_for_nodes()
sys.stdout.write(f"{cluster.address}\n")
sys.stdout.flush()
sys.stdin.read()
cluster.shutdown()
