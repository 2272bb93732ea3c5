"""Images that decode at the same time share one allowance of memory."""

import threading

from hashcli.hashmodel.memory import MemoryBudget, decoding_budget, machine_memory


def test_no_more_is_used_at_once_than_there_is() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    used: list[int] = []
    most = 0

    def work(size: int) -> None:
        nonlocal most
        with budget.reserved(size):
            with lock:
                used.append(size)
                most = max(most, sum(used))
            threading.Event().wait(0.002)
            with lock:
                used.remove(size)

    threads = [threading.Thread(target=work, args=(size,)) for size in (60, 30, 50, 10, 40) * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 60 <= most <= 100


def test_more_than_there_is_is_given_to_one_alone() -> None:
    budget = MemoryBudget(100)
    with budget.reserved(5000):
        waiting = threading.Thread(target=lambda: budget.reserved(1).__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_an_error_gives_the_memory_back() -> None:
    budget = MemoryBudget(100)
    for _ in range(3):
        try:
            with budget.reserved(100):
                raise ValueError
        except ValueError:
            pass
    with budget.reserved(100):
        pass


def test_the_budget_is_a_part_of_the_machine() -> None:
    assert decoding_budget() is decoding_budget()
    assert 0 < decoding_budget().size <= max(machine_memory() // 4, 256 << 20)
