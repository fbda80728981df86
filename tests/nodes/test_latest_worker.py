"""Slow work on the newest items: one batch for all clients, and one bad item costs no other."""

import threading

import pytest

from multismolvla.nodes.latest_worker import LatestWorker


class Bench:
    """A worker whose work is held up until it is let go, and two clients."""

    def __init__(self, graph, gather_s=0.0):
        self.free = threading.Event()
        self.batches, self.results = [], []
        self.worker = LatestWorker(self._work, gather_s)
        self.graph = graph
        self.clients = {
            name: self.worker.join(
                graph.probe,
                lambda result, error, name=name: self.results.append((name, result, error)),
            )
            for name in ("top", "wrist")
        }

    def _work(self, items):
        self.batches.append(list(items))
        assert self.free.wait(60.0)
        if "bad" in items:
            raise ValueError("a bad item")
        return [item.upper() for item in items]

    def close(self):
        self.free.set()
        for client in self.clients.values():
            client.close()


@pytest.fixture
def bench(graph):
    bench = Bench(graph)
    yield bench
    bench.close()


def test_what_waits_is_one_batch_of_the_newest_items(bench):
    bench.clients["top"].submit("a")
    bench.graph.spin_until(lambda: bench.batches == [["a"]])
    for item in ("b", "c"):
        bench.clients["top"].submit(item)
    bench.clients["wrist"].submit("d")
    bench.free.set()
    bench.graph.spin_until(lambda: len(bench.results) == 3)
    assert bench.batches == [["a"], ["c", "d"]]
    of_client = {name: [r for n, r, _ in bench.results if n == name] for name in bench.clients}
    assert of_client == {"top": ["A", "C"], "wrist": ["D"]}


def test_one_bad_item_costs_the_others_nothing(bench):
    bench.clients["top"].submit("a")
    bench.graph.spin_until(lambda: bench.batches)
    bench.clients["top"].submit("bad")
    bench.clients["wrist"].submit("good")
    bench.free.set()
    bench.graph.spin_until(lambda: len(bench.results) == 3)
    outcomes = {(name, result, str(error or "")) for name, result, error in bench.results}
    assert outcomes == {("top", "A", ""), ("top", None, "a bad item"), ("wrist", "GOOD", "")}


def test_what_is_under_way_for_a_client_that_left_is_dropped(bench):
    bench.clients["top"].submit("a")
    bench.graph.spin_until(lambda: bench.batches)
    bench.clients.pop("top").close()
    bench.clients["wrist"].submit("b")
    bench.free.set()
    bench.graph.spin_until(lambda: bench.results)
    assert bench.results == [("wrist", "B", None)]


def test_the_first_item_waits_for_the_other_clients(graph):
    bench = Bench(graph, gather_s=60.0)
    bench.free.set()
    # A client that has had none of late is not waited for.
    bench.clients["top"].submit("a")
    bench.graph.spin_until(lambda: bench.batches == [["a"]])
    bench.clients["wrist"].submitted_s = float("inf")
    bench.clients["top"].submit("b")
    bench.clients["wrist"].submit("c")
    bench.graph.spin_until(lambda: len(bench.batches) == 2)
    assert bench.batches[1] == ["b", "c"]
    bench.close()
