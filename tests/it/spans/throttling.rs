//! A trace backend that asks to be left alone for a while holds up nothing, whatever transports are compiled in.

use std::time::Duration;

use crate::support::peer::{Mood, Peer};
use crate::support::process::own_threads;
use crate::support::program::{CALLS, Program, observe, patient};
use crate::support::wait_for;

#[test]
fn a_backend_that_throttles_does_not_hold_up_the_end() {
    let peer = Peer::http(Mood::Throttles(6));
    observe(&patient(peer.addr, "http/protobuf"), 0..=0, || {
        let program = Program::start();
        program.call(CALLS);
        let flushed = program.flush(Duration::from_millis(500)).expect_err("nothing was taken");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, CALLS));
        let spans = program.shut_down(Duration::from_millis(500));
        assert_eq!((spans.exported, spans.dropped, spans.said), (0, CALLS, CALLS));
        wait_for("the threads are gone", Duration::from_secs(30), || own_threads().is_empty().then_some(()));
    });
}
