from multismolvla.nodes.watchdog import CHECK_PERIOD_S, LIMIT_S, Watchdog

CHECKS = round(LIMIT_S / CHECK_PERIOD_S)


def test_work_that_hangs_ends_the_process_once_the_limit_is_reached(capsys):
    ended = []
    watchdog = Watchdog("publishing", end=lambda: ended.append(True))
    with watchdog:
        assert not any(watchdog.check() for _ in range(CHECKS))
        assert not ended
        assert watchdog.check()
    assert ended == [True]
    assert "publishing has hung" in capsys.readouterr().err


def test_work_that_comes_back_and_idleness_are_let_be():
    ended = []
    watchdog = Watchdog("publishing", end=lambda: ended.append(True))
    for _ in range(3 * CHECKS):
        with watchdog:
            watchdog.check()
    assert not any(watchdog.check() for _ in range(3 * CHECKS))
    assert not ended
