//! Videos of jobs: drawing, encoding, and a cache that renders each video once, in the background.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use muxide::api::{MuxerBuilder, VideoCodec};
use rusty_h264_common::YuvFrame;
use rusty_h264_encoder::{Encoder, EncoderConfig, Preset};
use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use crate::canvas::{Area, Color, Face, background, fill, paste, slope};
use crate::h264;
use crate::storyboard::{Scene, Storyboard, kind_words};

/// Frames per second: enough for a running time code, and fast to render.
const RATE: f64 = 10.0;
/// Seconds between key frames.
const SEEK: f64 = 5.0;
/// The duration of a text's entrance, in seconds.
const ENTER: f64 = 0.5;

/// The most cached videos.
const CACHE_FILES: usize = 32;
/// The most bytes of cached videos.
const CACHE_BYTES: usize = 128 * 1024 * 1024;
/// The most videos that are rendered ahead at a time. Further videos are rendered on their first request.
const AHEAD: usize = 4;

const WHITE: u32 = 0x00ff_ffff;
const BLACK: u32 = 0;

type Slot = Arc<OnceCell<Result<Bytes, String>>>;

/// The cache of videos. Concurrent requests for a video share one rendering.
#[derive(Debug)]
pub struct Videos {
    slots: Mutex<VecDeque<(Uuid, Slot)>>,
    /// Limits rendering to one video at a time, which leaves a core for answers.
    turn: Arc<Semaphore>,
    /// Limits the videos rendered ahead.
    ahead: Arc<Semaphore>,
}

impl Default for Videos {
    fn default() -> Self {
        Self { slots: Mutex::default(), turn: Arc::new(Semaphore::new(1)), ahead: Arc::new(Semaphore::new(AHEAD)) }
    }
}

impl Videos {
    /// Starts to render a video ahead, unless `AHEAD` others are in progress.
    pub fn prepare(&self, token: Uuid, board: impl Future<Output = Storyboard> + Send + 'static) {
        if let Ok(permit) = Arc::clone(&self.ahead).try_acquire_owned() {
            let task = self.task(token, board);
            tokio::spawn(async move {
                let _ = task.await;
                drop(permit);
            });
        }
    }

    /// The file of a video. Waits until it is rendered.
    pub async fn get(&self, token: Uuid, board: impl Future<Output = Storyboard> + Send + 'static) -> Result<Bytes, String> {
        let made = self.task(token, board).await.map_err(|error| error.to_string())?;
        self.trim();
        made
    }

    /// Empties the cache.
    pub fn clear(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    // A separate task, so that a client that disconnects does not cancel a rendering that others wait for.
    fn task(
        &self,
        token: Uuid,
        board: impl Future<Output = Storyboard> + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<Bytes, String>> {
        let slot = self.slot(token);
        let turn = Arc::clone(&self.turn);
        tokio::spawn(async move {
            slot.get_or_init(|| async {
                let board = board.await;
                let _turn = turn.acquire().await.map_err(|error| error.to_string())?;
                let made = tokio::task::spawn_blocking(move || make(&board));
                made.await.map_err(|error| error.to_string())?.map(Bytes::from)
            })
            .await
            .clone()
        })
    }

    fn slot(&self, token: Uuid) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slots.iter().position(|(other, _)| *other == token).and_then(|place| slots.remove(place));
        let (_, slot) = kept.unwrap_or_else(|| (token, Slot::default()));
        slots.push_back((token, Arc::clone(&slot)));
        if slots.len() > CACHE_FILES {
            slots.pop_front();
        }
        slot
    }

    fn trim(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |slot: &Slot| slot.get().and_then(|made| made.as_ref().ok()).map_or(0, Bytes::len);
        let mut total: usize = slots.iter().map(|(_, slot)| size(slot)).sum();
        while total > CACHE_BYTES && slots.len() > 1 {
            total -= slots.pop_front().map_or(0, |(_, slot)| size(&slot));
        }
    }
}

/// Renders a storyboard as an MP4: H.264, with the index in front.
pub fn make(board: &Storyboard) -> Result<Vec<u8>, String> {
    let mut painter = Painter::new(board)?;
    let gop = (SEEK * RATE) as u32;
    let mut encoder = Encoder::new(config(board, gop)).map_err(|error| error.to_string())?;
    let mut file = Vec::new();
    let mut muxer = MuxerBuilder::new(&mut file)
        .video(VideoCodec::H264, board.width, board.height, RATE)
        .with_fast_start(true)
        .build()
        .map_err(|error| error.to_string())?;
    let frames = (board.seconds * RATE).round().max(1.0) as u32;
    for number in 0..frames {
        let second = f64::from(number) / RATE;
        let coded = encoder.try_encode(painter.frame(second)).map_err(|error| error.to_string())?;
        let coded = h264::in_bt709(&coded);
        muxer.write_video(second, &coded, number % gop == 0).map_err(|error| error.to_string())?;
    }
    muxer.finish().map_err(|error| error.to_string())?;
    Ok(file)
}

fn config(board: &Storyboard, gop: u32) -> EncoderConfig {
    let mut config = EncoderConfig::new(board.width as usize, board.height as usize);
    config.preset = Preset::Fast;
    config.gop_size = gop;
    config.framerate = RATE as f32;
    config.qp = 18;
    config.i_qp_offset = -4;
    // No lookahead: it gains little for still pictures.
    config.mbtree = false;
    // These search for motion and grain and cost a fifth of the time. Here most of a frame equals the previous one.
    config.me_wide = Some(false);
    config.tune_satd_q = 0.0;
    config.aq_strength = 0.0;
    config.cabac = false;
    config.level_idc = match config.mb_width() * config.mb_height() {
        0..=1620 => 30,
        1621..=3600 => 31,
        3601..=8192 => 40,
        _ => 50,
    };
    config
}

/// Draws frames. Still parts are drawn once per scene.
struct Painter<'a> {
    board: &'a Storyboard,
    bold: Face,
    medium: Face,
    /// A hundredth of the shorter side, in pixels.
    unit: f32,
    /// The parts that are the same in every frame.
    still: YuvFrame,
    /// The index of the scene in `scene` and `settled`.
    at: Option<usize>,
    /// The scene without its text.
    scene: YuvFrame,
    /// The scene with its text in place.
    settled: YuvFrame,
    lines: Lines,
    frame: YuvFrame,
}

/// The layout of a scene's text.
struct Lines {
    rows: Vec<String>,
    size: f32,
    /// The baseline of the first line.
    first: f32,
    /// The distance between lines.
    step: f32,
    /// The height of the picture above the text, relative to its usual height.
    picture: f32,
}

impl<'a> Painter<'a> {
    fn new(board: &'a Storyboard) -> Result<Self, String> {
        let (width, height) = (board.width as usize, board.height as usize);
        let [from, to, accent] = board.colors.map(Color::new);
        let mut still = YuvFrame::black(width, height);
        background(&mut still, from, to, accent);
        let mut painter = Self {
            board,
            bold: Face::new(include_bytes!("../assets/Inter-Bold.otf"))?,
            medium: Face::new(include_bytes!("../assets/Inter-Medium.otf"))?,
            unit: width.min(height) as f32 / 100.0,
            scene: still.clone(),
            settled: still.clone(),
            frame: still.clone(),
            still,
            at: None,
            lines: Lines { rows: Vec::new(), size: 0.0, first: 0.0, step: 0.0, picture: 1.0 },
        };
        painter.draw_still();
        Ok(painter)
    }

    fn size(&self) -> (f32, f32) {
        (self.board.width as f32, self.board.height as f32)
    }

    fn accent(&self) -> Color {
        Color::new(self.board.colors[2])
    }

    fn wide(&self) -> bool {
        self.board.width > self.board.height
    }

    fn has_picture(&self) -> bool {
        self.board.cards.iter().any(|card| card.kind == "image")
    }

    fn draw_still(&mut self) {
        let unit = self.unit;
        let (w, h) = self.size();
        let white = Color::new(WHITE);
        let mut still = std::mem::replace(&mut self.still, YuvFrame::black(2, 2));
        // Top: the template, and the label "Sandbox".
        let size = 3.6 * unit;
        self.bold.draw(&mut still, &self.board.template, (7.0 * unit, 10.2 * unit), size, white, 1.0);
        let words = "Sandbox";
        let wide = self.medium.width(words, 2.9 * unit);
        let pill = Area { x: w - 7.0 * unit - wide - 4.0 * unit, y: 6.2 * unit, w: wide + 4.0 * unit, h: 5.6 * unit };
        fill(&mut still, pill, 9.0 * unit, white, 0.16);
        self.medium.draw(&mut still, words, (pill.x + 2.0 * unit, pill.y + 3.85 * unit), 2.9 * unit, white, 0.95);
        // Bottom: the job, and the track of the progress bar.
        if let Some(job) = &self.board.job {
            let line = format!("Job {job}");
            let room = w - 14.0 * unit - 25.0 * unit;
            let size = (3.0 * unit).min(3.0 * unit * room / self.medium.width(&line, 3.0 * unit));
            self.medium.draw(&mut still, &line, (7.0 * unit, h - 5.6 * unit), size, white, 0.9);
        }
        fill(&mut still, self.bar(1.0), 0.0, white, 0.18);
        self.draw_chips(&mut still);
        self.still = still;
    }

    fn bar(&self, part: f32) -> Area {
        let (w, h) = self.size();
        Area { x: 0.0, y: h - 1.6 * self.unit, w: w * part, h: 1.6 * self.unit }
    }

    /// Draws the names of media and voices in one row above the footer.
    fn draw_chips(&mut self, frame: &mut YuvFrame) {
        let unit = self.unit;
        let (w, h) = self.size();
        let size = 2.8 * unit;
        let mut x = 7.0 * unit;
        let top = h - 17.5 * unit;
        let accent = self.accent();
        for card in self.board.cards.iter().filter(|card| card.kind != "image") {
            let kind = kind_words(&card.kind);
            let (kind_wide, value_wide) = (self.bold.width(kind, size), self.medium.width(&card.value, size));
            let chip = Area { x, y: top, w: kind_wide + value_wide + 5.2 * unit, h: 5.8 * unit };
            if chip.x + chip.w > w - 7.0 * unit {
                break;
            }
            fill(frame, chip, 1.8 * unit, Color::new(BLACK), 0.3);
            let base = top + 3.9 * unit;
            self.bold.draw(frame, kind, (x + 2.0 * unit, base), size, accent, 1.0);
            let place = (x + 3.2 * unit + kind_wide, base);
            self.medium.draw(frame, &card.value, place, size, Color::new(WHITE), 0.9);
            x += chip.w + 1.8 * unit;
        }
    }

    /// The area of the picture, beside or above the text.
    fn picture(&self) -> Area {
        let unit = self.unit;
        let (w, h) = self.size();
        if self.wide() {
            Area { x: w * 0.54, y: 17.0 * unit, w: w * 0.46 - 7.0 * unit, h: h - 36.0 * unit }
        } else {
            Area { x: 7.0 * unit, y: 17.0 * unit, w: w - 14.0 * unit, h: h * 0.4 * self.lines.picture }
        }
    }

    /// Draws the card of a scene: its image, or the reason why the image is not drawn.
    fn draw_picture(&mut self, frame: &mut YuvFrame, index: usize) {
        let board = self.board;
        let images = || board.cards.iter().filter(|card| card.kind == "image");
        let Some(card) = index.checked_rem(images().count()).and_then(|place| images().nth(place)) else {
            return;
        };
        let unit = self.unit;
        let area = self.picture();
        let [_, to, _] = board.colors.map(Color::new);
        let white = Color::new(WHITE);
        fill(frame, area, 3.0 * unit, Color::new(BLACK), 0.3);
        let drawn = matches!(card.picture, Some(Ok(_)));
        let foot = if drawn { 11.0 } else { 15.0 } * unit;
        let inner =
            Area { x: area.x + 3.0 * unit, y: area.y + 3.0 * unit, w: area.w - 6.0 * unit, h: area.h - 3.0 * unit - foot };
        // A narrow strip stays empty; the card has its text.
        if drawn || inner.h > 14.0 * unit {
            fill(frame, inner, 2.0 * unit, to.mix(white, 0.4), 1.0);
        }
        let base = area.y + area.h - foot + 6.9 * unit;
        match &card.picture {
            Some(Ok(picture)) => paste(frame, inner, 2.0 * unit, &picture.0),
            other => {
                if inner.h > 14.0 * unit {
                    self.draw_landscape(frame, inner);
                }
                let why = match other {
                    Some(Err(why)) => format!("Not drawn: {why}"),
                    _ => "Not drawn".to_owned(),
                };
                let place = (area.x + 3.6 * unit, base + 4.6 * unit);
                self.draw_within(frame, &why, place, 2.9 * unit, area.w - 7.2 * unit);
            }
        }
        let size = 3.2 * unit;
        self.bold.draw(frame, &card.label, (area.x + 3.6 * unit, base), size, white, 1.0);
        let after = area.x + 5.4 * unit + self.bold.width(&card.label, size);
        if after + self.medium.width(&card.value, size) < area.x + area.w - 3.0 * unit {
            self.medium.draw(frame, &card.value, (after, base), size, white, 0.8);
        }
    }

    /// Draws a line, cut to `width`.
    fn draw_within(&mut self, frame: &mut YuvFrame, text: &str, place: (f32, f32), size: f32, width: f32) {
        let Some(text) = self.medium.cut(text, size, width) else { return };
        self.medium.draw(frame, &text, place, size, Color::new(WHITE), 0.9);
    }

    /// Draws a sun over two hills in place of an image.
    fn draw_landscape(&self, frame: &mut YuvFrame, inner: Area) {
        let [from, to, accent] = self.board.colors.map(Color::new);
        let sun = inner.h * 0.26;
        let place = Area { x: inner.x + inner.w * 0.68, y: inner.y + inner.h * 0.14, w: sun, h: sun };
        fill(frame, place, sun, accent, 1.0);
        let (low, high) = (inner.y + inner.h * 0.88, inner.y + inner.h * 0.34);
        let middle = inner.x + inner.w * 0.36;
        let hill = to.mix(from, 0.35);
        slope(frame, Area { w: middle - inner.x, ..inner }, low, high, hill);
        slope(frame, Area { x: middle, w: inner.x + inner.w - middle, ..inner }, high, inner.y + inner.h * 1.05, hill);
        let near = inner.x + inner.w * 0.3;
        let end = Area { x: near, w: inner.x + inner.w - near, ..inner };
        slope(frame, end, inner.y + inner.h, inner.y + inner.h * 0.6, to.mix(from, 0.75));
    }

    /// Chooses the largest font size in which the text fits. A picture above the text shrinks for a long text.
    fn set_lines(&mut self, text: &str) {
        const SIZES: [f32; 11] = [14.0, 12.0, 10.5, 9.0, 7.8, 6.6, 5.6, 4.8, 4.2, 3.7, 3.2];
        let unit = self.unit;
        let (w, h) = self.size();
        let beside = self.wide() && self.has_picture();
        let width = if beside { w * 0.54 - 12.0 * unit } else { w - 14.0 * unit };
        let named = self.board.cards.iter().any(|card| card.kind != "image");
        let bottom = h - if named { 23.0 } else { 12.0 } * unit;
        let above = self.has_picture() && !self.wide();
        // Long texts are easier to read in a smaller size.
        let largest = if text.chars().count() > 48 { 9.0 } else { 14.0 };
        for (picture, smallest) in [(1.0, 6.6), (0.8, 5.6), (0.6, 0.0)] {
            self.lines.picture = picture;
            let top = if above { self.picture().y + self.picture().h + 12.0 * unit } else { 26.0 * unit };
            for percent in SIZES.into_iter().filter(|size| (smallest..=largest).contains(size)) {
                let size = percent * unit;
                let step = size * if percent > 8.0 { 1.14 } else { 1.26 };
                let mut rows = self.bold.wrap(text, size, width);
                let room = ((bottom - top) / step).max(1.0) as usize;
                let last = percent == SIZES[SIZES.len() - 1];
                if rows.len() <= room || last {
                    rows.truncate(room);
                    let tall = step * rows.len() as f32;
                    self.lines = Lines { first: (bottom - tall).max(top) + size, rows, size, step, picture };
                    return;
                }
            }
        }
    }

    fn draw_text(&mut self, frame: &mut YuvFrame, scene: &Scene, alpha: f32, shift: f32) {
        let unit = self.unit;
        let x = 7.0 * unit;
        let accent = self.accent();
        let (size, first, step) = (self.lines.size, self.lines.first, self.lines.step);
        let label = (x, first - size - 2.6 * unit + shift);
        self.bold.draw(frame, &scene.label, label, 3.3 * unit, accent, alpha);
        let lines = std::mem::take(&mut self.lines.rows);
        for (number, line) in lines.iter().enumerate() {
            let y = first + step * number as f32 + shift;
            self.bold.draw(frame, line, (x, y), size, Color::new(WHITE), alpha);
        }
        self.lines.rows = lines;
    }

    /// The frame at a time.
    fn frame(&mut self, second: f64) -> &YuvFrame {
        let board = self.board;
        let index = board.scenes.iter().rposition(|scene| scene.start <= second + 1e-6).unwrap_or(0);
        if let Some(scene) = board.scenes.get(index) {
            if self.at != Some(index) {
                self.at = Some(index);
                self.set_lines(&scene.text);
                let mut bare = self.still.clone();
                self.draw_picture(&mut bare, index);
                let mut settled = bare.clone();
                self.draw_text(&mut settled, scene, 1.0, 0.0);
                self.scene = bare;
                self.settled = settled;
            }
            let part = ((second - scene.start + 1.0 / RATE) / ENTER).clamp(0.0, 1.0) as f32;
            // Players show the first frame before they play, so the first text is in it.
            if part >= 1.0 || index == 0 {
                self.frame.clone_from(&self.settled);
            } else {
                let mut frame = self.scene.clone();
                let eased = 1.0 - (1.0 - part) * (1.0 - part);
                self.draw_text(&mut frame, scene, eased, (1.0 - eased) * 3.0 * self.unit);
                self.frame = frame;
            }
        }
        self.draw_time(second);
        &self.frame
    }

    fn draw_time(&mut self, second: f64) {
        let unit = self.unit;
        let (w, h) = self.size();
        let board = self.board;
        let accent = self.accent();
        let part = ((second + 1.0 / RATE) / board.seconds).min(1.0) as f32;
        let bar = self.bar(part);
        fill(&mut self.frame, bar, 0.0, accent, 1.0);
        let clock = |second: f64| {
            let tenths = (second * 10.0).round() as u64;
            format!("{:02}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
        };
        // Digits have cells of equal width, so that the time code does not jitter.
        let size = 3.0 * unit;
        let cell = |c: char| if c.is_ascii_digit() { 2.0 * unit } else { 0.9 * unit };
        let text = clock(second);
        let mut x = w - 7.0 * unit - text.chars().map(cell).sum::<f32>();
        for c in text.chars() {
            let letter = c.to_string();
            let place = x + (cell(c) - self.medium.width(&letter, size)) / 2.0;
            self.medium.draw(&mut self.frame, &letter, (place, h - 5.6 * unit), size, Color::new(WHITE), 0.95);
            x += cell(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Showing;
    use crate::pictures::Picture;
    use crate::templates::built_in;

    fn board(template: usize) -> Storyboard {
        let template = built_in()[template].clone();
        let variables = template.defaults("http://127.0.0.1:1");
        Storyboard::new(&Showing { job: Some(Uuid::from_u128(7)), name: None, variables, template })
    }

    #[test]
    fn the_file_is_an_mp4_with_its_index_in_front() {
        let mut board = board(0);
        board.seconds = 1.0;
        let file = make(&board).unwrap();
        let find = |name: &[u8]| file.windows(4).position(|window| window == name);
        assert_eq!(find(b"ftyp"), Some(4));
        assert!(find(b"moov").unwrap() < find(b"mdat").unwrap());
        assert!(find(b"avc1").is_some());
    }

    #[test]
    fn the_bytes_of_a_video_depend_only_on_its_storyboard() {
        let mut board = board(3);
        board.seconds = 0.5;
        let first = make(&board).unwrap();
        assert_eq!(first, make(&board).unwrap());
        board.job = Some(Uuid::from_u128(8).to_string());
        assert_ne!(first, make(&board).unwrap());
    }

    #[test]
    fn a_card_shows_its_image_or_the_reason_why_it_is_not_drawn() {
        let mut board = board(0);
        let at = |board: &Storyboard| {
            let mut painter = Painter::new(board).unwrap();
            let place = painter.picture();
            let (x, y) = ((place.x + place.w / 2.0) as usize, (place.y + place.h / 3.0) as usize);
            let frame = painter.frame(1.0);
            [
                frame.y[y * frame.width + x],
                frame.u[y / 2 * frame.width / 2 + x / 2],
                frame.v[y / 2 * frame.width / 2 + x / 2],
            ]
        };
        let red = image::RgbaImage::from_pixel(40, 30, image::Rgba([255, 0, 0, 255]));
        board.cards[0].picture = Some(Ok(Arc::new(Picture(red))));
        let drawn = at(&board);
        assert!(drawn[0].abs_diff(63) < 3 && drawn[1].abs_diff(102) < 3 && drawn[2].abs_diff(240) < 3, "{drawn:?}");
        board.cards[0].picture = Some(Err("its file is damaged".to_owned()));
        assert_ne!(at(&board), drawn);
        let words = make(&Storyboard { seconds: 0.1, ..board.clone() }).unwrap();
        board.cards[0].picture = Some(Err("its server answered 404".to_owned()));
        assert_ne!(make(&Storyboard { seconds: 0.1, ..board }).unwrap(), words, "the card shows the reason");
    }

    #[test]
    fn unusual_sizes_and_texts_do_not_fail() {
        for (width, height) in [(64, 64), (1920, 64), (64, 1920), (722, 406)] {
            let mut board = board(4);
            (board.width, board.height, board.seconds) = (width, height, 0.3);
            board.scenes[0].text = "漢字 🙂 ".to_owned() + &"x".repeat(300);
            assert!(make(&board).is_ok(), "{width}x{height}");
        }
    }
}
