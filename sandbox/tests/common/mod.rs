//! A sandbox process, and an HTTP client over plain sockets that shows every byte.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub const JOBS: &str = "/api/custom_template_jobs/";
pub const PREVIEW: &str = "/api/custom_template_jobs/preview/";
pub const PREVIEW_ASYNC: &str = "/api/custom_template_jobs/preview_async/";

/// A running sandbox, killed at the end of the test.
pub struct Sandbox {
    child: Child,
    pub port: u16,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sandbox {
    pub fn start(flags: &[&str]) -> Self {
        Self::try_start(flags).unwrap_or_else(|words| panic!("{words}"))
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// The single line on standard error, if it does not start.
    pub fn try_start(flags: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(["--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the sandbox starts");
        let mut errors = child.stderr.take().expect("piped");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        if let Some(port) = line.trim().strip_prefix("listening on http://127.0.0.1:") {
            std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::stderr()));
            return Ok(Self { port: port.parse().expect("a port"), child });
        }
        let mut words = String::new();
        errors.read_to_string(&mut words).expect("words");
        assert!(!child.wait().expect("an end").success() && line.is_empty() && words.lines().count() == 1, "{line}{words}");
        Err(words)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn connect(&self) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Wire { stream, host: self.host() }
    }

    pub fn send(&self, request: &Request) -> Answer {
        self.connect().send(request).expect("an answer")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(&Request::new("GET", path).keys())
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&Request::new("POST", path).keys().json(body))
    }

    pub fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::new(method, &format!("/__sandbox/{path}"));
        let answer = self.send(&if body.is_null() { request } else { request.json(body) });
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub fn advance(&self, seconds: f64) {
        self.control("POST", "clock", &json!({"advance_seconds": seconds}));
    }

    pub fn faults(&self, rules: &Value) {
        self.control("PUT", "faults", rules);
    }

    pub fn charges(&self) -> usize {
        self.control("GET", "ledger", &Value::Null)["charges"].as_array().expect("a list").len()
    }

    /// A request body for a template, with its defaults.
    pub fn body(&self, template: &str) -> Value {
        let templates = self.control("GET", "templates", &Value::Null);
        let template =
            templates.as_array().expect("a list").iter().find(|known| known["name"] == template).expect("the template");
        let mut variables = json!({});
        for variable in template["variables"].as_array().expect("a list") {
            let property = match variable["type"].as_str().expect("a type") {
                "text" => "content",
                "avatar" => "avatar_id",
                "voiceover" => "voice_id",
                _ => "url",
            };
            variables[variable["name"].as_str().expect("a name")] =
                json!({"type": variable["type"], "properties": {property: variable["default"]}});
        }
        json!({"template_id": template["template_id"], "variables": variables})
    }

    /// Creates a job. Returns the job of the answer.
    pub fn make(&self, path: &str, template: &str) -> Value {
        let answer = self.post(path, &self.body(template));
        assert!(answer.status == 200 || answer.status == 201, "{}", answer.text());
        answer.json()
    }

    pub fn read_job(&self, job: &Value) -> Value {
        self.get(&path_of(job)).json()
    }
}

pub fn path_of(job: &Value) -> String {
    format!("{JOBS}{}/", job["id"].as_str().expect("an id"))
}

/// The path of a URL.
pub fn path(url: &Value) -> String {
    let url = url.as_str().expect("a URL");
    let rest = url.strip_prefix("http://").expect("http");
    rest[rest.find('/').expect("a path")..].to_owned()
}

#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn keys(self) -> Self {
        self.header("X-API-ID", "sandbox").header("X-API-KEY", "sandbox")
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.path)];
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            lines.push(format!("Host: {host}"));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if self.method != "GET" {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        let mut bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

/// The reason why an answer is incomplete.
#[derive(Debug, PartialEq)]
pub enum Broken {
    /// The connection closed before the end of the head.
    Closed { received: usize },
    /// The connection was reset.
    Reset,
    /// The read timed out.
    Silent { received: usize },
    /// The body ended early.
    Short { head: Answer },
}

pub struct Wire {
    pub stream: TcpStream,
    pub host: String,
}

impl Wire {
    pub fn send(&mut self, request: &Request) -> Result<Answer, Broken> {
        self.stream.write_all(&request.bytes(&self.host)).expect("sends");
        self.receive(request.method == "HEAD")
    }

    pub fn receive(&mut self, head_only: bool) -> Result<Answer, Broken> {
        let mut received = Vec::new();
        let mut answer: Option<(Answer, usize, usize)> = None;
        let mut chunk = vec![0; 65536];
        loop {
            if answer.is_none()
                && let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&received[..end]).into_owned();
                let mut lines = head.lines();
                let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
                let headers: Vec<(String, String)> = lines
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                let parsed = Answer { status: status.parse().expect("a number"), headers, body: Vec::new() };
                let length = parsed.header("content-length").map_or(0, |length| length.parse().expect("a number"));
                answer = Some((parsed, end + 4, if head_only { 0 } else { length }));
            }
            if let Some((parsed, start, length)) = &answer
                && received.len() >= start + length
            {
                let body = received[*start..].to_vec();
                return Ok(Answer { body, ..parsed.clone() });
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    return Err(match answer {
                        Some((head, start, _)) => {
                            Broken::Short { head: Answer { body: received[start..].to_vec(), ..head } }
                        }
                        None => Broken::Closed { received: received.len() },
                    });
                }
                Ok(count) => received.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Broken::Reset),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Broken::Silent { received: received.len() });
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
