//! Sample images of the built-in templates. They count as public images although the sandbox serves them.

use url::Url;

use crate::addresses;

/// The samples, by file name.
pub const ALL: [(&str, &[u8]); 5] = [
    ("coffee.png", include_bytes!("../assets/samples/coffee.png")),
    ("garden.png", include_bytes!("../assets/samples/garden.png")),
    ("house.png", include_bytes!("../assets/samples/house.png")),
    ("shoe.png", include_bytes!("../assets/samples/shoe.png")),
    ("skyline.png", include_bytes!("../assets/samples/skyline.png")),
];

/// The sample with this name, as a PNG.
pub fn named(name: &str) -> Option<&'static [u8]> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The sample at a URL. Any port matches, since a restarted sandbox may listen on another one.
pub fn at(url: &Url) -> Option<(&'static str, &'static [u8])> {
    addresses::loopback(url)?;
    let name = url.path().strip_prefix("/samples/")?;
    ALL.iter().find(|(known, _)| *known == name).copied()
}
