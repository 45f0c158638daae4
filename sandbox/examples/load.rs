//! A load generator: requests one path over several connections, and prints the number of 200 answers per second.
//!
//! `cargo xtask bench load` uses it for the sandbox and for Prism. It uses little CPU time, which leaves the cores to them.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [host, path, connections, seconds] = words.as_slice() else {
        eprintln!("usage: load HOST:PORT PATH CONNECTIONS SECONDS");
        return ExitCode::FAILURE;
    };
    let (Ok(connections), Ok(seconds)) = (connections.parse::<usize>(), seconds.parse()) else {
        eprintln!("load: CONNECTIONS and SECONDS must be whole numbers");
        return ExitCode::FAILURE;
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-API-ID: sandbox\r\nX-API-KEY: sandbox\r\nAccept: application/json\r\n\r\n"
    );
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let answers: io::Result<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(|| run(host, request.as_bytes(), end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))).sum()
    });
    match answers {
        Ok(answers) => {
            println!("{:.1}", answers as f64 / begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Uses one connection until `end`. Sends the next request after each answer. Returns the number of answers.
fn run(host: &str, request: &[u8], end: Instant) -> io::Result<u64> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut answers = 0;
    while Instant::now() < end {
        stream.write_all(request)?;
        let mut filled = 0;
        while !whole(buffer.get(..filled).unwrap_or_default())? {
            let count = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += count;
        }
        answers += 1;
    }
    Ok(answers)
}

/// Whether the answer is complete. Any other status than 200 is an error.
fn whole(answer: &[u8]) -> io::Result<bool> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let lines = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
    if !lines.starts_with("http/1.1 200 ") {
        return Err(io::Error::other(lines));
    }
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize =
        length.and_then(|length| length.trim().parse().ok()).ok_or_else(|| io::Error::other(lines.clone()))?;
    Ok(answer.len() >= head + 4 + length)
}
