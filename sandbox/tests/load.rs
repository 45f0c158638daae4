//! Test of many simultaneous jobs.

mod common;

use std::time::Instant;

use common::{PREVIEW_ASYNC, Request, Sandbox, path_of};
use serde_json::json;

const JOBS: usize = 1_000;
const CONNECTIONS: usize = 250;

#[test]
fn a_thousand_simultaneous_jobs_are_polled_to_their_end_without_an_error() {
    let sandbox = Sandbox::start(&["--credits", "5000", "--speed", "2"]);
    let body = sandbox.body("Product teaser");
    let mut wire = sandbox.connect();
    let paths: Vec<String> = (0..JOBS)
        .map(|_| {
            let answer = wire.send(&Request::new("POST", PREVIEW_ASYNC).keys().json(&body)).unwrap();
            assert_eq!(answer.status, 201);
            path_of(&answer.json())
        })
        .collect();
    let started = Instant::now();
    let polls: usize = std::thread::scope(|scope| {
        let pollers: Vec<_> = paths
            .chunks(JOBS / CONNECTIONS)
            .map(|mine| {
                let mut wire = sandbox.connect();
                scope.spawn(move || {
                    let mut open: Vec<&String> = mine.iter().collect();
                    let mut polls = 0;
                    while !open.is_empty() {
                        open.retain(|path| {
                            let answer = wire.send(&Request::new("GET", path).keys()).unwrap();
                            polls += 1;
                            assert_eq!(answer.status, 200);
                            answer.json()["status"] != json!("done")
                        });
                    }
                    polls
                })
            })
            .collect();
        pollers.into_iter().map(|poller| poller.join().unwrap()).sum()
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("{polls} polls of {JOBS} jobs over {CONNECTIONS} connections: {:.0} a second", polls as f64 / seconds);
}
