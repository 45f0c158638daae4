//! Waits that meet what they should not: whatever a server, a clock or a caller says, jobs are looked at within bounds, and
//! every wait ends, and ends right.

use super::*;
use crate::poll::FLOOR;

/// Chance that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        for shift in [13_i32, -7, 17] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        self.0 % sides
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The ids of so many jobs.
fn ids(count: usize) -> Vec<String> {
    (0..count).map(|at| ID.replacen("11111111", &format!("{:08}", at + 1), 1)).collect()
}

/// Which of these jobs a request is for.
fn id_in(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().expect("an id")
}

fn of(state: &str, id: &str) -> Reaction {
    (LATENCY, answer(200, &state.replace(ID, id)))
}

/// Begins a wait for each of the jobs; how each ended, as it does.
fn waiting(client: &Client<Scripted>, host: &Scripted, ids: &[String], options: PollOptions) -> Log {
    let log = Log::default();
    for id in ids {
        let (call, ended) = (client.poll(id, None, options), Rc::clone(&log));
        host.spawn(async move {
            let end = call.await.map_or_else(|failure| name(&failure), |_| "done".into());
            ended.borrow_mut().push(end);
        });
    }
    log
}

const LATENCY: f64 = 100.0;
const DONE: &str = r#","video_output":"https://v""#;

/// A client whose server is asked at a time: `answers` is told when, and for which job.
fn client_at(answers: impl Fn(f64, &str) -> Reaction + 'static) -> (Client<Scripted>, Scripted) {
    let clock: Rc<RefCell<Option<Scripted>>> = Rc::default();
    let now = Rc::clone(&clock);
    let (client, host) = client_of(move |request| {
        let now = now.borrow().as_ref().map_or(0.0, Host::now);
        answers(now, id_in(request.url.own().as_str().expect("a URL")))
    });
    *clock.borrow_mut() = Some(host.clone());
    (client, host)
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn whatever_a_job_says_of_itself_it_is_looked_at_within_bounds_until_it_ends() {
    let progress = [
        "null",
        r#""0.5""#,
        r#""50""#,
        r#""NaN""#,
        r#""-3""#,
        r#""half""#,
        "0",
        "0.4",
        "0.9999",
        "1",
        "40",
        "99",
        "100",
        "101",
        "1e300",
        "-1",
        "5e-324",
        "true",
        "[]",
        "{}",
    ];
    let status = ["running", "running", "running", "in_queue", "pending", "a new word", ""];
    let touched = [r#""2001-01-01T00:00:00Z""#, r#""2999-01-01T00:00:00Z""#, r#""yesterday""#, "17", "null", "[]"];
    let numbers = [None, Some(0.0), Some(-1.0), Some(1.0), Some(60_000.0), Some(1e300)];
    for seed in 1..=300 {
        let mut dice = Dice(seed * 7_919);
        let end = 1_000.0 * (10 + dice.below(400)) as f64;
        let options = PollOptions {
            expected_ms: dice.of(&numbers),
            max_interval: dice.of(&numbers),
            attentive: dice.below(2) == 0,
            ..video()
        };
        let dice = RefCell::new(dice);
        let (client, host) = client_at(move |now, id| {
            if now >= end {
                return of(&job("done", DONE), id);
            }
            let dice = &mut dice.borrow_mut();
            let more = format!(r#","progress":{},"updated_at":{}"#, dice.of(&progress), dice.of(&touched));
            of(&job(dice.of(&status), &more), id)
        });
        host.run(client.poll(ID, None, options)).unwrap_or_else(|failure| panic!("seed {seed}: {}", failure.0));
        let times = host.times();
        for gap in gaps(&times) {
            assert!((FLOOR..=30_001.0 + LATENCY).contains(&gap), "seed {seed}: {gap} ms of {times:?}");
        }
        assert_idle(&client, &host);
    }
}

#[test]
fn neither_updated_at_nor_the_wall_clock_moves_a_look() {
    let looks = |touched: &'static str, jump: f64| {
        let (client, host) = client_at(move |now, id| {
            let state = job("running", &format!(r#","progress":{},"updated_at":{touched}"#, (now / 200_000.0).min(0.99)));
            of(&if now < 200_000.0 { state } else { job("done", DONE) }, id)
        });
        host.later(50_000.0, move |host| host.set_wall(jump));
        host.run(client.poll(ID, None, video())).expect("done");
        host.times()
    };
    let usual = looks(r#""2026-02-03T10:24:11.482913Z""#, 0.0);
    assert!(usual.len() > 5, "{usual:?}");
    for touched in ["null", r#""1970-01-01T00:00:00Z""#, r#""9999-12-31T23:59:59Z""#, r#""soon""#, "-1e300"] {
        for jump in [0.0, 31_536_000_000.0, -31_536_000_000.0] {
            assert_eq!(looks(touched, jump), usual, "{touched}, the wall clock jumps by {jump} ms");
        }
    }
}

#[test]
fn a_machine_that_slept_looks_once_at_each_job_and_counts_only_the_time_that_it_was_awake() {
    const HOURS: f64 = 8.0 * 3_600_000.0;
    let ids = ids(20);
    let options = PollOptions { timeout: Some(1_800_000.0), ..video() };
    // The odd ones end while it sleeps.
    let (client, host) = client_at(|now, id| {
        let ended = now > HOURS && id[..8].parse::<u32>().is_ok_and(|number| number % 2 == 1);
        of(&if ended { job("done", DONE) } else { job("running", "") }, id)
    });
    let log = waiting(&client, &host, &ids, options);
    host.run(host.wait(60_000.0));
    host.jump(HOURS);
    let woken = host.now();
    host.run(host.wait(1_400.0));
    let after: Vec<String> =
        host.requests().into_iter().zip(host.times()).filter(|(_, at)| *at >= woken).map(|(path, _)| path).collect();
    for id in &ids {
        assert_eq!(after.iter().filter(|path| path.contains(id.as_str())).count(), 1, "{id}: {after:?}");
    }
    assert_eq!(*log.borrow(), vec!["done"; 10], "what ended meanwhile, and nothing else");
    host.finish();
    assert_eq!(log.borrow()[10..], vec!["PollTimeoutError"; 10]);
    let awake = host.now() - HOURS;
    assert!((1_770_000.0..=1_800_001.0).contains(&awake), "{awake} ms: less than one distance between two looks is missing");
    assert_idle(&client, &host);
}

#[test]
fn a_time_to_wait_that_is_over_ends_at_once_and_one_without_end_is_what_a_timer_can_be_given() {
    let slow = || client_at(|_, id| of(&job("running", ""), id));
    for over in [0.0, -0.0, -1.0, -200_000.0, -1e300] {
        let (client, host) = slow();
        // Beside another wait, whose time that is none of.
        let other = [OTHER.to_owned()];
        let log = waiting(&client, &host, &other, PollOptions { timeout: Some(60_000.0), ..video() });
        host.run(host.wait(10.0));
        let begun = host.now();
        let failure = host.run(client.poll(ID, None, PollOptions { timeout: Some(over), ..video() })).expect_err("over");
        assert_eq!(name(&failure), "PollTimeoutError", "{over}");
        assert!(host.now() - begun < 1.0 && host.requests().len() == 1, "{over}: {} ms", host.now());
        host.finish();
        assert_eq!(*log.borrow(), ["PollTimeoutError"]);
        assert!((host.now() - 60_000.0).abs() < 1.0, "{over}: the other ended at {} ms", host.now());
    }
    for (given, expected) in [(2_147_483_648.0, 2_147_483_647.0), (1e300, 2_147_483_647.0)] {
        let (client, host) = slow();
        // Where there is no network, nothing but the end happens in these 24 days.
        host.set_env(Env { visible: true, online: false });
        let failure = host.run(client.poll(ID, None, PollOptions { timeout: Some(given), ..video() })).expect_err("over");
        assert_eq!(name(&failure), "PollTimeoutError", "{given}");
        assert!((host.now() - expected).abs() < 1.0, "{given}: {} ms", host.now());
    }
    // What JSON has no word for is as good as not given.
    for nothing in [f64::NAN, f64::INFINITY] {
        let (client, host) = slow();
        host.run(client.poll(ID, None, PollOptions { timeout: Some(nothing), ..video() })).expect_err("over");
        assert!((host.now() - 1_800_000.0).abs() < 1.0, "{nothing}: {} ms", host.now());
    }
}

#[test]
fn what_a_server_asks_for_is_a_floor_and_never_the_end_of_a_wait() {
    for status in [429, 503] {
        for asked in [31_536_000_000.0, 1e300, 59_999.0, 7_000.0, 0.0, -5.0] {
            let refusal = move || Reply::Answered { status, retry_after: Some(asked), body: Body::Json(json("{}")) };
            // For five minutes,
            let (client, host) =
                client_at(move |now, id| if now < 300_000.0 { (LATENCY, refusal()) } else { of(&job("done", DONE), id) });
            host.run(client.poll(ID, None, video())).unwrap_or_else(|failure| panic!("{asked}: {}", failure.0));
            let floor = asked.clamp(1_000.0, 60_000.0);
            for gap in gaps(&host.times()) {
                assert!(
                    (floor + LATENCY - 1e-6..=floor + 8_000.0 + LATENCY + 1e-6).contains(&gap),
                    "{status}, {asked}: {gap}"
                );
            }
            // and for ever.
            let (client, host) = client_at(move |_, _| (LATENCY, refusal()));
            let failure = host.run(client.poll(ID, None, video())).expect_err("never");
            assert_eq!(name(&failure), "PollTimeoutError", "{status}, {asked}");
            assert!((host.now() - 1_800_000.0).abs() < 1e-3, "{status}, {asked}: {}", host.now());
        }
    }
}

#[test]
fn too_many_requests_slow_every_job_of_the_client() {
    let ids = ids(30);
    let (client, host) = client_at(|now, id| {
        let body = Body::Json(json("{}"));
        let refusal = Reply::Answered { status: 429, retry_after: None, body };
        if now < 60_000.0 { (LATENCY, refusal) } else { of(&job("done", DONE), id) }
    });
    let log = waiting(&client, &host, &ids, video());
    host.finish();
    assert_eq!(*log.borrow(), vec!["done"; 30]);
    let times = host.times();
    for refused in times.iter().filter(|at| **at < 60_000.0).map(|at| at + LATENCY) {
        let after = times.iter().filter(|at| (refused + 1.0..refused + FLOOR - 1.0).contains(*at)).count();
        assert_eq!(after, 0, "looks after a refusal at {refused}: {times:?}");
    }
}

#[test]
fn after_an_outage_no_more_looks_are_under_way_than_may_be_and_every_job_has_its_turn() {
    let ids = ids(50);
    for seed in 1..=20 {
        let mut dice = Dice(seed * 104_729);
        let (down, up) = (5_000.0 + dice.below(10_000) as f64, 100_000.0 + dice.below(100_000) as f64);
        let (client, host) =
            client_at(move |now, id| of(&if now < up { job("running", "") } else { job("done", DONE) }, id));
        host.later(down, |host| host.set_env(Env { visible: true, online: false }));
        host.later(up, |host| host.set_env(Env { visible: true, online: true }));
        let log = waiting(&client, &host, &ids, video());
        host.finish();
        assert_eq!(*log.borrow(), vec!["done"; 50], "seed {seed}");
        let times = host.times();
        for at in &times {
            let under_way = times.iter().filter(|other| (at - LATENCY + 1e-6..=*at).contains(*other)).count();
            assert!(under_way <= 6, "seed {seed}: {under_way} at {at}");
        }
        let paths = host.requests();
        let after: Vec<&str> = paths.iter().zip(&times).filter(|(_, at)| **at >= up).map(|(path, _)| id_in(path)).collect();
        assert_eq!(after.len(), 50, "seed {seed}: one look at each");
        let waited = times.last().expect("looks") - up;
        assert!(waited <= LATENCY * 50.0 / 6.0, "seed {seed}: the last had its turn after {waited} ms");
    }
}

#[test]
fn no_job_is_looked_at_twice_before_another_that_was_due_sooner() {
    // More than can be looked at in time: 6 looks of 2 seconds are 3 a second, for 60 jobs that want one every 8.
    let ids = ids(60);
    let (client, host) = client_at(|_, id| (2_000.0, answer(200, &job("running", "").replace(ID, id))));
    waiting(&client, &host, &ids, PollOptions { timeout: Some(300_000.0), ..video() });
    host.finish();
    let paths = host.requests();
    let counts = ids.iter().map(|id| paths.iter().filter(|path| path.contains(id.as_str())).count());
    let (least, most) = (counts.clone().min().expect("jobs"), counts.max().expect("jobs"));
    assert!(least > 5 && most - least <= 1, "from {least} to {most} looks");
}

#[test]
fn jobs_that_are_due_together_are_looked_at_after_one_sleep() {
    let ids = ids(200);
    let (client, host) = client_at(|_, id| (1.0, answer(200, &job("running", "").replace(ID, id))));
    for id in &ids {
        let begun = json(&job("pending", "").replace(ID, id));
        let call = client.poll(id, Some(&begun), video());
        host.spawn(async move {
            let _ = call.await;
        });
    }
    host.run(host.wait(6_000.0));
    assert_eq!(host.requests().len(), 200, "{:?}", host.times());
    assert!(host.sleeps() <= 3, "{} sleeps", host.sleeps());
}

#[test]
fn numbers_that_begin_anew_find_every_task() {
    for before in 0..10 {
        let (client, host) = busy();
        client.0.borrow_mut().youngest = u32::MAX - before;
        let cast = Cast::new(&client, &host);
        cast.watch(ID, |_| ());
        cast.watch(OTHER, |_| ());
        cast.watch(ID, |_| ());
        cast.run(None, client.submit(&request(), &ChargeOptions::default()));
        cast.finish();
        assert!((0..4).all(|number| cast.ended(number)), "{before} before the end");
        assert!(client.0.borrow().youngest < 100, "they did not begin anew");
        settle_down(&client, &host);
    }
}
