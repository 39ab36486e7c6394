"""Results in order, few items in flight."""

import gc
import threading
import weakref

import pytest

from fmnist_edge_runtime.ahead import map_ahead


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(map_ahead(str, range(100), workers)) == [str(number) for number in range(100)]


@pytest.mark.parametrize(("workers", "taken_at_first"), [(1, 1), (3, 4)])
def test_few_items_are_taken_ahead(workers, taken_at_first):
    taken = []
    results = map_ahead(abs, (taken.append(number) or number for number in range(100)), workers)
    assert taken == []
    next(results)
    assert len(taken) == taken_at_first
    next(results)
    assert len(taken) == taken_at_first + 1
    results.close()


def test_items_are_taken_by_the_caller_and_worked_on_by_others():
    def items():
        for _ in range(10):
            yield threading.get_ident()

    here = threading.get_ident()
    results = list(map_ahead(lambda taker: (taker, threading.get_ident()), items(), 2))
    assert {taker for taker, _ in results} == {here}
    assert here not in {worker for _, worker in results}


def test_one_worker_is_the_caller():
    assert set(map_ahead(lambda _: threading.get_ident(), range(10), 1)) == {threading.get_ident()}


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_in_its_turn(workers):
    results = map_ahead(lambda number: 1 // (5 - number), range(10), workers)
    assert len([next(results) for _ in range(5)]) == 5
    with pytest.raises(ZeroDivisionError):
        next(results)


def no_more_threads(_):
    raise RuntimeError("can't start new thread")


def test_the_caller_works_where_no_thread_can_be_started(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    assert list(map_ahead(str, range(20), 4)) == [str(number) for number in range(20)]


def test_an_error_comes_in_its_turn_where_no_thread_can_be_started(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    results = map_ahead(lambda number: 1 // (5 - number), range(10), 3)
    assert [next(results) for _ in range(5)] == [0, 0, 0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_interrupt_waits_for_no_turn_where_no_thread_can_be_started(monkeypatch):
    def work(number):
        done.append(number)
        if number == 1:
            raise KeyboardInterrupt
        return number

    done = []
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    with pytest.raises(KeyboardInterrupt):
        next(map_ahead(work, range(10), 5))
    assert done == [0, 1]


def test_an_error_keeps_no_item_alive():
    class Item:
        pass

    def fail(_):
        raise ZeroDivisionError

    item = Item()
    alive = weakref.ref(item)
    results = map_ahead(fail, [item], 2)
    del item
    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert alive() is None
    finally:
        gc.enable()


def test_where_one_thread_of_several_can_be_started_each_item_is_worked_on_once(monkeypatch):
    start, begun, done = threading.Thread.start, [], []
    second_is_done = threading.Event()

    def start_one(thread):
        if begun:
            no_more_threads(thread)
        begun.append(thread)
        start(thread)

    def work(number):
        if number == 0:
            assert second_is_done.wait(30)  # so that the only thread is busy when the second is given
        done.append(number)
        if number == 1:
            second_is_done.set()
        return number

    monkeypatch.setattr(threading.Thread, "start", start_one)
    assert list(map_ahead(work, range(20), 3)) == list(range(20))
    assert len(begun) == 1
    assert sorted(done) == list(range(20))
