//! Sizes of files as they are transferred: raw, gzip -9 and brotli -11.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    pub raw: usize,
    pub gzip: usize,
    pub brotli: usize,
}

impl Size {
    pub fn of(bytes: &[u8]) -> Result<Self> {
        Ok(Self { raw: bytes.len(), gzip: gzip(bytes)?, brotli: brotli(bytes)? })
    }
}

impl std::ops::Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { raw: self.raw + other.raw, gzip: self.gzip + other.gzip, brotli: self.brotli + other.brotli }
    }
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).context("gzip failed")?;
    Ok(encoder.finish().context("gzip failed")?.len())
}

fn brotli(bytes: &[u8]) -> Result<usize> {
    let params = BrotliEncoderParams { quality: 11, lgwin: 22, size_hint: bytes.len(), ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &*bytes, &mut compressed, &params).context("brotli failed")?;
    Ok(compressed.len())
}

/// A table with one row for each part.
pub fn table(rows: &[(&str, Size)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}  {:>8}  {:>8}  {:>8}\n", "bytes", "raw", "gzip", "brotli");
    for (name, size) in rows {
        let line = format!("{name:width$}  {:>8}  {:>8}  {:>8}\n", size.raw, size.gzip, size.brotli);
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitive_data_is_compressed() {
        let size = Size::of(&b"custom template jobs ".repeat(1_000)).expect("it can be measured");
        assert_eq!(size.raw, 21_000);
        assert!(size.brotli < size.gzip && size.gzip < 300, "{size:?}");
        assert!(table(&[("part", size)]).contains("21000"));
    }
}
