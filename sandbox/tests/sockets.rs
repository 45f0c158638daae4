//! Tests over real sockets: flags, faults of the connection, CORS, hosts, the relay and static files.

mod common;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Broken, JOBS, PREVIEW, PREVIEW_ASYNC, Request, Sandbox, path, path_of};
use serde_json::{Value, json};

#[test]
fn a_port_in_use_is_reported_with_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--port", &port]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("--port") && words.contains(&port), "{words}");
    assert!(output.stdout.is_empty());
}

#[test]
fn invalid_flags_are_refused_by_name() {
    for (flags, word) in [
        (["--speed", "0"], "--speed"),
        (["--key", "nocolon"], "--key"),
        (["--templates", "/nonexistent.json"], "--templates"),
        (["--www", "/nonexistent"], "--www"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--port", "0"]).args(flags).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && words.contains(word), "{words}");
    }
}

#[test]
fn errors_have_their_documented_and_assumed_forms() {
    let sandbox = Sandbox::start(&[]);
    let missing = sandbox.send(&Request::new("GET", "/api/remaining_credits/"));
    assert_eq!(missing.status, 401);
    assert_eq!(missing.json(), json!({"detail": "Authentication credentials were not provided."}));
    let unknown = sandbox.get("/api/nothing/");
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("text/html; charset=utf-8")));
    let slash = sandbox.get("/api/remaining_credits");
    assert_eq!((slash.status, slash.header("location")), (301, Some("/api/remaining_credits/")));
    let fields = sandbox.post(JOBS, &json!({"template_id": "x", "name": "a".repeat(256)})).json();
    assert_eq!(
        fields,
        json!({
            "name": ["Ensure this field has no more than 255 characters."],
            "template_id": ["Must be a valid UUID."],
            "variables": ["This field is required."],
        })
    );
    let relay = sandbox.get("/relay/api/remaining_credits/");
    assert_eq!(relay.status, 404, "the relay needs --www");
}

#[test]
fn a_body_of_ten_megabytes_gets_a_413() {
    let sandbox = Sandbox::start(&[]);
    let mut request = Request::new("POST", JOBS).keys().json(&Value::Null);
    request.body = vec![b' '; 10_000_000];
    let answer = sandbox.send(&request);
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
    let mut deep = Request::new("POST", JOBS).keys().json(&Value::Null);
    deep.body = vec![b'['; 1_000_000];
    assert_eq!(sandbox.send(&deep).status, 400);
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
}

#[test]
fn a_job_goes_from_preview_to_a_video_that_supports_ranges() {
    let sandbox = Sandbox::start(&[]);
    let job = sandbox.make(PREVIEW_ASYNC, "Product teaser");
    assert_eq!(job["status"], "pending");
    sandbox.advance(30.0);
    let ready = sandbox.read_job(&job);
    let page = sandbox.send(&Request::new("GET", &path(&ready["preview"])));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Mornings, made simple"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'; img-src http://127.0.0.1:"), "{policy}");
    let render = sandbox.send(&Request::new("POST", &format!("{}render/", path_of(&job))).keys());
    assert_eq!(render.status, 200);
    sandbox.advance(60.0);
    let done = sandbox.read_job(&job);
    assert_eq!((&done["status"], &done["credits_used"]), (&json!("done"), &json!(5)));

    let video = path(&done["video_output"]);
    let whole = sandbox.send(&Request::new("GET", &video));
    assert_eq!(
        (whole.status, whole.header("content-type"), whole.header("accept-ranges")),
        (200, Some("video/mp4"), Some("bytes"))
    );
    assert_eq!(&whole.body[4..8], b"ftyp");
    let total = whole.body.len();
    let head = sandbox.send(&Request::new("HEAD", &video));
    assert_eq!(head.header("content-length"), Some(total.to_string().as_str()));
    let part = sandbox.send(&Request::new("GET", &video).header("Range", "bytes=10-19"));
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[10..20]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 10-19/{total}").as_str()));
    let beyond = sandbox.send(&Request::new("GET", &video).header("Range", &format!("bytes={total}-")));
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(format!("bytes */{total}").as_str())));
}

#[test]
fn the_blocking_preview_waits_for_the_virtual_clock() {
    let sandbox = Sandbox::start(&["--speed", "0.01"]);
    let mut wire = sandbox.connect();
    let request = Request::new("POST", PREVIEW).keys().json(&sandbox.body("Product teaser"));
    let host = sandbox.host();
    wire.stream.write_all(&request.bytes(&host)).unwrap();
    while sandbox.charges() == 0 {}
    sandbox.advance(3_600.0);
    let answer = wire.receive(false).unwrap();
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("done")));
}

#[test]
fn a_client_that_leaves_the_blocking_preview_is_charged() {
    let sandbox = Sandbox::start(&["--speed", "0.01"]);
    let request = Request::new("POST", PREVIEW).keys().json(&sandbox.body("Product teaser"));
    let mut wire = sandbox.connect();
    wire.stream.write_all(&request.bytes(&sandbox.host())).unwrap();
    while sandbox.charges() == 0 {}
    drop(wire);
    sandbox.advance(3_600.0);
    let jobs = sandbox.control("GET", "jobs", &Value::Null);
    assert_eq!((&jobs[0]["status"], &jobs[0]["credits_used"]), (&json!("done"), &json!(1)));
}

#[test]
fn connection_faults_close_reset_stall_or_delay_real_connections() {
    let sandbox = Sandbox::start(&[]);
    let body = sandbox.body("Product teaser");
    let submit = |rule: Value| {
        sandbox.faults(&json!([rule]));
        let mut wire = sandbox.connect();
        // After this answer the connection is a reused one.
        assert_eq!(wire.send(&Request::new("GET", "/api/remaining_credits/").keys()).unwrap().status, 200);
        wire.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let before = sandbox.charges();
        let answer = wire.send(&Request::new("POST", JOBS).keys().json(&body));
        (answer, sandbox.charges() - before)
    };
    assert_eq!(submit(json!({"on": "submit", "kind": "drop_before_commit"})), (Err(Broken::Closed { received: 0 }), 0));
    assert_eq!(submit(json!({"on": "submit", "kind": "drop_after_commit"})), (Err(Broken::Closed { received: 0 }), 1));
    assert_eq!(submit(json!({"on": "submit", "kind": "drop_after_commit", "reset": true})), (Err(Broken::Reset), 1));
    let (cut, charged) = submit(json!({"on": "submit", "kind": "truncate", "bytes": 60}));
    let Err(Broken::Short { head }) = cut else { panic!("{cut:?}") };
    assert_eq!((head.status, head.body.len(), charged), (201, 60, 1));
    assert!(head.text().starts_with("{\"id\":\""));
    let (stalled, charged) = submit(json!({"on": "submit", "kind": "stall", "bytes": 5}));
    assert!(matches!(stalled, Err(Broken::Silent { received }) if received > 100), "{stalled:?}");
    assert_eq!(charged, 1);
    let started = Instant::now();
    let (dripped, charged) = submit(json!({"on": "submit", "kind": "drip", "bytes": 100, "ms": 50}));
    assert_eq!((dripped.unwrap().json()["status"].as_str(), charged), (Some("pending"), 1));
    assert!(started.elapsed() >= Duration::from_millis(300), "more than 600 bytes are seven pieces");
    let (page, charged) = submit(json!({"on": "submit", "kind": "status_after_commit", "status": 504}));
    assert_eq!((page.unwrap().status, charged), (504, 1));
    let (late, charged) = submit(json!({"on": "submit", "kind": "delay", "ms": 60_000}));
    assert!(matches!(late, Err(Broken::Silent { received: 0 })), "{late:?}");
    assert_eq!(charged, 1);
    let (fine, charged) = submit(json!({"on": "render", "kind": "drop_before_commit"}));
    assert_eq!((fine.unwrap().status, charged), (201, 1));
    assert_eq!(sandbox.control("GET", "faults", &Value::Null)[0]["struck"], 0);
}

#[test]
fn a_reset_ends_waiting_answers() {
    let sandbox = Sandbox::start(&["--speed", "0.01"]);
    let mut wire = sandbox.connect();
    let request = Request::new("POST", PREVIEW).keys().json(&sandbox.body("Product teaser"));
    wire.stream.write_all(&request.bytes(&sandbox.host())).unwrap();
    while sandbox.charges() == 0 {}
    sandbox.control("POST", "reset", &json!({"credits": 9}));
    assert_eq!(wire.receive(false), Err(Broken::Closed { received: 0 }));
    assert_eq!(sandbox.get("/api/remaining_credits/").json(), json!({"remaining_credits": 9.0}));
    assert_eq!(sandbox.control("GET", "jobs", &Value::Null), json!([]));
}

#[test]
fn the_control_interface_refuses_pages_of_other_origins_and_rebound_names() {
    let sandbox = Sandbox::start(&["--cors", "http://127.0.0.1:5173", "--cors", "*"]);
    let ledger = || Request::new("GET", "/__sandbox/ledger");
    let own = format!("http://{}", sandbox.host());
    assert_eq!(sandbox.send(&ledger()).status, 200);
    assert_eq!(sandbox.send(&ledger().header("Origin", &own)).status, 200);
    assert_eq!(sandbox.send(&ledger().header("Origin", "http://127.0.0.1:5173")).status, 200);
    assert_eq!(sandbox.send(&ledger().header("Origin", "https://evil.example")).status, 403);
    assert_eq!(sandbox.send(&ledger().header("Origin", "null")).status, 403);
    assert_eq!(sandbox.send(&ledger().header("Sec-Fetch-Site", "cross-site")).status, 403);
    assert_eq!(sandbox.send(&ledger().header("Host", "evil.example:80")).status, 403);
    let rebound = Request::new("POST", "/__sandbox/reset").header("Host", &format!("evil.example:{}", sandbox.port));
    assert_eq!(sandbox.send(&rebound).status, 403);
}

#[test]
fn invalid_control_bodies_are_refused_with_a_reason() {
    let sandbox = Sandbox::start(&[]);
    for (method, path, body, words) in [
        ("POST", "clock", json!({}), "advance_seconds"),
        ("POST", "clock", json!({"advance_seconds": -1}), "0 to"),
        ("POST", "clock", json!({"advance_seconds": 1, "x": 1}), "unknown field `x`"),
        ("POST", "reset", json!({"credits": -1}), "credits"),
        ("PUT", "faults", json!([{"on": "get", "kind": "boom"}]), "unknown variant `boom`"),
        ("PUT", "faults", json!({}), "array"),
    ] {
        let answer = sandbox.send(&Request::new(method, &format!("/__sandbox/{path}")).json(&body));
        assert_eq!(answer.status, 400, "{method} {path} {body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{detail:?} does not contain {words:?}");
    }
    assert_eq!(sandbox.send(&Request::new("GET", "/__sandbox/nothing")).status, 404);
    assert_eq!(sandbox.send(&Request::new("GET", "/__sandbox/reset")).status, 405);
    let console = sandbox.send(&Request::new("GET", "/__sandbox/"));
    assert_eq!((console.status, console.header("x-frame-options")), (200, Some("DENY")));
}

#[test]
fn the_relay_forwards_the_seven_calls_for_pages_without_a_key() {
    let directory = www();
    let sandbox = Sandbox::start(&["--www", directory.to_str().unwrap(), "--key", "real:secret"]);
    let own = format!("http://{}", sandbox.host());
    let relayed = |method: &str, path: &str| Request::new(method, &format!("/relay{path}"));
    let credits = sandbox.send(&relayed("GET", "/api/remaining_credits/").header("Origin", &own));
    assert_eq!((credits.status, credits.json()), (200, json!({"remaining_credits": 500.0})));
    let keyed = relayed("GET", "/api/remaining_credits/").header("X-API-KEY", "wrong");
    assert_eq!(sandbox.send(&keyed).status, 200, "the relay ignores the keys of a page");
    for request in [
        relayed("GET", "/api/remaining_credits/").header("Origin", "https://evil.example"),
        relayed("POST", "/api/custom_template_jobs/").header("Origin", "null"),
        relayed("POST", "/api/custom_template_jobs/").header("Sec-Fetch-Site", "cross-site"),
        relayed("GET", "/api/remaining_credits/").header("Host", "evil.example"),
    ] {
        assert_eq!(sandbox.send(&request).status, 403);
    }
    assert_eq!(sandbox.send(&relayed("GET", "/api/personas/")).status, 404);
    assert_eq!(sandbox.send(&relayed("GET", "/api/custom_template_jobs/")).status, 405);
    assert_eq!(sandbox.send(&relayed("DELETE", "/api/custom_template_jobs/")).status, 405);
    let body = sandbox.body("Product teaser");
    let submit = || relayed("POST", JOBS).json(&body).header("Idempotency-Key", "op-1").header("Origin", &own);
    let first = sandbox.send(&submit());
    assert_eq!(first.status, 201);
    assert_eq!(sandbox.send(&submit()).json(), first.json(), "the relay deduplicates a replay");
    assert_eq!(sandbox.charges(), 1);
    let log = sandbox.control("GET", "requests", &Value::Null);
    assert!(!log.to_string().contains("secret"));
    assert_eq!(log["requests"][0]["via"], "relay");
    std::fs::remove_dir_all(directory).unwrap();
}

fn www() -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("sandbox-www-{}-{:?}", std::process::id(), Instant::now()));
    std::fs::create_dir_all(directory.join("first")).unwrap();
    std::fs::create_dir_all(directory.join("second")).unwrap();
    for (file, content) in [
        ("first/index.html", "<h1>first</h1>"),
        ("first/a.wasm", "\0asm"),
        ("second/index.html", "<h1>second</h1>"),
        ("second/b.mjs", "export {}"),
        (".hidden", "no"),
        ("secret.txt", "no"),
    ] {
        std::fs::write(directory.join(file), content).unwrap();
    }
    directory
}

#[test]
fn files_are_served_with_their_types_and_the_first_directory_wins() {
    let directory = www();
    let (first, second) = (directory.join("first"), directory.join("second"));
    let sandbox = Sandbox::start(&["--www", first.to_str().unwrap(), "--www", second.to_str().unwrap()]);
    let get = |path: &str| sandbox.send(&Request::new("GET", path));
    assert_eq!(get("/").text(), "<h1>first</h1>");
    assert_eq!(get("/").header("cache-control"), Some("no-cache"));
    assert_eq!(get("/a.wasm").header("content-type"), Some("application/wasm"));
    assert_eq!(get("/b.mjs?v=1").header("content-type"), Some("text/javascript; charset=utf-8"));
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/.hidden", "/nothing.js"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    assert_eq!(sandbox.send(&Request::new("POST", "/")).status, 405);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn no_path_names_a_file_outside_its_directory_or_a_hidden_one() {
    let directory = www();
    let first = directory.join("first");
    std::fs::create_dir(first.join(".git")).unwrap();
    std::fs::write(first.join(".git/config"), "no").unwrap();
    std::fs::write(first.join("b c.js"), "export {}").unwrap();
    let sandbox = Sandbox::start(&["--www", first.to_str().unwrap()]);
    let get = |path: &str| sandbox.send(&Request::new("GET", path));
    for path in [
        "/../x",
        "/%2e%2e/secret.txt",
        "/a/..%2fsecret.txt",
        "/.git/config",
        "/%2egit/config",
        "/.git",
        "/a%00",
        "/a%5cb",
        "/%zz",
        "/c:/x",
    ] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    assert_eq!(get("/b%20c.js").text(), "export {}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_only_inside_its_directory() {
    let directory = www();
    let first = directory.join("first");
    for page in ["linked", "inner"] {
        std::fs::create_dir(first.join(page)).unwrap();
    }
    std::os::unix::fs::symlink(directory.join("secret.txt"), first.join("linked/index.html")).unwrap();
    std::os::unix::fs::symlink(&directory, first.join("out")).unwrap();
    std::os::unix::fs::symlink(first.join("index.html"), first.join("inner/index.html")).unwrap();
    let sandbox = Sandbox::start(&["--www", first.to_str().unwrap()]);
    let get = |path: &str| sandbox.send(&Request::new("GET", path));
    for path in ["/linked/", "/linked/index.html", "/out/secret.txt", "/out/"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    assert_eq!(get("/inner/").text(), "<h1>first</h1>");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn no_path_redirects_to_another_host() {
    let directory = www();
    let sandbox = Sandbox::start(&["--www", directory.to_str().unwrap()]);
    let location = |path: &str| sandbox.send(&Request::new("GET", path)).header("location").map(str::to_owned);
    assert_eq!(location("/first"), Some("/first/".to_owned()));
    for path in ["//first", "///first", "/%2ffirst", "/\\first", "http://evil.example/first"] {
        let location = location(path).unwrap_or_default();
        assert!(location.is_empty() || location == "/first/", "{path} redirects to {location}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// A page that rebinds its own name to this machine could otherwise make jobs, and send webhooks to any loopback port.
#[test]
fn only_requests_to_local_or_listed_hosts_are_answered() {
    let sandbox = Sandbox::start(&["--allow-host", "sandbox.test"]);
    let with_host = |path: &str, host: &str| sandbox.send(&Request::new("GET", path).keys().header("Host", host)).status;
    let port = sandbox.port;
    for host in [
        sandbox.host(),
        format!("localhost:{port}"),
        "LOCALHOST:5173".to_owned(),
        "app.localhost".to_owned(),
        format!("[::1]:{port}"),
        "127.0.0.2".to_owned(),
        format!("sandbox.test:{port}"),
        "sandbox.test".to_owned(),
    ] {
        assert_eq!(with_host("/api/remaining_credits/", &host), 200, "{host}");
    }
    let body = sandbox.body("Product teaser");
    for host in [
        format!("evil.example:{port}"),
        "evil.example".to_owned(),
        "localhost.evil.example".to_owned(),
        "evil.example:80@localhost".to_owned(),
        "sandbox.test.evil.example".to_owned(),
        "10.0.0.1".to_owned(),
        String::new(),
    ] {
        let answer = sandbox.send(&Request::new("POST", JOBS).keys().json(&body).header("Host", &host));
        assert_eq!(answer.status, 403, "{host:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("--allow-host"), "{}", answer.text());
        for path in ["/", "/__sandbox/jobs", "/samples/shoe.png"] {
            assert_eq!(with_host(path, &host), 403, "{host:?} {path}");
        }
    }
    assert_eq!(sandbox.charges(), 0);
}

#[test]
fn urls_in_answers_begin_with_the_allowed_name_that_the_client_used() {
    let sandbox = Sandbox::start(&["--allow-host", "sandbox.test"]);
    let page = |host: &str| {
        let request = Request::new("GET", "/__sandbox/openapi.json").header("Host", host);
        sandbox.send(&request).json()["servers"][0]["url"].clone()
    };
    for host in [format!("sandbox.test:{}", sandbox.port), "sandbox.test".to_owned(), format!("localhost:{}", sandbox.port)]
    {
        assert_eq!(page(&host), format!("http://{host}"));
    }
}

#[test]
fn only_listed_origins_may_call_the_api_from_a_page() {
    let sandbox = Sandbox::start(&["--cors", "http://localhost:5173"]);
    let preflight = |origin: &str| {
        let request = Request::new("OPTIONS", JOBS).header("Origin", origin);
        sandbox.send(&request.header("Access-Control-Request-Method", "POST"))
    };
    let allowed = preflight("http://localhost:5173");
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some("http://localhost:5173")));
    let headers: Vec<&str> = allowed.header("access-control-allow-headers").unwrap().split(',').collect();
    assert_eq!(headers, ["x-api-id", "x-api-key", "content-type", "idempotency-key"]);
    assert_eq!(preflight("https://evil.example").header("access-control-allow-origin"), None);
    let answer = sandbox.send(&Request::new("GET", "/api/remaining_credits/").header("Origin", "http://localhost:5173"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, Some("http://localhost:5173")));
    let closed = Sandbox::start(&[]);
    let answer = closed.send(&Request::new("GET", "/api/remaining_credits/").keys().header("Origin", "http://a.example"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}
