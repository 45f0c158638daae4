//! Tests of the test host.

use std::cell::RefCell;
use std::rc::Rc;

use custom_template_jobs::host::{Host, JournalCall, JournalReply, Store};
use test_host::{Hang, Method, Plan, World};

#[test]
fn the_clock_advances_only_when_no_task_is_ready() {
    let world = World::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    for ms in [30.0, 10.0, 20.0] {
        let (log, world) = (Rc::clone(&log), world.clone());
        world.clone().spawn(async move {
            world.sleep(ms).await;
            log.borrow_mut().push(world.now());
        });
    }
    world.run(world.sleep(25.0));
    assert_eq!(*log.borrow(), [10.0, 20.0]);
    world.finish();
    assert_eq!(*log.borrow(), [10.0, 20.0, 30.0]);
}

#[test]
fn a_future_that_nothing_can_wake_is_a_hang() {
    let world = World::new();
    let host = world.process();
    world.journal().plan_method(Method::Read, Plan::HANGS);
    let read = host.journal(Store::Configured, JournalCall::Read("key"));
    assert_eq!(world.try_run(read), Err(Hang { at: 0.0, tasks: 1 }));
}

#[test]
fn a_seed_explores_the_order_of_ready_tasks_and_replays_it() {
    let order = |seed| {
        let world = World::seeded(seed);
        let log = Rc::new(RefCell::new(Vec::new()));
        for number in 0..5 {
            let log = Rc::clone(&log);
            world.spawn(async move { log.borrow_mut().push(number) });
        }
        world.finish();
        log.take()
    };
    assert_eq!(order(7), order(7));
    assert!((0..20).any(|seed| order(seed) != order(7)));
}

#[test]
fn a_crash_ends_the_tasks_of_a_process_and_releases_its_locks() {
    let world = World::new();
    world.have_locks();
    let (one, other) = (world.process(), world.process());
    let holder = one.clone();
    one.spawn(async move {
        let _lock = holder.lock("name").await;
        holder.sleep(1e6).await;
    });
    let waiting = other.clone();
    let got = world.start(async move { waiting.lock("name").await });
    world.pass(10.0);
    assert!(!got.is_done());
    one.crash();
    world.pass(10.0);
    assert!(got.is_done());
    assert_eq!((one.tasks(), world.now()), (0, 20.0));
}

#[test]
fn a_journal_call_can_be_late_and_lose_its_acknowledgement() {
    let world = World::new();
    let host = world.process();
    let create = |key| host.journal(Store::Configured, JournalCall::Create(key, "entry"));
    world.journal().plan_all(Plan::works_after(100.0));
    assert!(world.run_for(50.0, create("late")).is_none());
    assert!(world.journal().is_empty());
    world.finish();
    assert_eq!(world.journal().get("late").as_deref(), Some("entry"), "it takes effect although its caller gave up");
    world.journal().plan_all(Plan::WORKS_AND_THROWS);
    assert!(world.run(create("lost")).is_err());
    assert_eq!(world.journal().get("lost").as_deref(), Some("entry"));
    world.journal().plan_all(Plan::USUAL);
    assert_eq!(world.run(create("lost")), Ok(JournalReply::Done(false)));
}
