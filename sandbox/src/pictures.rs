//! Decides which images of a job are drawn: where they may come from, and how much of time, bytes and pixels each may take.
//!
//! A file that is wrong, or made to do harm, becomes a card that says why, and nothing else.

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

/// An image that can be drawn, no side of it longer than 960 pixels.
#[derive(Clone, PartialEq)]
pub struct Picture(pub RgbaImage);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.0.width(), self.0.height())
    }
}

impl Picture {
    /// The picture as a URL that holds it.
    pub fn data_url(&self) -> String {
        let mut file = Cursor::new(Vec::new());
        let clear = self.0.pixels().any(|pixel| pixel.0[3] < 255);
        let (kind, written) = if clear {
            ("png", self.0.write_to(&mut file, ImageFormat::Png))
        } else {
            let opaque = DynamicImage::ImageRgba8(self.0.clone()).into_rgb8();
            ("jpeg", opaque.write_to(&mut file, ImageFormat::Jpeg))
        };
        // Writing to memory does not fail; an empty image would be shown as one that is not there.
        let bytes = written.map(|()| file.into_inner()).unwrap_or_default();
        format!("data:image/{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
    }
}

/// A picture, or why there is none, in words for its card.
pub type Outcome = Result<Arc<Picture>, String>;

/// The longest side that is kept: no template draws an image larger.
const SIDE: u32 = 960;
/// What a decoder may be given: a photo of a telephone, and not much more.
const PIXELS: u64 = 16_000_000;
/// What a decoder may allocate.
const MEMORY: u64 = 64 * 1024 * 1024;
const FILE: usize = 8 * 1024 * 1024;
/// For an answer, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

const KEPT: usize = 12;
/// After so long an image is fetched anew: whoever mends it wants to see it.
const FRESH: Duration = Duration::from_secs(30);

type Slot = Arc<OnceCell<Outcome>>;

/// The images that were drawn lately.
#[derive(Debug)]
pub struct Pictures {
    /// Whether images of this machine are fetched, and those within a `data:` URL.
    lenient: bool,
    slots: Mutex<VecDeque<(String, Instant, Slot)>>,
    /// One file at a time is decoded, so that memory is bounded.
    turn: Semaphore,
}

impl Pictures {
    /// With `lenient`, what the provider could not fetch is drawn.
    pub fn new(lenient: bool) -> Self {
        Self { lenient, slots: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// The image at a URL, and whether it was looked for just now.
    pub async fn get(&self, url: &str) -> (Outcome, bool) {
        let slot = self.slot(url);
        let mut looked = false;
        let outcome = slot
            .get_or_init(|| async {
                looked = true;
                self.look(url).await
            })
            .await;
        (outcome.clone(), looked)
    }

    /// Forgets all images.
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

    async fn look(&self, url: &str) -> Outcome {
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
            return Err("the sandbox fetches nothing from elsewhere".to_owned());
        };
        let _turn = self.turn.acquire().await.map_err(|error| error.to_string())?;
        match tokio::task::spawn_blocking(move || decode(&bytes)).await {
            Ok(decoded) => decoded.map(|picture| Arc::new(Picture(picture))),
            // A decoder that panics takes nobody with it.
            Err(_) => Err("it cannot be decoded".to_owned()),
        }
    }

    fn only_lenient(&self) -> Result<(), String> {
        if self.lenient { Ok(()) } else { Err("it is drawn only with --lenient-urls".to_owned()) }
    }
}

fn unpack(url: &str) -> Result<Bytes, String> {
    let data = DataUrl::process(url).map_err(|_| "this is no data: URL".to_owned())?;
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
        let frame = frame.map_err(|_| "its server broke off".to_owned())?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > FILE {
            return Err(format!("its file is larger than {} MB", FILE / 1024 / 1024));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}

/// Reads a file by what it holds, whatever its name and its server say; of an animation the first frame.
fn decode(bytes: &[u8]) -> Result<RgbaImage, String> {
    let broken = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => "it unpacks to more than the sandbox takes".to_owned(),
        _ => "its file is damaged or cut short".to_owned(),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits.clone());
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("its file is no PNG, JPEG, WebP or GIF".to_owned());
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
    fn the_four_formats_are_read_by_what_they_hold_and_made_small() {
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
    fn a_file_cut_short_anywhere_is_refused_or_drawn_as_far_as_it_goes_and_never_trips() {
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
