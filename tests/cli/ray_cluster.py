"""A Ray cluster on this machine: a head that does no work and two workers of one core each, until standard input ends.

It prints its address, then the names of the workers.
"""

import sys

from ray.cluster_utils import Cluster

STORE = {"object_store_memory": 128 * 2**20}

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **STORE})
workers = [cluster.add_node(num_cpus=1, **STORE) for _ in range(2)]
cluster.wait_for_nodes()
sys.stdout.write(" ".join([cluster.address, *(worker.node_id for worker in workers)]) + "\n")
sys.stdout.flush()
sys.stdin.read()
cluster.shutdown()
