"""Which signals stop work where it is safe."""

from __future__ import annotations

import signal

import pytest

from resrepro.runtime.signals import Interrupted, Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # SIGHUP may be ignored here, under nohup
    try:
        with Signals() as signals:
            signals.check()
            signal.raise_signal(number)
            assert signals.received() == number and signal.getsignal(number) is signal.SIG_DFL
            with pytest.raises(Interrupted):
                signals.check()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_a_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert not signals.received()
    finally:
        signal.signal(signal.SIGHUP, before)
