"""Asks an agent what it has from its management server (CSDS), with grpcio and the messages generated from Envoy's own files.

Arguments: the admin socket. Prints JSON: what `FetchClientStatus` answered; the sizes of the two answers of `StreamClientStatus` to two
questions, the second of which wants no contents; and the code that matchers of nodes get.
"""

import json
import sys

import grpc
from envoy.config.cluster.v3 import cluster_pb2  # noqa: F401
from envoy.config.endpoint.v3 import endpoint_pb2  # noqa: F401
from envoy.config.listener.v3 import listener_pb2  # noqa: F401
from envoy.config.route.v3 import route_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.status.v3 import csds_pb2
from google.protobuf import json_format

SERVICE = "/envoy.service.status.v3.ClientStatusDiscoveryService/"
FORM = {
    "request_serializer": csds_pb2.ClientStatusRequest.SerializeToString,
    "response_deserializer": csds_pb2.ClientStatusResponse.FromString,
}
Question = csds_pb2.ClientStatusRequest

# By itself grpcio names the path as authority, which is none by the rules of URIs: many servers refuse it.
OPTIONS = [("grpc.default_authority", "localhost")]

with grpc.insecure_channel(f"unix:{sys.argv[1]}", options=OPTIONS) as channel:
    fetch = channel.unary_unary(SERVICE + "FetchClientStatus", **FORM)
    stream = channel.stream_stream(SERVICE + "StreamClientStatus", **FORM)
    fetched = fetch(Question(), timeout=10)
    questions = iter([Question(), Question(exclude_resource_contents=True)])
    sizes = [answer.ByteSize() for answer in stream(questions, timeout=10)]
    try:
        matcher = Question()
        matcher.node_matchers.add()
        fetch(matcher, timeout=10)
        code = None
    except grpc.RpcError as error:
        code = error.code().name
    status = json_format.MessageToDict(fetched, preserving_proto_field_name=True)
    print(json.dumps({"fetched": status, "sizes": sizes, "code": code}))
