"""A management server on grpcio and the messages generated from Envoy's own files, which shares nothing with the agent.

Aggregated discovery, state of the world and incremental, for any number of nodes. Orders come as lines of JSON on the standard
input, and each is answered by one line:

  {"nodes": {id: {text: replacement}}}                  -> {"port": where it listens}
  {"set": [[type URL, name, resource]], "gone": [[type URL, name]], "breaks": bool, "await": [node ids]}
                                                        -> {"refused": [[node, type URL, why]], "restless": [nodes]}

An order is answered when each node that is awaited has answered everything it was sent, and has asked for nothing for a while.
"""

import asyncio
import json
import sys
import time

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
# What resources hold as `Any` is found by name, once it is imported.
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
URL = "type.googleapis.com/"
# In the order in which they are sent: what is referred to goes first.
KINDS = {
    URL + message.DESCRIPTOR.full_name: message
    for message in (
        cluster_pb2.Cluster,
        endpoint_pb2.ClusterLoadAssignment,
        listener_pb2.Listener,
        route_pb2.RouteConfiguration,
    )
}
WHOLE = {URL + "envoy.config.cluster.v3.Cluster", URL + "envoy.config.listener.v3.Listener"}
REST = 0.05
PATIENCE = 10.0


class Plane:
    """Resources, by kind and name, and the streams that are open."""

    def __init__(self):
        self.nodes = {}
        self.resources = {kind: {} for kind in KINDS}
        self.version = 0
        self.streams = set()
        self.refused = []

    def change(self, order):
        self.version += 1
        self.refused = []
        for kind, name, resource in order["set"]:
            self.resources[kind][name] = (self.version, resource)
        for kind, name in order["gone"]:
            self.resources[kind].pop(name, None)

    def encode(self, kind, name, node):
        text = json.dumps(self.resources[kind][name][1])
        for word, own in self.nodes.get(node, {}).items():
            text = text.replace(word, own)
        packed = any_pb2.Any()
        packed.Pack(json_format.Parse(text, KINDS[kind]()))
        return packed


class Wish:
    """What one stream wants of a kind, and what it was sent."""

    def __init__(self):
        self.everything = False
        self.named = False
        self.names = set()
        self.sent = {}
        self.fresh = set()
        self.version = None
        self.nonce = None
        self.unanswered = False

    def wants(self, name):
        return self.everything or name in self.names


class Stream:
    """One stream of one node."""

    def __init__(self, plane, context, delta):
        self.plane, self.context, self.delta = plane, context, delta
        self.node = None
        self.wishes = {}
        self.count = 0
        self.last = time.monotonic()
        self.changed = asyncio.Event()
        self.over = False

    async def run(self):
        self.plane.streams.add(self)
        reading = asyncio.create_task(self.read())
        try:
            while not self.over:
                await self.changed.wait()
                self.changed.clear()
                for kind in KINDS:
                    if kind in self.wishes:
                        await self.push(kind, self.wishes[kind])
        finally:
            reading.cancel()
            self.plane.streams.discard(self)

    async def read(self):
        while True:
            request = await self.context.read()
            if request is grpc.aio.EOF:
                break
            self.last = time.monotonic()
            self.node = request.node.id or self.node
            wish = self.wishes.get(request.type_url)
            is_first = wish is None
            if request.type_url in KINDS:
                wish = self.wishes.setdefault(request.type_url, Wish())
                (self.hear_delta if self.delta else self.hear)(wish, request, is_first)
            self.changed.set()
        self.over = True
        self.changed.set()

    def heard(self, wish, request):
        if wish.nonce is not None and request.response_nonce == wish.nonce:
            wish.unanswered = False
            if request.HasField("error_detail"):
                self.plane.refused.append([self.node, request.type_url, request.error_detail.message])

    def hear(self, wish, request, is_first):
        if not is_first and request.response_nonce != (wish.nonce or ""):
            return  # stale
        self.heard(wish, request)
        names = set(request.resource_names)
        wish.named = wish.named or bool(names)
        wish.everything = "*" in names or not wish.named
        names.discard("*")
        wish.fresh |= names - wish.names
        wish.names = names

    def hear_delta(self, wish, request, is_first):
        self.heard(wish, request)
        asked = set(request.resource_names_subscribe)
        left = set(request.resource_names_unsubscribe)
        wish.everything = (wish.everything or "*" in asked or (is_first and not asked)) and "*" not in left
        wish.sent.update((name, int(version)) for name, version in request.initial_resource_versions.items())
        wish.names = (wish.names | asked) - left - {"*"}
        wish.fresh |= asked - {"*"}
        for name in left:
            wish.sent.pop(name, None)

    async def push(self, kind, wish):
        resources = self.plane.resources[kind]
        present = {name: version for name, (version, _) in resources.items() if wish.wants(name)}
        news = {name for name, version in present.items() if wish.sent.get(name) != version or name in wish.fresh}
        gone = {name for name in wish.sent if name not in resources}
        is_first = wish.version is None and wish.everything
        if self.delta:
            gone |= wish.fresh - present.keys()
            await self.send_delta(kind, wish, news, gone, is_first)
        elif news or is_first or (gone and kind in WHOLE):
            # All that is wanted, changed or not: so the protocol has it for two kinds, and allows it for the others.
            await self.send(kind, wish, present)
        wish.version = self.plane.version
        wish.sent = dict(present)
        wish.fresh = set()

    async def send(self, kind, wish, names):
        resources = [self.plane.encode(kind, name, self.node) for name in names]
        response = discovery_pb2.DiscoveryResponse(
            version_info=str(self.plane.version), type_url=kind, resources=resources, nonce=self.next_nonce(wish)
        )
        await self.context.write(response)

    async def send_delta(self, kind, wish, news, gone, is_first):
        if not (news or gone or is_first):
            return
        versions = self.plane.resources[kind]
        resources = [
            discovery_pb2.Resource(
                name=name, version=str(versions[name][0]), resource=self.plane.encode(kind, name, self.node)
            )
            for name in sorted(news)
        ]
        response = discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=str(self.plane.version),
            type_url=kind,
            resources=resources,
            removed_resources=sorted(gone),
            nonce=self.next_nonce(wish),
        )
        await self.context.write(response)

    def next_nonce(self, wish):
        self.count += 1
        self.last = time.monotonic()
        wish.nonce, wish.unanswered = f"nonce {self.count}", True
        return wish.nonce

    def is_at_rest(self):
        if not self.wishes or self.changed.is_set() or time.monotonic() - self.last < REST:
            return False
        return all(not wish.unanswered and wish.version == self.plane.version for wish in self.wishes.values())


async def settle(plane, nodes):
    deadline = time.monotonic() + PATIENCE
    while True:
        at_rest = {stream.node for stream in plane.streams if stream.is_at_rest()}
        restless = [node for node in nodes if node not in at_rest]
        if not restless or time.monotonic() > deadline:
            return restless
        await asyncio.sleep(0.005)


def handlers(plane):
    def method(delta, request, response):
        async def serve(_, context):
            await Stream(plane, context, delta).run()

        return grpc.stream_stream_rpc_method_handler(
            serve, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )

    methods = {
        "StreamAggregatedResources": method(False, discovery_pb2.DiscoveryRequest, discovery_pb2.DiscoveryResponse),
        "DeltaAggregatedResources": method(
            True, discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse
        ),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


async def main():
    plane = Plane()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(plane),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "nodes" in order:
            plane.nodes = order["nodes"]
            answer = {"port": port}
        else:
            if order["breaks"]:
                for stream in plane.streams:
                    stream.over = True
            plane.change(order)
            for stream in plane.streams:
                stream.changed.set()
            restless = await settle(plane, order["await"])
            answer = {"refused": plane.refused, "restless": restless}
        print(json.dumps(answer), flush=True)
    await server.stop(None)


asyncio.run(main())
