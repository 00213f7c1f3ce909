"""Connections stay open between requests while others come, as long as there are threads for all."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from reward_server import RewardServer
from served_model import Oracle


def test_a_quiet_connection_outlives_the_arrival_of_others(tmp_path):
    rm = Oracle(tmp_path / "rm", 0)
    body = json.dumps({"query": ["the inn"]})
    with RewardServer("--model", rm.folder) as server:
        address = urlsplit(server.url).netloc
        host, port = address.split(":")
        quiet = [http.client.HTTPConnection(address, timeout=30) for _ in range(60)]
        ask = lambda connection: connection.request("POST", "/get_reward", body) or connection.getresponse().read()
        for connection in quiet:
            ask(connection)
        until = time.monotonic() + 2

        def come_and_go():
            while time.monotonic() < until:
                others = [socket.create_connection((host, int(port))) for _ in range(10)]
                for other in others:
                    other.close()
                time.sleep(0.01)

        with ThreadPoolExecutor(2) as pool:
            comers = [pool.submit(come_and_go) for _ in range(2)]
        for comer in comers:
            comer.result()
        lost = 0
        for connection in quiet:
            connection.auto_open = False  # a closed one is not opened again unseen
            try:
                ask(connection)
            except (OSError, http.client.HTTPException):
                lost += 1
        assert lost == 0
