//! Images of jobs: allowed sources, limits of time, bytes and pixels, and a cache.
//!
//! A broken or malicious file only yields a card with the reason why the image is not drawn.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header;
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use data_url::DataUrl;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbaImage};
use tokio::sync::{OnceCell, Semaphore};
use url::Url;

use crate::{addresses, samples};

/// A decoded image. No side is longer than 960 pixels.
#[derive(Clone, PartialEq)]
pub struct Picture(pub RgbaImage);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.0.width(), self.0.height())
    }
}

impl Picture {
    /// The picture as a `data:` URL.
    pub fn data_url(&self) -> String {
        let mut file = Cursor::new(Vec::new());
        let clear = self.0.pixels().any(|pixel| pixel.0[3] < 255);
        let (kind, written) = if clear {
            ("png", self.0.write_to(&mut file, ImageFormat::Png))
        } else {
            let opaque = DynamicImage::ImageRgba8(self.0.clone()).into_rgb8();
            ("jpeg", opaque.write_to(&mut file, ImageFormat::Jpeg))
        };
        // Writing to memory does not fail. If it did, the image would show as missing.
        let bytes = written.map(|()| file.into_inner()).unwrap_or_default();
        format!("data:image/{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
    }
}

/// A picture, or the reason why there is none, as text for its card.
pub type Outcome = Result<Arc<Picture>, String>;

/// The longest side in pixels; no template draws an image larger.
const SIDE: u32 = 960;
/// The most pixels of an image, a little more than a phone's photo has.
const PIXELS: u64 = 16_000_000;
/// The most bytes that a decoder may allocate.
const MEMORY: u64 = 64 * 1024 * 1024;
/// The most bytes of a file.
const FILE: usize = 8 * 1024 * 1024;
/// The time limit of a fetch, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of cached images.
const KEPT: usize = 12;
/// The age at which a cached image is fetched again, so that a corrected image shows up.
const FRESH: Duration = Duration::from_secs(30);

type Slot = Arc<OnceCell<Outcome>>;

/// The cache of decoded images.
#[derive(Debug)]
pub struct Pictures {
    /// Whether images at loopback addresses and in `data:` URLs are drawn.
    lenient: bool,
    slots: Mutex<VecDeque<(String, Instant, Slot)>>,
    /// Limits decoding to one file at a time, which bounds the memory.
    turn: Semaphore,
}

impl Pictures {
    /// An empty cache. With `lenient`, images at loopback addresses and in `data:` URLs are drawn.
    pub fn new(lenient: bool) -> Self {
        Self { lenient, slots: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// The image at a URL, and whether this call fetched it.
    pub async fn get(&self, url: &str) -> (Outcome, bool) {
        let slot = self.slot(url);
        let mut fetched = false;
        let outcome = slot
            .get_or_init(|| async {
                fetched = true;
                self.load(url).await
            })
            .await;
        (outcome.clone(), fetched)
    }

    /// Empties the cache.
    pub fn clear(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn slot(&self, url: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(_, since, _)| since.elapsed() < FRESH);
        if let Some((_, _, slot)) = slots.iter().find(|(known, _, _)| known == url) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        slots.push_back((url.to_owned(), Instant::now(), Arc::clone(&slot)));
        if slots.len() > KEPT {
            slots.pop_front();
        }
        slot
    }

    async fn load(&self, url: &str) -> Outcome {
        let url = Url::parse(url).map_err(|_| "this is not a URL".to_owned())?;
        let bytes = if let Some((_, sample)) = samples::at(&url) {
            Bytes::from_static(sample)
        } else if url.scheme() == "data" {
            self.only_lenient()?;
            unpack(url.as_str())?
        } else if let Some(addresses) = addresses::loopback(&url).filter(|_| url.scheme() == "http") {
            self.only_lenient()?;
            match tokio::time::timeout(TIMEOUT, fetch(&url, &addresses)).await {
                Ok(fetched) => fetched?,
                Err(_) => return Err(format!("it did not come within {} seconds", TIMEOUT.as_secs())),
            }
        } else {
            return Err("the sandbox fetches nothing from other hosts".to_owned());
        };
        let _turn = self.turn.acquire().await.map_err(|error| error.to_string())?;
        match tokio::task::spawn_blocking(move || decode(&bytes)).await {
            Ok(decoded) => decoded.map(|picture| Arc::new(Picture(picture))),
            // The decoder panicked.
            Err(_) => Err("it cannot be decoded".to_owned()),
        }
    }

    fn only_lenient(&self) -> Result<(), String> {
        if self.lenient { Ok(()) } else { Err("it is drawn only with --lenient-urls".to_owned()) }
    }
}

fn unpack(url: &str) -> Result<Bytes, String> {
    let data = DataUrl::process(url).map_err(|_| "this is not a data: URL".to_owned())?;
    let (bytes, _) = data.decode_to_vec().map_err(|_| "its base64 is wrong".to_owned())?;
    Ok(bytes.into())
}

async fn fetch(url: &Url, addresses: &[std::net::IpAddr]) -> Result<Bytes, String> {
    let request = hyper::Request::get("/").header(header::ACCEPT, "image/*");
    let answer = addresses::send(url, addresses, request, Bytes::new()).await?;
    match answer.status().as_u16() {
        200 => read(answer.into_body()).await,
        status => Err(format!("its server answered {status}")),
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, String> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "its server closed the connection".to_owned())?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > FILE {
            return Err(format!("its file is larger than {} MB", FILE / 1024 / 1024));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}

/// Decodes a file by its content, whatever its name and media type say. Of an animation, decodes the first frame.
fn decode(bytes: &[u8]) -> Result<RgbaImage, String> {
    let broken = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => "it unpacks to more than the sandbox allows".to_owned(),
        _ => "its file is damaged or cut short".to_owned(),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits.clone());
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("its file is not a PNG, JPEG, WebP or GIF image".to_owned());
    }
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS || decoder.total_bytes() > MEMORY {
        return Err(format!("{width} x {height} pixels are more than the sandbox draws"));
    }
    decoder.set_limits(limits).map_err(broken)?;
    let turned = decoder.orientation();
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if width.max(height) > SIDE {
        image = image.thumbnail(SIDE, SIDE);
    }
    if let Ok(turned) = turned {
        image.apply_orientation(turned);
    }
    Ok(image.into_rgba8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(width: u32, height: u32, format: image::ImageFormat) -> Vec<u8> {
        let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn the_four_formats_are_decoded_by_content_and_scaled_down() {
        use image::ImageFormat::{Gif, Jpeg, Png, WebP};
        for format in [Png, Jpeg, WebP, Gif] {
            let picture = decode(&file(1200, 400, format)).unwrap();
            assert_eq!(picture.dimensions(), (960, 320), "{format:?}");
        }
        assert_eq!(decode(&file(3, 5, Png)).unwrap().dimensions(), (3, 5));
        for (_, sample) in samples::ALL {
            assert!(decode(sample).is_ok());
        }
    }

    #[test]
    fn a_truncated_file_never_panics() {
        use image::ImageFormat::{Gif, Jpeg, Png, WebP};
        for format in [Png, Jpeg, WebP, Gif] {
            let whole = file(64, 64, format);
            for length in 0..whole.len().min(600) {
                let _ = decode(&whole[..length]);
            }
            assert!(decode(&whole[..20]).is_err(), "{format:?}");
        }
    }
}
