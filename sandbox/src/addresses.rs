//! Checks for loopback and private addresses, and the HTTP requests that the sandbox sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderValue, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

/// The loopback addresses of a URL; `None` for any other host.
pub fn loopback(url: &Url) -> Option<Vec<IpAddr>> {
    match url.host()? {
        // A server on `localhost` may listen on either address.
        Host::Domain("localhost") => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Host::Ipv4(address) if address.is_loopback() => Some(vec![address.into()]),
        Host::Ipv6(address) if address.is_loopback() => Some(vec![address.into()]),
        _ => None,
    }
}

/// Whether only this machine or its network can fetch the URL.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        // `data:`, `blob:` and `file:` URLs have no host that a server could connect to.
        None => true,
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end))
        }
        Some(Host::Ipv4(address)) => is_private(address),
        Some(Host::Ipv6(address)) => match address.to_ipv4_mapped() {
            Some(address) => is_private(address),
            None => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
        },
    }
}

fn is_private(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        // The shared address space of RFC 6598.
        || (first == 100 && (64..128).contains(&second))
}

/// Sends one request over plain HTTP to one of the addresses. Returns as soon as the head of the response is there; the
/// body is still to be read. Redirects are not followed.
pub async fn send(
    url: &Url,
    addresses: &[IpAddr],
    request: hyper::http::request::Builder,
    body: Bytes,
) -> Result<hyper::Response<Incoming>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target = format!("{target}?{query}");
    }
    let authority = HeaderValue::try_from(url.authority()).map_err(|error| text(&error))?;
    let request: Request<Full<Bytes>> =
        request.uri(target).header(header::HOST, authority).body(Full::new(body)).map_err(|error| text(&error))?;
    sender.send_request(request).await.map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_private_urls_are_recognised_as_local() {
        let local = |url: &str| is_local(&Url::parse(url).unwrap());
        for url in [
            "data:image/png;base64,AAAA",
            "file:///etc/passwd",
            "blob:http://example.com/1",
            "http://localhost:3000/a.png",
            "http://LOCALHOST/a.png",
            "http://app.localhost/a.png",
            "http://localhost./a.png",
            "http://printer.local/a.png",
            "http://metadata.google.internal/",
            "http://127.9.9.9/a.png",
            "http://2130706433/a.png",
            "http://0x7f.1/a.png",
            "http://0.0.0.0/a.png",
            "http://10.0.0.1/",
            "http://172.31.0.1/",
            "http://192.168.1.1/",
            "http://169.254.169.254/latest/",
            "http://100.100.0.1/",
            "http://[::1]/a.png",
            "http://[::ffff:127.0.0.1]/a.png",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
        ] {
            assert!(local(url), "{url}");
        }
        for url in [
            "https://example.com/a.png",
            "http://93.184.216.34/a.png",
            "https://localhost.example.com/a.png",
            "https://notlocal/a.png",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
            "http://[2606:4700::1111]/a.png",
        ] {
            assert!(!local(url), "{url}");
        }
    }
}
