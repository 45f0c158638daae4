//! Shapes, pictures and text drawn on a planar YUV 4:2:0 frame.

use std::collections::HashMap;

use fontdue::{Font, FontSettings, Metrics};
use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};
use rusty_h264_common::YuvFrame;

/// A colour as luma and chroma samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Color {
    y: f32,
    u: f32,
    v: f32,
}

impl Color {
    /// Converts `0xRRGGBB` by BT.709 in video range.
    pub fn new(rgb: u32) -> Self {
        let part = |shift: u32| f32::from((rgb >> shift) as u8) / 255.0;
        let (red, green, blue) = (part(16), part(8), part(0));
        let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        Self { y: 16.0 + 219.0 * luma, u: 128.0 + 224.0 * (blue - luma) / 1.8556, v: 128.0 + 224.0 * (red - luma) / 1.5748 }
    }

    /// A colour between this one (`part` 0) and another (`part` 1).
    #[must_use]
    pub fn mix(self, other: Self, part: f32) -> Self {
        let mix = |a: f32, b: f32| a + (b - a) * part;
        Self { y: mix(self.y, other.y), u: mix(self.u, other.u), v: mix(self.v, other.v) }
    }
}

/// A rectangle in pixels. It may extend beyond the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

fn toward(from: u8, to: f32, part: f32) -> u8 {
    let from = f32::from(from);
    (from + (to - from) * part + 0.5) as u8
}

/// Blends a colour into each pixel of an area. `paint` returns the colour and the opacity (0 to 1) of a pixel.
fn blend(frame: &mut YuvFrame, area: Area, paint: impl Fn(usize, usize) -> (Color, f32)) {
    let clamp = |value: f32, limit: usize| (value.max(0.0) as usize).min(limit);
    // Whole 2x2 blocks: the chroma planes have one sample per block.
    let left = clamp(area.x.floor(), frame.width) & !1;
    let top = clamp(area.y.floor(), frame.height) & !1;
    let right = clamp((area.x + area.w).ceil() + 1.0, frame.width) & !1;
    let bottom = clamp((area.y + area.h).ceil() + 1.0, frame.height) & !1;
    let (width, half) = (frame.width, frame.width / 2);
    for y in (top..bottom).step_by(2) {
        for x in (left..right).step_by(2) {
            let (mut sum, mut u, mut v) = (0.0, 0.0, 0.0);
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (color, part) = paint(x + dx, y + dy);
                if part > 0.0 {
                    sum += part;
                    u += color.u * part;
                    v += color.v * part;
                    if let Some(sample) = frame.y.get_mut((y + dy) * width + x + dx) {
                        *sample = toward(*sample, color.y, part);
                    }
                }
            }
            if sum > 0.0 {
                let place = y / 2 * half + x / 2;
                if let (Some(blue), Some(red)) = (frame.u.get_mut(place), frame.v.get_mut(place)) {
                    *blue = toward(*blue, u / sum, sum / 4.0);
                    *red = toward(*red, v / sum, sum / 4.0);
                }
            }
        }
    }
}

/// The part of a pixel that lies within a rectangle with rounded corners.
fn within(area: Area, radius: f32) -> impl Fn(usize, usize) -> f32 {
    let radius = radius.min(area.w / 2.0).min(area.h / 2.0);
    let (cx, cy) = (area.x + area.w / 2.0, area.y + area.h / 2.0);
    let (hw, hh) = (area.w / 2.0 - radius, area.h / 2.0 - radius);
    move |x, y| {
        let dx = (x as f32 + 0.5 - cx).abs() - hw;
        let dy = (y as f32 + 0.5 - cy).abs() - hh;
        let outside = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
        (0.5 - outside).clamp(0.0, 1.0)
    }
}

/// Fills a rectangle with rounded corners.
pub fn fill(frame: &mut YuvFrame, area: Area, radius: f32, color: Color, alpha: f32) {
    let cover = within(area, radius);
    blend(frame, area, |x, y| (color, cover(x, y) * alpha));
}

/// Fills a rectangle with rounded corners with a picture, cropped around its centre to the aspect ratio of the rectangle.
pub fn paste(frame: &mut YuvFrame, area: Area, radius: f32, picture: &RgbaImage) {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let scale = (area.w / width).max(area.h / height);
    if !scale.is_finite() || area.w < 1.0 || area.h < 1.0 {
        return;
    }
    let (w, h) = ((area.w / scale).min(width).max(1.0), (area.h / scale).min(height).max(1.0));
    let middle = imageops::crop_imm(picture, ((width - w) / 2.0) as u32, ((height - h) / 2.0) as u32, w as u32, h as u32);
    let fitted = imageops::resize(&middle.to_image(), area.w.round() as u32, area.h.round() as u32, FilterType::Triangle);
    let cover = within(area, radius);
    blend(frame, area, |x, y| {
        let (dx, dy) = ((x as f32 - area.x).round(), (y as f32 - area.y).round());
        let last = |side: u32| side.saturating_sub(1);
        // An edge pixel lies partly outside the picture.
        let place = ((dx.max(0.0) as u32).min(last(fitted.width())), (dy.max(0.0) as u32).min(last(fitted.height())));
        match fitted.get_pixel_checked(place.0, place.1) {
            Some(&Rgba([red, green, blue, alpha])) => {
                let rgb = u32::from_be_bytes([0, red, green, blue]);
                (Color::new(rgb), cover(x, y) * f32::from(alpha) / 255.0)
            }
            None => (Color::new(0), 0.0),
        }
    });
}

/// Fills the part of `area` below a line. The line has height `left` at the left edge and `right` at the right edge.
pub fn slope(frame: &mut YuvFrame, area: Area, left: f32, right: f32, color: Color) {
    blend(frame, area, |x, y| {
        let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
        if x < area.x || x > area.x + area.w || y > area.y + area.h {
            return (color, 0.0);
        }
        let edge = left + (right - left) * (x - area.x) / area.w;
        (color, (y - edge + 0.5).clamp(0.0, 1.0))
    });
}

/// Fills the frame with a gradient from the upper left to the lower right, and a glow in the upper right.
pub fn background(frame: &mut YuvFrame, from: Color, to: Color, glow: Color) {
    let (w, h) = (frame.width as f32, frame.height as f32);
    let at = |x: f32, y: f32| {
        let part = (0.3 * x / w + 0.7 * y / h).clamp(0.0, 1.0);
        let (dx, dy) = ((x / w - 0.9) / 1.1, (y / h) / 0.75);
        let near = (1.0 - (dx * dx + dy * dy).sqrt()).max(0.0);
        from.mix(to, part).mix(glow, near * near * 0.3)
    };
    // Noise of one step hides the banding of the gradient.
    let mut noise = crate::random::Random::new(&[0xba5e]);
    let width = frame.width;
    for (place, sample) in frame.y.iter_mut().enumerate() {
        let color = at((place % width) as f32, (place / width) as f32);
        *sample = (color.y + noise.fraction() as f32) as u8;
    }
    let half = width / 2;
    for (place, (u, v)) in frame.u.iter_mut().zip(&mut frame.v).enumerate() {
        let color = at((place % half * 2) as f32, (place / half * 2) as f32);
        *u = (color.u + 0.5) as u8;
        *v = (color.v + 0.5) as u8;
    }
}

/// One weight of the typeface, with a cache of rasterized glyphs.
pub struct Face {
    font: Font,
    glyphs: HashMap<(char, u32), (Metrics, Vec<u8>)>,
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Face").finish_non_exhaustive()
    }
}

impl Face {
    /// Reads an OpenType file.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let font = Font::from_bytes(bytes, FontSettings::default())?;
        Ok(Self { font, glyphs: HashMap::new() })
    }

    /// Width of `text` at `size` pixels.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|c| self.font.metrics(c, size).advance_width).sum()
    }

    /// As much of `text` as fits into `width` at `size`, with an ellipsis if it is cut; `None` if no character fits.
    pub fn cut(&self, text: &str, size: f32, width: f32) -> Option<String> {
        if self.width(text, size) <= width {
            return Some(text.to_owned());
        }
        let mut kept = text;
        while let Some((last, _)) = kept.char_indices().next_back() {
            kept = kept.get(..last).unwrap_or_default().trim_end();
            let cut = format!("{kept}…");
            if self.width(&cut, size) <= width {
                return Some(cut).filter(|_| !kept.is_empty());
            }
        }
        None
    }

    /// Breaks `text` into lines of at most `width` at `size`. Longer words are split.
    pub fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer, size) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for c in word.chars() {
                line.push(c);
                if self.width(&line, size) > width && line.chars().count() > 1 {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// Draws `text`. `place` is the left end of its baseline.
    pub fn draw(&mut self, frame: &mut YuvFrame, text: &str, place: (f32, f32), size: f32, color: Color, alpha: f32) {
        let (mut x, y) = place;
        for c in text.chars() {
            let font = &self.font;
            let (metrics, bitmap) = self.glyphs.entry((c, size.to_bits())).or_insert_with(|| font.rasterize(c, size));
            let left = (x + metrics.bounds.xmin).round();
            let top = (y - metrics.bounds.ymin - metrics.height as f32).round();
            let (w, h) = (metrics.width as f32, metrics.height as f32);
            blend(frame, Area { x: left, y: top, w, h }, |px, py| {
                let (dx, dy) = (px as f32 - left, py as f32 - top);
                if dx < 0.0 || dy < 0.0 || dx >= w || dy >= h {
                    return (color, 0.0);
                }
                let place = dy as usize * metrics.width + dx as usize;
                (color, bitmap.get(place).map_or(0.0, |cover| f32::from(*cover) / 255.0 * alpha))
            });
            x += metrics.advance_width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_beyond_the_frame_are_clipped() {
        let mut frame = YuvFrame::black(64, 64);
        let color = Color::new(0x00ff_ffff);
        for radius in [0.0, 8.0] {
            fill(&mut frame, Area { x: -50.0, y: -50.0, w: 500.0, h: 500.0 }, radius, color, 1.0);
            assert!(frame.is_valid());
            assert!(frame.y.iter().all(|sample| *sample == 235));
            assert!(frame.u.iter().all(|sample| *sample == 128));
            frame = YuvFrame::black(64, 64);
        }
    }

    #[test]
    fn a_picture_is_cropped_to_its_area_and_its_transparent_pixels_change_nothing() {
        let mut frame = YuvFrame::black(64, 64);
        let red = Color::new(0x00ff_0000);
        let picture = RgbaImage::from_fn(300, 100, |x, _| match x {
            0..100 | 200.. => Rgba([255; 4]),
            _ => Rgba([255, 0, 0, 255]),
        });
        paste(&mut frame, Area { x: 16.0, y: 16.0, w: 32.0, h: 32.0 }, 0.0, &picture);
        let at = |x: usize, y: usize| (frame.y[y * 64 + x], frame.v[y / 2 * 32 + x / 2]);
        for (x, y) in [(20, 20), (32, 32), (44, 44)] {
            assert!(at(x, y).0.abs_diff(red.y as u8) < 3 && at(x, y).1.abs_diff(red.v as u8) < 3, "{x} {y}: {:?}", at(x, y));
        }
        assert_eq!((at(10, 32), at(54, 32)), ((0, 128), (0, 128)));
        let mut clear = YuvFrame::black(64, 64);
        paste(&mut clear, Area { x: 0.0, y: 0.0, w: 64.0, h: 64.0 }, 8.0, &RgbaImage::new(1, 1));
        assert!(clear.y.iter().all(|sample| *sample == 0));
    }

    #[test]
    fn long_words_are_split_and_every_line_fits() {
        let face = Face::new(include_bytes!("../assets/Inter-Bold.otf")).unwrap();
        let text = format!("one two {} three", "w".repeat(100));
        let lines = face.wrap(&text, 20.0, 200.0);
        assert!(lines.iter().all(|line| face.width(line, 20.0) <= 200.0), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
    }
    #[test]
    fn a_text_of_any_length_is_cut_to_fit() {
        let face = Face::new(include_bytes!("../assets/Inter-Bold.otf")).unwrap();
        assert_eq!(face.cut("short", 20.0, 200.0).as_deref(), Some("short"));
        let text = "a word after another ".repeat(50);
        for width in [40.0, 60.0, 200.0, 1_000.0] {
            let cut = face.cut(&text, 20.0, width).unwrap();
            assert!(face.width(&cut, 20.0) <= width && cut.ends_with('…'), "{width}: {cut}");
            assert!(text.starts_with(cut.trim_end_matches('…')) && !cut.contains(" …"), "{width}: {cut}");
        }
        assert_eq!(face.cut(&text, 20.0, 3.0), None);
    }
}
