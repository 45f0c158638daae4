//! Decides which images the built-in templates use. They stand for images on the web, though this machine serves them.

use url::Url;

use crate::addresses;

/// Every sample, by the name in its address.
pub const ALL: [(&str, &[u8]); 5] = [
    ("coffee.png", include_bytes!("../assets/samples/coffee.png")),
    ("garden.png", include_bytes!("../assets/samples/garden.png")),
    ("house.png", include_bytes!("../assets/samples/house.png")),
    ("shoe.png", include_bytes!("../assets/samples/shoe.png")),
    ("skyline.png", include_bytes!("../assets/samples/skyline.png")),
];

/// The image of that name, as a PNG.
pub fn named(name: &str) -> Option<&'static [u8]> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The sample that a URL leads to, whatever the port: a job may outlive the sandbox that it was given to.
pub fn at(url: &Url) -> Option<(&'static str, &'static [u8])> {
    addresses::loopback(url)?;
    let name = url.path().strip_prefix("/samples/")?;
    ALL.iter().find(|(known, _)| *known == name).copied()
}
