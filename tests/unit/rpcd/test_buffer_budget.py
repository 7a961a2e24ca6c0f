"""The budget of unsent and half-read bytes: whom it closes, and whom it does not."""

from __future__ import annotations

from supervisor.rpcd.buffer_budget import BufferBudget


class FakeConnection:
    """A connection that holds what the test says."""

    def __init__(self, budget: BufferBudget) -> None:
        self.budget = budget
        self.buffered = 0
        self.reason = ""

    def hold(self, size: int) -> None:
        self.buffered = size
        self.budget.report(self)

    def drop(self, reason: str) -> None:
        self.reason = reason
        self.budget.forget(self)  # as its transport's end does


def test_the_client_that_holds_most_is_closed_beyond_the_budget() -> None:
    budget = BufferBudget(100)
    greedy, modest, late = (FakeConnection(budget) for _ in range(3))
    greedy.hold(70)
    modest.hold(20)
    assert not greedy.reason
    late.hold(20)
    assert "this one the most" in greedy.reason
    assert (modest.reason, late.reason) == ("", "")


def test_what_a_client_has_read_meanwhile_does_not_count() -> None:
    budget = BufferBudget(100)
    first, second = FakeConnection(budget), FakeConnection(budget)
    first.hold(80)
    first.buffered = 0  # it read everything, which nobody reports
    second.hold(90)
    assert (first.reason, second.reason) == ("", "")


def test_a_client_that_left_does_not_count() -> None:
    budget = BufferBudget(100)
    first, second = FakeConnection(budget), FakeConnection(budget)
    first.hold(80)
    budget.forget(first)
    second.hold(90)
    assert not second.reason


def test_clients_are_closed_until_the_rest_fits() -> None:
    budget = BufferBudget(100)
    clients = [FakeConnection(budget) for _ in range(10)]
    for client in clients:
        client.buffered = 30
    for client in clients:
        budget.report(client)
    assert sum(not client.reason for client in clients) == 3
