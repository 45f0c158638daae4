//! Tests of invalid input: it is refused, and the sandbox keeps serving other requests.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{Answer, JOBS, PREVIEW_ASYNC, Request, Sandbox};
use serde_json::{Value, json};

/// Sends a body unchanged, and checks that nothing is charged and that the next call works.
fn refused(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let mut request = Request::new("POST", JOBS).keys().json(&Value::Null);
    body.clone_into(&mut request.body);
    let answer = sandbox.send(&request);
    assert_eq!(sandbox.charges(), 0);
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
    answer
}

fn with_variables(sandbox: &Sandbox, variables: Value) -> Vec<u8> {
    let mut body = sandbox.body("Product teaser");
    body["variables"] = variables;
    body.to_string().into_bytes()
}

/// The peak resident memory of the sandbox, in MB.
#[cfg(target_os = "linux")]
fn peak_memory(sandbox: &Sandbox) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_body_of_100_mb_is_refused_and_not_stored() {
    let sandbox = Sandbox::start(&[]);
    let answer = refused(&sandbox, &vec![b' '; 100_000_000]);
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
    #[cfg(target_os = "linux")]
    assert!(peak_memory(&sandbox) < 60, "{} MB", peak_memory(&sandbox));
    let mut request = Request::new("PUT", "/__sandbox/faults");
    request.body = vec![b'['; 100_000_000];
    assert_eq!(sandbox.send(&request).status, 400);
}

#[test]
fn a_body_shorter_than_its_content_length_blocks_no_other_request() {
    let sandbox = Sandbox::start(&[]);
    let mut wire = sandbox.connect();
    let head = format!("POST {JOBS} HTTP/1.1\r\nHost: {}\r\nContent-Length: 99999999999999\r\n\r\n{{", sandbox.host());
    wire.stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
    drop(wire);
    assert_eq!(sandbox.charges(), 0);
}

#[test]
fn too_many_variables_long_texts_deep_nesting_and_invalid_utf_8_are_refused_with_a_reason() {
    let sandbox = Sandbox::start(&[]);
    let many: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("v{n}"), json!({"type": "text", "properties": {"content": "a"}}))).collect();
    let long = json!({"headline": {"type": "text", "properties": {"content": "a".repeat(1 << 20)}}});
    let deep = format!("{{\"template_id\": \"x\", \"variables\": {{\"a\": {}1{}}}}}", "[".repeat(9_999), "]".repeat(9_999));
    let cases = [
        (with_variables(&sandbox, Value::Object(many)), "variables", "no more than 1000 elements"),
        (with_variables(&sandbox, long), "variables", "more than 100000 characters"),
        (deep.into_bytes(), "detail", "JSON parse error"),
        (b"{\"name\": \"\xff\xfe\"}".to_vec(), "detail", "can't decode byte 0xff"),
        (b"{\"name\": \"\\ud800\"}".to_vec(), "detail", "JSON parse error"),
        (b"{\"name\": \"a\\u0000b\"}".to_vec(), "name", "Null characters"),
        (b"\xef\xbb\xbf{}".to_vec(), "detail", "JSON parse error"),
        (b"{\"name\": 1e999}".to_vec(), "detail", "JSON parse error"),
    ];
    for (body, field, reason) in cases {
        let answer = refused(&sandbox, &body);
        let error = answer.json()[field].to_string();
        assert!(answer.status == 400 && error.contains(reason), "{field}: {error} does not contain {reason:?}");
    }
}

/// A PNG file whose header has this size and whose image data are these bytes.
fn png(width: u32, height: u32, packed: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, packed).unwrap();
    writer.write_chunk(png::chunk::IEND, &[]).unwrap();
    drop(writer);
    file
}

/// Zeros compressed with zlib, as in a PNG.
fn packed(megabytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..megabytes {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

/// Serves files by path until the test ends. `/silent` never answers; `/endless` never ends.
fn serve_files(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in server.incoming().map_while(Result::ok) {
            let files = files.clone();
            std::thread::spawn(move || {
                let mut head = vec![0; 4_096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let send =
                    |stream: &mut TcpStream, head: &str| stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
                match path.as_str() {
                    "/silent" => std::thread::sleep(Duration::from_secs(30)),
                    "/redirect" => drop(send(&mut stream, "302 Found\r\nLocation: /good.png\r\nContent-Length: 0")),
                    "/endless" => {
                        let _ = send(&mut stream, "200 OK");
                        while stream.write_all(&[0; 8_192]).is_ok() {}
                    }
                    _ => {
                        let found = files.iter().find(|(name, _)| *name == path);
                        let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
                        let _ = send(&mut stream, &format!("{status}\r\nContent-Length: {}", body.len()));
                        let _ = stream.write_all(body);
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn with_image(sandbox: &Sandbox, url: &str) -> Value {
    let mut body = sandbox.body("Product teaser");
    body["variables"]["product_image"]["properties"]["url"] = json!(url);
    body
}

#[test]
fn local_images_are_refused_and_images_on_other_hosts_become_cards() {
    let sandbox = Sandbox::start(&[]);
    for (url, place) in [("http://127.0.0.1:9/a.png", "127.0.0.1"), ("data:image/png;base64,AAAA", "a data: URL")] {
        let answer = refused(&sandbox, with_image(&sandbox, url).to_string().as_bytes());
        let words = answer.json()["variables"][0].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && words.contains(place) && words.contains("--lenient-urls"), "{words}");
    }
    let url = "https://images.example.com/shoes/red.jpg";
    let job = sandbox.post(PREVIEW_ASYNC, &with_image(&sandbox, url)).json();
    sandbox.advance(30.0);
    let page = sandbox.send(&Request::new("GET", &common::path(&sandbox.read_job(&job)["preview"]))).text();
    assert!(page.contains("red.jpg") && page.contains("Not drawn") && !page.contains("images.example.com"), "{page}");
    assert_eq!(sandbox.control("GET", "images", &Value::Null)[0]["url"], url);
}

#[test]
fn a_malicious_broken_or_missing_image_becomes_a_card_with_the_reason() {
    let mut good = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(64, 48, image::Rgb([200, 30, 30])).write_to(&mut good, image::ImageFormat::Png).unwrap();
    let good = good.into_inner();
    let origin = serve_files(vec![
        ("/good.png", good.clone()),
        ("/bomb.png", png(640, 480, &packed(600))),
        ("/30000.png", png(30_000, 30_000, &packed(859))),
        ("/short.png", good[..good.len() / 2].to_vec()),
        ("/page.png", b"<!doctype html><title>Not an image</title>".to_vec()),
        ("/picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
        ("/huge.gif", b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x01\x00\x00;".to_vec()),
        ("/nothing.png", Vec::new()),
    ]);
    let sandbox = Sandbox::start(&["--lenient-urls"]);
    let page = |url: &str| {
        let answer = sandbox.post(PREVIEW_ASYNC, &with_image(&sandbox, url));
        assert_eq!(answer.status, 201, "{url}");
        sandbox.advance(30.0);
        let job = sandbox.read_job(&answer.json());
        let page = sandbox.send(&Request::new("GET", &common::path(&job["preview"])));
        assert_eq!(page.status, 200, "{url}");
        (page.text(), job)
    };
    for (path, words) in [
        ("/30000.png", "30000 x 30000 pixels are more than the sandbox draws"),
        ("/huge.gif", "65535 x 65535 pixels are more than the sandbox draws"),
        ("/short.png", "damaged or cut short"),
        ("/page.png", "not a PNG, JPEG, WebP or GIF image"),
        ("/picture.svg", "not a PNG, JPEG, WebP or GIF image"),
        ("/nothing.png", "not a PNG, JPEG, WebP or GIF image"),
        ("/missing.png", "its server answered 404"),
        ("/redirect", "its server answered 302"),
        ("/endless", "larger than 8 MB"),
        ("/silent", "did not come within 5 seconds"),
    ] {
        let started = Instant::now();
        let (page, _) = page(&format!("{origin}{path}"));
        assert!(page.contains(words) && !page.contains("<img"), "{path}: {page}");
        assert!(started.elapsed() < Duration::from_secs(8), "{path}: {:?}", started.elapsed());
        let images = sandbox.control("GET", "images", &Value::Null);
        let last = images.as_array().unwrap().last().unwrap();
        assert!(last["url"].as_str().unwrap().ends_with(path) && last["answer"].as_str().unwrap().contains(words), "{last}");
    }
    assert!(page("http://127.0.0.1:1/a.png").0.contains("Not drawn"), "no server listens there");
    assert!(page("data:image/png;base64,AAA").0.contains("Not drawn"), "invalid base64");
    // The data beyond the last row is not decompressed.
    page(&format!("{origin}/bomb.png"));
    let (shown, job) = page(&format!("{origin}/good.png"));
    assert!(shown.contains("<img src=\"data:image/jpeg;base64,"), "{shown}");
    assert_eq!(sandbox.post(&format!("{}render/", common::path_of(&job)), &json!({})).status, 200);
    sandbox.advance(90.0);
    let video = common::path(&sandbox.read_job(&job)["video_output"]);
    assert_eq!(sandbox.send(&Request::new("GET", &video)).status, 200);
    #[cfg(target_os = "linux")]
    assert!(peak_memory(&sandbox) < 150, "{} MB", peak_memory(&sandbox));
}

#[test]
fn an_invalid_fault_rule_is_refused_and_the_old_rules_stay() {
    let sandbox = Sandbox::start(&[]);
    sandbox.faults(&json!([{"on": "get", "kind": "html"}]));
    for (rule, words) in [
        (json!({"on": "get", "kind": "html", "probabilty": 0.5}), "rule 1: unknown field `probabilty`"),
        (json!({"on": "get", "kind": "html", "ms": 5}), "rule 1: html has no field \"ms\""),
        (json!({"on": "get"}), "missing field `kind`"),
    ] {
        let rules = json!([{"on": "submit", "kind": "stuck"}, rule]);
        let answer = sandbox.send(&Request::new("PUT", "/__sandbox/faults").json(&rules));
        let error = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && error.contains(words), "{error}");
    }
    assert_eq!(sandbox.control("GET", "faults", &Value::Null)[0]["kind"], "html");
}

#[test]
fn bytes_that_are_not_http_end_only_their_own_connection() {
    let sandbox = Sandbox::start(&[]);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1_000_000));
    for noise in [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), b"GET / HTTP/9.9\r\n\r\n", long.as_bytes()] {
        let mut wire = sandbox.connect();
        // The sandbox may close the connection before everything is sent.
        let _ = wire.stream.write_all(noise);
        if let Ok(answer) = wire.receive(false) {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
}
